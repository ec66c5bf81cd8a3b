use pgm_weights::ReadError;

/// Why the description of a judge was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeConfigError {
    /// It is no JSON, or an entry is missing or of another type.
    #[error("it cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    /// It is something else than a description.
    #[error("{0}")]
    OtherFile(String),
    /// The network is of a family that is not there.
    #[error("`model_type` is `{found}`, wanted `gpt2` or `llama`")]
    Family {
        /// What the file says.
        found: String,
    },
    /// A size that has to be at least 1 is 0.
    #[error("`{name}` is 0, it has to be at least 1")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// One size does not divide another.
    #[error("`{name}` {size} is not a multiple of `{divisor_name}` {divisor}")]
    Indivisible {
        /// The size.
        name: &'static str,
        /// Its value.
        size: usize,
        /// What has to divide it.
        divisor_name: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// The network differs from the one that is there.
    #[error("`{name}` is `{found}`, only `{wanted}` is supported; take another judge")]
    Variant {
        /// The field.
        name: String,
        /// Its value.
        found: String,
        /// What is supported.
        wanted: &'static str,
    },
    /// A change of the rotary frequencies does not say what it does.
    #[error("its rotary frequencies of type `{kind}` cannot be made: {reason}")]
    Frequencies {
        /// The type.
        kind: String,
        /// What is missing or odd.
        reason: String,
    },
    /// What the rotary frequencies are divided by cannot be read from a GGUF file.
    #[error("its rotary frequencies of type `llama3` cannot be made: {0}")]
    Divisors(#[source] ReadError),
    /// Part of a head is treated in another way than the rest.
    #[error(
        "`{name}` is {found}, only the whole width of a head, {wanted}, is supported; take another judge"
    )]
    HeadWidth {
        /// The entry.
        name: String,
        /// Its value.
        found: usize,
        /// The width of a head.
        wanted: usize,
    },
    /// A GGUF file lacks an entry.
    #[error("its header has no `{key}` of the right type")]
    MissingKey {
        /// The entry.
        key: String,
    },
}

impl JudgeConfigError {
    pub(crate) fn unless_variant(
        name: &'static str,
        found: bool,
        wanted: bool,
    ) -> Result<(), Self> {
        if found == wanted {
            Ok(())
        } else {
            Err(Self::Variant {
                name: name.to_owned(),
                found: found.to_string(),
                wanted: if wanted { "true" } else { "false" },
            })
        }
    }
}

pub(crate) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), JudgeConfigError> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => Err(JudgeConfigError::Zero { name }),
        None => Ok(()),
    }
}

pub(crate) fn check_heads(
    name: &'static str,
    size: usize,
    divisor_name: &'static str,
    divisor: usize,
) -> Result<(), JudgeConfigError> {
    if divisor > 0 && size > 0 && size.is_multiple_of(divisor) {
        Ok(())
    } else {
        Err(JudgeConfigError::Indivisible {
            name,
            size,
            divisor_name,
            divisor,
        })
    }
}
