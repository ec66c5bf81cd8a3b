use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::tensor::Device;

/// An embedding whose numbers are uniform in `[-1 / sqrt(d_model), 1 / sqrt(d_model)]`.
pub(crate) fn token_embedding(vocab_size: usize, d_model: usize, device: &Device) -> Embedding {
    let bound = 1.0 / (d_model as f64).sqrt();
    EmbeddingConfig::new(vocab_size, d_model)
        .with_initializer(Initializer::Uniform {
            min: -bound,
            max: bound,
        })
        .init(device)
}
