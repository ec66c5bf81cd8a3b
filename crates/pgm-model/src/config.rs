/// Why the sizes of a network were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A size that has to be at least 1 is 0.
    #[error("`{name}` is 0, it has to be at least 1")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// The heads do not divide the width.
    #[error(
        "`d_model` {d_model} is not a multiple of 2 x `n_heads` {n_heads}; rotary embeddings need an even number of features a head"
    )]
    Heads {
        /// Width of the network.
        d_model: usize,
        /// Number of attention heads.
        n_heads: usize,
    },
    /// The dropout is no probability.
    #[error("`dropout` is {dropout}, it has to lie in [0, 1)")]
    Dropout {
        /// The value.
        dropout: f64,
    },
}

/// The checks that all networks of this crate share.
pub(crate) fn check_sizes(
    sizes: &[(&'static str, usize)],
    d_model: usize,
    n_heads: usize,
    dropout: f64,
) -> Result<(), ConfigError> {
    if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
        return Err(ConfigError::Zero { name });
    }
    if n_heads == 0 || !d_model.is_multiple_of(2 * n_heads) {
        return Err(ConfigError::Heads { d_model, n_heads });
    }
    if !(0.0..1.0).contains(&dropout) {
        return Err(ConfigError::Dropout { dropout });
    }
    Ok(())
}
