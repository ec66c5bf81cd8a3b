use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::bootstrap::Estimate;
use super::report::GenerativeReport;
use crate::EvalError;

type DrawError = Box<dyn std::error::Error>;

/// Draws generative perplexity and, below it, entropy over sampling steps as an SVG picture, with bars of two
/// standard errors.
///
/// # Errors
/// When there is no point, or the file cannot be written.
pub fn draw_sweep(points: &[(usize, &GenerativeReport)], path: &Path) -> Result<(), EvalError> {
    if points.is_empty() {
        return Err(EvalError::Zero { name: "points" });
    }
    let mut points = points.to_vec();
    points.sort_by_key(|(n_steps, _)| *n_steps);
    let curve = |of: fn(&GenerativeReport) -> Estimate| -> Vec<(f64, Estimate)> {
        let points = points.iter();
        points
            .map(|(n_steps, report)| (*n_steps as f64, of(report)))
            .collect()
    };
    let mut svg = String::new();
    let perplexity = curve(|report| report.generative_perplexity);
    let entropy = curve(|report| report.unigram_entropy);
    picture(&perplexity, &entropy, &mut svg).map_err(|error| EvalError::File {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    Ok(pgm_data::write_file(path, svg.as_bytes())?)
}

fn picture(
    perplexity: &[(f64, Estimate)],
    entropy: &[(f64, Estimate)],
    svg: &mut String,
) -> Result<(), DrawError> {
    let root = SVGBackend::with_string(svg, (720, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(380);
    panel(
        &upper,
        perplexity,
        "generative perplexity",
        RGBColor(200, 60, 40),
    )?;
    panel(
        &lower,
        entropy,
        "unigram entropy (nats)",
        RGBColor(60, 90, 160),
    )?;
    root.present()?;
    Ok(())
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    curve: &[(f64, Estimate)],
    name: &str,
    colour: RGBColor,
) -> Result<(), DrawError> {
    let steps = span(curve.iter().map(|(n_steps, _)| *n_steps));
    let values = span(curve.iter().flat_map(|(_, estimate)| bar(estimate)));
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
    let line = curve
        .iter()
        .map(|(n_steps, estimate)| (*n_steps, estimate.value));
    chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?;
    chart.draw_series(line.map(|point| Circle::new(point, 3, colour.filled())))?;
    for (n_steps, estimate) in curve {
        let ends = bar(estimate).map(|value| (*n_steps, value));
        chart.draw_series([PathElement::new(ends, colour)])?;
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
        draw_sweep(&[(128, &many), (8, &few)], &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["generative perplexity", "unigram entropy", "sampling steps"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<circle").count(), 4);
        draw_sweep(&[(8, &few)], &path).unwrap();
        assert!(draw_sweep(&[], &path).is_err());
    }
}
