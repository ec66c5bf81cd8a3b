//! The backends that `pgm` can be built with.

use anyhow::{Result, bail};

/// What `pgm` computes on; each is a feature of the crate `pgm-cli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The CPU.
    Flex,
    /// Any GPU through the system's own API.
    Wgpu,
    /// A GPU through Vulkan and SPIR-V.
    Vulkan,
    /// An Apple GPU.
    Metal,
    /// An NVIDIA GPU.
    Cuda,
}

const ALL: [Backend; 5] = [
    Backend::Flex,
    Backend::Wgpu,
    Backend::Vulkan,
    Backend::Metal,
    Backend::Cuda,
];

/// Words that mean a backend but are not spelt like it.
const OTHER_WORDS: [(&str, Backend); 5] = [
    ("cpu", Backend::Flex),
    ("ndarray", Backend::Flex),
    ("gpu", Backend::Wgpu),
    ("mps", Backend::Metal),
    ("nvidia", Backend::Cuda),
];

impl Backend {
    /// The name of the feature and of the value of `--backend`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        }
    }

    /// The backend of that name.
    ///
    /// # Errors
    /// For any other name, with the nearest one and the list.
    pub fn from_name(name: &str) -> Result<Self> {
        if let Some(backend) = ALL.into_iter().find(|backend| backend.name() == name) {
            return Ok(backend);
        }
        let names = ALL.map(Self::name);
        let lower_case = name.to_lowercase();
        let meant = OTHER_WORDS
            .iter()
            .find(|(word, _)| *word == lower_case)
            .map_or_else(
                || {
                    names
                        .into_iter()
                        .min_by_key(|name| strsim::levenshtein(&lower_case, name))
                        .expect("there is a backend")
                },
                |(_, backend)| backend.name(),
            );
        bail!(
            "there is no backend `{name}`, did you mean `{meant}`? There are {}",
            names.map(|name| format!("`{name}`")).join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for backend in ALL {
            assert_eq!(Backend::from_name(backend.name()).unwrap(), backend);
        }
    }

    #[test]
    fn unknown_names_get_the_nearest_and_the_list() {
        assert_eq!(
            Backend::from_name("cudda").unwrap_err().to_string(),
            "there is no backend `cudda`, did you mean `cuda`? There are `flex`, `wgpu`, `vulkan`, `metal`, `cuda`"
        );
    }

    #[test]
    fn everyday_words_lead_to_a_backend() {
        for (word, name) in [
            ("cpu", "`flex`"),
            ("NVIDIA", "`cuda`"),
            ("webgpu", "`wgpu`"),
        ] {
            let error = Backend::from_name(word).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean {name}")), "{error}");
        }
    }
}
