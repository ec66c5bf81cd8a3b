//! What a judge says about drawn text, and how varied the text is.

mod bootstrap;
mod feature_text;
mod held_out_samples;
mod judging;
mod plots;
mod report;
mod results_file;
mod sample_file;
mod samples;
mod statistics;
mod text_samples;

pub use bootstrap::Estimate;
pub use feature_text::FeatureText;
pub use held_out_samples::HeldOutSamples;
pub use judging::{GenerativePerplexity, JudgedSample, JudgingProgress, TokenCost};
pub use plots::{PlotCurve, PlotPoint, draw_plots};
pub use report::GenerativeReport;
pub use results_file::{NumberedResult, ResultsFile};
pub use samples::{DrawnSample, ModelSamples, SampleSource};
pub use statistics::TextStatistics;
pub use text_samples::TextSamples;

#[cfg(test)]
pub(crate) mod test_judge {
    use std::path::{Path, PathBuf};

    use pgm_data::Tokenizer;

    /// A judge among the golden values of `pgm-model`.
    pub(crate) fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../pgm-model/tests/golden/judges")
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
