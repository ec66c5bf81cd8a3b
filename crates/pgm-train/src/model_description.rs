use pgm_data::{Packing, SpecialTokenChoice, TokenizerSpec};
use pgm_generation::SamplingSettings;

use crate::{DataSection, ExperimentConfig, ModelSection, ObjectiveSection};

/// What is known of a trained model besides its weights and its tokenizer, from its run or from the file that holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// Name of the run, or of the file.
    pub name: String,
    /// What was learned.
    pub objective: ObjectiveSection,
    /// Sizes of the network, and its number format.
    pub model: ModelSection,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// How sequences were made of documents.
    pub packing: Packing,
    /// The tokenizer as a configuration names it.
    pub tokenizer: TokenizerSpec,
    /// Special tokens that the tokenizer's files do not tell.
    pub special_tokens: SpecialTokenChoice,
    /// How text is drawn.
    pub sampling: SamplingSettings,
}

impl ModelDescription {
    /// What the configuration of a run says of its model.
    pub fn from_config(config: &ExperimentConfig) -> Self {
        Self {
            name: config.name.clone(),
            objective: config.objective.clone(),
            model: config.model.clone(),
            seq_len: config.data.seq_len,
            packing: config.data.packing,
            tokenizer: config.data.tokenizer.clone(),
            special_tokens: config.data.special_tokens.clone(),
            sampling: config.sampling.clone(),
        }
    }

    /// The configuration of a run without text that would train such a model; all else has its default.
    pub fn to_config(&self) -> ExperimentConfig {
        let mut data = DataSection::new(Vec::new(), self.tokenizer.clone(), self.seq_len);
        data.packing = self.packing;
        data.special_tokens = self.special_tokens.clone();
        let mut config = ExperimentConfig::new(self.name.clone(), data);
        config.objective = self.objective.clone();
        config.model = self.model.clone();
        config.sampling = self.sampling.clone();
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_what_a_file_leaves_out() {
        let text = "name = \"x\"\n[data]\ninputs = []\ntokenizer = \"gpt2\"\nseq_len = 8";
        let config = ExperimentConfig::from_toml(text, &[]).unwrap();
        let description = ModelDescription::from_config(&config);
        assert_eq!(description.to_config(), config);
    }
}
