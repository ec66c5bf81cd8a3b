//! Text to token ids and back.

mod bpe_tables;
mod bpe_training;
mod byte_level;
mod counted_encoding;
mod gpt2_bpe;
mod post_processor_ends;
mod special_token_choice;
mod special_token_names;
mod special_token_search;
mod special_tokens;
mod text_coverage;
mod text_loss;
mod text_pieces;
#[expect(
    clippy::module_inception,
    reason = "the folder is named after its main type"
)]
mod tokenizer;
mod tokenizer_companions;
mod tokenizer_files;
mod tokenizer_spec;
mod word_cache;
mod words;

pub use bpe_tables::{BpeTables, WordSplit};
pub use special_token_choice::{SpecialTokenChoice, TokenName};
pub use special_tokens::{DeclaredToken, SpecialToken, SpecialTokens, TokenRole, TokenSource};
pub use text_coverage::TextCoverage;
pub use text_loss::TextLoss;
pub use tokenizer::Tokenizer;
pub use tokenizer_spec::TokenizerSpec;
