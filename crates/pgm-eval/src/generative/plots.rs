use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::bootstrap::Estimate;
use super::report::GenerativeReport;
use crate::EvalError;

type DrawError = Box<dyn std::error::Error>;

/// Evaluations of one model, with one line through them.
#[derive(Debug, Clone)]
pub struct PlotCurve<'a> {
    /// Stands in the legend, which is left out where there is one curve.
    pub name: String,
    /// In the order of the line.
    pub points: Vec<PlotPoint<'a>>,
}

/// One evaluation.
#[derive(Debug, Clone, Copy)]
pub struct PlotPoint<'a> {
    /// Sampling steps.
    pub n_steps: usize,
    /// What the judge said.
    pub report: &'a GenerativeReport,
}

impl PlotPoint<'_> {
    fn seconds(&self) -> f64 {
        self.report.sampling_seconds / self.report.n_samples as f64
    }
}

/// Draws SVG pictures of generative perplexity into a folder, and returns their paths:
/// - `steps.svg`: perplexity and entropy over sampling steps, if there are several numbers of steps;
/// - `frontier.svg`: perplexity over entropy;
/// - `seconds.svg`: perplexity over seconds to draw a sample, if the times are known.
///
/// Bars reach two standard errors.
///
/// # Errors
/// When there is no point, or a file cannot be written.
pub fn draw_plots(curves: &[PlotCurve], folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let Some(first) = points().next() else {
        return Err(EvalError::Zero { name: "points" });
    };
    let mut written = Vec::new();
    let mut write = |name: &str, panels: &[Panel]| -> Result<(), EvalError> {
        let path = folder.join(name);
        let svg = picture(panels).map_err(|error| EvalError::File {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        pgm_data::write_file(&path, svg.as_bytes())?;
        written.push(path);
        Ok(())
    };
    let exact = |value: f64| Estimate {
        value,
        standard_error: None,
    };
    let panel = |x: Axis, y: Axis, of: &dyn Fn(&PlotPoint) -> (Estimate, Estimate)| Panel {
        x,
        y,
        lines: curves.iter().map(|curve| Line::new(curve, of)).collect(),
    };
    if points().any(|point| point.n_steps != first.n_steps) {
        let steps = |point: &PlotPoint| exact(point.n_steps as f64);
        let panels = [
            panel(Axis::Steps, Axis::Perplexity, &|point| {
                (steps(point), point.report.generative_perplexity)
            }),
            panel(Axis::Steps, Axis::Entropy, &|point| {
                (steps(point), point.report.unigram_entropy)
            }),
        ];
        write("steps.svg", &panels)?;
    }
    let frontier = panel(Axis::Entropy, Axis::Perplexity, &|point| {
        let report = point.report;
        (report.unigram_entropy, report.generative_perplexity)
    });
    write("frontier.svg", &[frontier])?;
    if points().all(|point| point.seconds() > 0.0) {
        let seconds = panel(Axis::Seconds, Axis::Perplexity, &|point| {
            (exact(point.seconds()), point.report.generative_perplexity)
        });
        write("seconds.svg", &[seconds])?;
    }
    Ok(written)
}

/// A quantity that is drawn.
#[derive(Debug, Clone, Copy)]
enum Axis {
    Steps,
    Seconds,
    Entropy,
    Perplexity,
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Steps => "sampling steps",
            Self::Seconds => "seconds to draw a sample",
            Self::Entropy => "unigram entropy (nats)",
            Self::Perplexity => "generative perplexity",
        }
    }
}

/// Lines over common axes.
struct Panel<'a> {
    x: Axis,
    y: Axis,
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    name: &'a str,
    points: Vec<(Estimate, Estimate)>,
}

impl<'a> Line<'a> {
    fn new(curve: &'a PlotCurve, of: &dyn Fn(&PlotPoint) -> (Estimate, Estimate)) -> Self {
        Self {
            name: &curve.name,
            points: curve.points.iter().map(of).collect(),
        }
    }
}

/// Of the lines in turn.
const COLOURS: [RGBColor; 6] = [
    RGBColor(200, 60, 40),
    RGBColor(60, 90, 160),
    RGBColor(60, 140, 80),
    RGBColor(200, 140, 30),
    RGBColor(130, 80, 160),
    RGBColor(90, 90, 90),
];

const WIDTH: u32 = 720;
const PANEL_HEIGHT: u32 = 360;
const LEGEND_WIDTH: u32 = 190;

/// The panels one below the other, as SVG.
fn picture(panels: &[Panel]) -> Result<String, DrawError> {
    let mut svg = String::new();
    let height = PANEL_HEIGHT * panels.len() as u32;
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, panel) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
        let x = span(panel, |(x, _)| x);
        let widened_log = (x.start * 0.9..x.end * 1.1).log_scale();
        match panel.x {
            // Numbers of steps are few: the axis names each of them.
            Axis::Steps => draw(area, panel, widened_log.with_key_points(values_of_x(panel)))?,
            Axis::Seconds => draw(area, panel, widened_log)?,
            Axis::Entropy | Axis::Perplexity => draw(area, panel, widened(x))?,
        }
    }
    root.present()?;
    drop(root);
    Ok(svg)
}

fn draw<'a, X>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    panel: &Panel,
    x_range: X,
) -> Result<(), DrawError>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let has_legend = panel.lines.len() > 1;
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .margin_right(if has_legend { LEGEND_WIDTH } else { 14 })
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x_range, widened(span(panel, |(_, y)| y)))?;
    let x = span(panel, |(x, _)| x);
    let digits = match panel.x {
        Axis::Steps => 0,
        // The axis begins with the smallest number, of which one digit is to be seen.
        Axis::Seconds => digits_of(x.start),
        Axis::Entropy | Axis::Perplexity => digits_of((x.end - x.start) / 50.0),
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(panel.x.name())
        .y_desc(panel.y.name())
        .x_label_formatter(&|x| format!("{x:.digits$}"))
        .draw()?;
    for (line, colour) in panel.lines.iter().zip(COLOURS.into_iter().cycle()) {
        let values: Vec<(f64, f64)> = line
            .points
            .iter()
            .map(|(x, y)| (x.value, y.value))
            .collect();
        chart.draw_series(LineSeries::new(values.clone(), colour.stroke_width(2)))?;
        chart.draw_series(
            values
                .into_iter()
                .map(|point| Circle::new(point, 3, colour.filled())),
        )?;
        for (x, y) in &line.points {
            let across = reach(x).map(|x| (x, y.value));
            let along = reach(y).map(|y| (x.value, y));
            for bar in [across, along] {
                chart.draw_series([PathElement::new(bar, colour)])?;
            }
        }
    }
    if has_legend {
        draw_legend(area, panel)?;
    }
    Ok(())
}

/// Beside the lines, where it hides none.
fn draw_legend(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Result<(), DrawError> {
    let left = (WIDTH - LEGEND_WIDTH) as i32 + 10;
    let lines = panel.lines.iter().zip(COLOURS.into_iter().cycle());
    for (y, (line, colour)) in (24..).step_by(20).zip(lines) {
        let mark = [(left, y), (left + 18, y)];
        area.draw(&PathElement::new(mark, colour.stroke_width(2)))?;
        let font = ("sans-serif", 13).into_font();
        area.draw(&Text::new(line.name, (left + 24, y - 6), font))?;
    }
    Ok(())
}

/// The values along the horizontal axis, each once.
fn values_of_x(panel: &Panel) -> Vec<f64> {
    let points = panel.lines.iter().flat_map(|line| &line.points);
    let mut values: Vec<f64> = points.map(|(x, _)| x.value).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// Digits behind the point for numbers of this size.
fn digits_of(size: f64) -> usize {
    (-size.log10().floor()).clamp(0.0, 6.0) as usize
}

/// From two standard errors below to two above.
fn reach(estimate: &Estimate) -> [f64; 2] {
    let reach = 2.0 * estimate.standard_error.unwrap_or(0.0);
    [estimate.value - reach, estimate.value + reach]
}

/// From the lowest end of a bar to the highest one.
fn span(panel: &Panel, of: fn(&(Estimate, Estimate)) -> &Estimate) -> Range<f64> {
    let points = panel.lines.iter().flat_map(|line| &line.points);
    let ends = points.flat_map(|point| reach(of(point)));
    let low = ends.clone().fold(f64::INFINITY, f64::min);
    low..ends.fold(f64::NEG_INFINITY, f64::max)
}

fn widened(range: Range<f64>) -> Range<f64> {
    let margin = ((range.end - range.start) * 0.1).max(1e-3);
    (range.start - margin)..(range.end + margin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::judging::JudgedSample;

    fn report(nll: f64, sampling_seconds: f64) -> GenerativeReport {
        let samples = [1.0, 1.2].map(|scale| JudgedSample {
            number: 0,
            nll: nll * scale,
            n_scored: 10,
            own_tokens: None,
            n_judge_tokens: 11,
            network_evaluations: 8,
            sampling_seconds,
            judging_seconds: 0.0,
            text: String::new(),
            tokens: vec![1, 2, 3],
            feature: None,
        });
        GenerativeReport::from_samples(&samples, 1).unwrap()
    }

    fn draw(curves: &[PlotCurve]) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let paths = draw_plots(curves, folder.path()).unwrap();
        let named = paths.iter().map(|path| {
            let svg = std::fs::read_to_string(path).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, svg)
        });
        named.collect()
    }

    #[test]
    fn pictures_have_axes_points_and_a_legend() {
        let (few, many) = (report(60.0, 0.5), report(45.0, 4.0));
        let point = |n_steps, report| PlotPoint { n_steps, report };
        let curve = |name: &str, points| PlotCurve {
            name: name.to_owned(),
            points,
        };
        let one = curve("teacher", vec![point(8, &few), point(128, &many)]);
        let pictures = draw(std::slice::from_ref(&one));
        let wanted: [(&str, &[&str], usize); 3] = [
            (
                "steps.svg",
                &["sampling steps", "generative perplexity", "unigram entropy"],
                4,
            ),
            (
                "frontier.svg",
                &["generative perplexity", "unigram entropy"],
                2,
            ),
            (
                "seconds.svg",
                &["generative perplexity", "seconds to draw a sample"],
                2,
            ),
        ];
        assert_eq!(pictures.len(), wanted.len());
        for ((name, svg), (wanted, texts, n_points)) in pictures.iter().zip(wanted) {
            assert_eq!(name, wanted);
            assert!(texts.iter().all(|text| svg.contains(text)), "{name}");
            assert_eq!(svg.matches("<circle").count(), n_points, "{name}");
            assert!(!svg.contains("teacher"));
        }
        let two = [one, curve("student", vec![point(8, &few)])];
        for (name, svg) in draw(&two) {
            assert!(svg.contains("teacher") && svg.contains("student"), "{name}");
        }
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        assert_eq!(digits_of(0.007), 3);
        assert_eq!(digits_of(0.05 / 50.0), 3);
        assert_eq!((digits_of(12.0), digits_of(0.0)), (0, 6));
    }

    #[test]
    fn what_is_not_known_has_no_picture() {
        let timeless = report(50.0, 0.0);
        let point = PlotPoint {
            n_steps: 8,
            report: &timeless,
        };
        let curve = PlotCurve {
            name: String::new(),
            points: vec![point],
        };
        let names: Vec<String> = draw(&[curve]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["frontier.svg"]);
        assert!(draw_plots(&[], Path::new(".")).is_err());
    }
}
