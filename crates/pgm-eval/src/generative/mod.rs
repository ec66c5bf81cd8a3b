//! What a judge says about drawn text, and how varied the text is.

mod bootstrap;
mod comparison;
mod feature_text;
mod held_out_samples;
mod judging;
mod plots;
mod report;
mod results_file;
mod sample_file;
mod samples;
mod statistics;
mod sweep;
mod text_samples;

pub use bootstrap::Estimate;
pub use comparison::{GenerativeComparison, GenerativeEvaluation};
pub use feature_text::FeatureText;
pub use held_out_samples::HeldOutSamples;
pub use judging::{GenerativePerplexity, JudgedSample, JudgingProgress, TokenCost};
pub use plots::{PlotCurve, PlotPoint, draw_plots};
pub use report::GenerativeReport;
pub use results_file::{NumberedResult, ResultsFile};
pub use samples::{DrawnSample, ModelSamples, SampleSource};
pub use statistics::TextStatistics;
pub use sweep::{Sweep, SweepError, SweptSettings};
pub use text_samples::TextSamples;

#[cfg(test)]
pub(crate) mod test_judge {
    use std::path::{Path, PathBuf};

    use pgm_data::Tokenizer;

    /// A judge among the golden values of `pgm-judges`.
    pub(crate) fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../pgm-judges/tests/golden")
            .join(name)
    }

    /// A folder with a tiny judge and a tokenizer of its vocabulary.
    pub(crate) fn judge_folder(name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(golden(name).join(file), folder.path().join(file)).unwrap();
        }
        let text = include_str!("mod.rs").to_owned();
        let tokenizer = Tokenizer::train_bpe([text].into_iter(), 300).unwrap();
        tokenizer
            .save(folder.path().join("tokenizer.json"))
            .unwrap();
        folder
    }
}
