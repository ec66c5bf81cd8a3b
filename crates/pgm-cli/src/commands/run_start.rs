use std::io::IsTerminal;
use std::time::SystemTime;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{Provenance, TrainingObserver};

use crate::dashboard::Dashboard;
use crate::progress::TrainingProgress;

/// This program, now.
pub fn provenance(device: &Device) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_string(),
        commit: env!("PGM_COMMIT").to_string(),
        device: format!("{device:?}"),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    }
}

/// The dashboard on a terminal, lines elsewhere or if they are wished for; `loss_unit` is that of the training loss.
pub fn observer(
    is_plain: bool,
    interrupter: &Interrupter,
    n_steps: usize,
    loss_unit: &'static str,
) -> Box<dyn TrainingObserver> {
    let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    if is_terminal && !is_plain {
        Box::new(Dashboard::new(interrupter.clone(), n_steps, loss_unit))
    } else {
        Box::new(TrainingProgress::default())
    }
}
