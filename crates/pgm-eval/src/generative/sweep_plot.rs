use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::bootstrap::Estimate;
use super::report::GenerativeReport;
use crate::EvalError;

type DrawError = Box<dyn std::error::Error>;

/// Evaluations of one model at several numbers of sampling steps.
#[derive(Debug, Clone)]
pub struct SweepCurve<'a> {
    /// Stands in the legend, which is left out where there is one curve.
    pub name: String,
    /// Sampling steps and what the judge said.
    pub points: Vec<(usize, &'a GenerativeReport)>,
}

/// Draws generative perplexity and, below it, entropy over sampling steps as an SVG picture, with bars of two
/// standard errors.
///
/// # Errors
/// When there is no point, or the file cannot be written.
pub fn draw_sweep(curves: &[SweepCurve], path: &Path) -> Result<(), EvalError> {
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Err(EvalError::Zero { name: "points" });
    }
    let lines = |of: fn(&GenerativeReport) -> Estimate| -> Vec<Line> {
        curves.iter().map(|curve| Line::new(curve, of)).collect()
    };
    let mut svg = String::new();
    let perplexity = lines(|report| report.generative_perplexity);
    let entropy = lines(|report| report.unigram_entropy);
    picture(&perplexity, &entropy, &mut svg).map_err(|error| EvalError::File {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    Ok(pgm_data::write_file(path, svg.as_bytes())?)
}

/// One quantity of one curve, by steps.
struct Line<'a> {
    name: &'a str,
    points: Vec<(f64, Estimate)>,
}

impl<'a> Line<'a> {
    fn new(curve: &'a SweepCurve, of: fn(&GenerativeReport) -> Estimate) -> Self {
        let points = curve.points.iter();
        let mut points: Vec<_> = points.map(|(n, report)| (*n as f64, of(report))).collect();
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Self {
            name: &curve.name,
            points,
        }
    }
}

/// Of the curves in turn.
const COLOURS: [RGBColor; 6] = [
    RGBColor(200, 60, 40),
    RGBColor(60, 90, 160),
    RGBColor(60, 140, 80),
    RGBColor(200, 140, 30),
    RGBColor(130, 80, 160),
    RGBColor(90, 90, 90),
];

fn picture(perplexity: &[Line], entropy: &[Line], svg: &mut String) -> Result<(), DrawError> {
    let root = SVGBackend::with_string(svg, (720, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(380);
    panel(&upper, perplexity, "generative perplexity")?;
    panel(&lower, entropy, "unigram entropy (nats)")?;
    root.present()?;
    Ok(())
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    lines: &[Line],
    name: &str,
) -> Result<(), DrawError> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let steps = span(points().map(|(n_steps, _)| *n_steps));
    let values = span(points().flat_map(|(_, estimate)| bar(estimate)));
    let margin = ((values.end - values.start) * 0.1).max(1e-3);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (steps.start * 0.9..steps.end * 1.1).log_scale(),
            (values.start - margin)..(values.end + margin),
        )?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("sampling steps")
        .y_desc(name)
        .x_label_formatter(&|n_steps| format!("{n_steps:.0}"))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.into_iter().cycle()) {
        let values = line.points.iter();
        let values = values.map(|(n_steps, estimate)| (*n_steps, estimate.value));
        chart
            .draw_series(LineSeries::new(values.clone(), colour.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
        chart.draw_series(values.map(|point| Circle::new(point, 3, colour.filled())))?;
        for (n_steps, estimate) in &line.points {
            let ends = bar(estimate).map(|value| (*n_steps, value));
            chart.draw_series([PathElement::new(ends, colour)])?;
        }
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(RGBColor(200, 200, 200))
            .draw()?;
    }
    Ok(())
}

/// From two standard errors below to two above.
fn bar(estimate: &Estimate) -> [f64; 2] {
    let reach = 2.0 * estimate.standard_error.unwrap_or(0.0);
    [estimate.value - reach, estimate.value + reach]
}

fn span(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    low..values.fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::judging::JudgedSample;

    #[test]
    fn a_picture_has_both_numbers() {
        let report = |nll: f64| {
            let samples = [1.0, 1.2].map(|scale| JudgedSample {
                number: 0,
                nll: nll * scale,
                n_scored: 10,
                n_judge_tokens: 11,
                network_evaluations: 8,
                sampling_seconds: 0.0,
                judging_seconds: 0.0,
                text: String::new(),
                tokens: vec![1, 2, 3],
                feature: None,
            });
            GenerativeReport::of(&samples, 1).unwrap()
        };
        let (few, many) = (report(60.0), report(45.0));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.svg");
        let curve = |name: &str, points| SweepCurve {
            name: name.to_string(),
            points,
        };
        let one = curve("teacher", vec![(128, &many), (8, &few)]);
        draw_sweep(std::slice::from_ref(&one), &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["generative perplexity", "unigram entropy", "sampling steps"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(!svg.contains("teacher"));
        let two = [one, curve("student", vec![(8, &few)])];
        draw_sweep(&two, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.contains("teacher") && svg.contains("student"));
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(draw_sweep(&[], &path).is_err());
    }
}
