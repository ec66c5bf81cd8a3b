use std::path::Path;

use plotters::prelude::*;

use crate::{MetricRecord, NATS_PER_TOKEN, TrainError};

/// Draws training and validation loss over steps as an SVG picture; `unit` is that of the training loss.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn draw(records: &[MetricRecord], unit: &str, path: &Path) -> Result<(), TrainError> {
    let train: Vec<(f64, f64)> = records
        .iter()
        .filter_map(|record| match record {
            MetricRecord::Train { step, loss, .. } => Some((*step as f64, *loss)),
            _ => None,
        })
        .collect();
    let validation: Vec<(f64, f64, f64)> = records
        .iter()
        .filter_map(|record| match record {
            MetricRecord::Validation {
                step,
                nll,
                nll_standard_error,
                ..
            } => Some((*step as f64, *nll, nll_standard_error.unwrap_or(0.0))),
            _ => None,
        })
        .collect();
    if train.is_empty() && validation.is_empty() {
        return Ok(());
    }
    let mut svg = String::new();
    plot(&train, unit, &validation, &mut svg).map_err(TrainError::file("draw", path))?;
    pgm_data::write_file(path, svg.as_bytes())?;
    Ok(())
}

fn plot(
    train: &[(f64, f64)],
    unit: &str,
    validation: &[(f64, f64, f64)],
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let values = || {
        let train = train.iter().map(|&(_, loss)| loss);
        train.chain(validation.iter().map(|&(_, nll, _)| nll))
    };
    let steps = train
        .iter()
        .map(|&(step, _)| step)
        .chain(validation.iter().map(|&(step, ..)| step));
    let last_step = steps.fold(1.0, f64::max);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let margin = ((high - low) * 0.05).max(0.05);

    let root = SVGBackend::with_string(svg, (860, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last_step, (low - margin)..(high + margin))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("optimizer step")
        .y_desc("loss")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .draw()?;
    let train_colour = RGBColor(150, 170, 200);
    let validation_colour = RGBColor(200, 60, 40);
    chart
        .draw_series(LineSeries::new(train.iter().copied(), train_colour))?
        .label(format!("training ({unit})"))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], train_colour));
    chart
        .draw_series(LineSeries::new(
            validation.iter().map(|&(step, nll, _)| (step, nll)),
            validation_colour.stroke_width(2),
        ))?
        .label(format!(
            "validation ({NATS_PER_TOKEN}), averaged weights (bars: 2 standard errors)"
        ))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], validation_colour));
    for &(step, nll, error) in validation.iter().filter(|(.., error)| *error > 0.0) {
        let bar = [(step, nll - 2.0 * error), (step, nll + 2.0 * error)];
        chart.draw_series([PathElement::new(bar, validation_colour)])?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    root.present()?;
    drop(chart);
    Ok(())
}
