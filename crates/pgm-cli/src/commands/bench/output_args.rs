use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use serde::Serialize;

use crate::device::{self, Backend};

/// Where to measure, and where results go.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Write the results to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

/// What a file with results says besides the results.
#[derive(Debug, Serialize)]
struct Report<'a, T> {
    benchmark: &'static str,
    version: &'static str,
    commit: &'static str,
    device: String,
    results: &'a [T],
}

impl OutputArgs {
    /// Opens the device.
    pub fn open_device(&self) -> Result<Device> {
        device::open(self.backend)
    }

    /// Writes results where the user wants them.
    pub fn write<T: Serialize>(
        &self,
        benchmark: &'static str,
        device: &Device,
        results: &[T],
    ) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        let report = Report {
            benchmark,
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("PGM_COMMIT"),
            device: format!("{device:?}"),
            results,
        };
        let text = serde_json::to_string_pretty(&report)? + "\n";
        pgm_data::write_file(path, text.as_bytes())?;
        eprintln!("written to {}", path.display());
        Ok(())
    }
}
