use std::fmt;

use crate::HubError;

/// The revision that is taken unless one is named.
const MAIN: &str = "main";

/// A repository on the hub, or a file in one: `OWNER/NAME[/FILE][@REVISION]`.
#[derive(Debug, Clone, PartialEq)]
pub struct HubName {
    /// The user or organisation.
    pub owner: String,
    /// The repository's own name.
    pub name: String,
    /// Path in the repository; none for the repository as a whole.
    pub file: Option<String>,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubName {
    /// What stands in front of a name on the hub where a path could stand as well.
    pub const PREFIX: &str = "hub:";

    /// Reads a name, without the prefix.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let (place, revision) = match text.rsplit_once('@') {
            Some((place, revision)) => (place, revision),
            None => (text, MAIN),
        };
        let mut parts = place.splitn(3, '/');
        let owner = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let file = parts.next();
        // All of them become parts of paths in the cache.
        let is_fine = is_word(owner) && is_word(name) && file.is_none_or(is_path);
        if !is_fine || !is_path(revision) {
            return Err(HubError::Name {
                text: text.to_owned(),
            });
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            file: file.map(str::to_owned),
            revision: revision.to_owned(),
        })
    }

    /// `OWNER/NAME`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The same at a commit.
    pub fn at(&self, commit: &str) -> Self {
        Self {
            revision: commit.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        match self.revision.as_str() {
            MAIN => Ok(()),
            revision => write!(f, "@{revision}"),
        }
    }
}

/// Whether a text is one part of a name.
fn is_word(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !matches!(text, "" | "." | "..") && text.chars().all(is_fine)
}

/// Whether a text is a path that stays where it is.
fn is_path(text: &str) -> bool {
    let is_fine = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.chars().any(|c| c.is_control() || "\\:@".contains(c))
    };
    text.split('/').all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_owner_and_may_have_a_file_and_a_revision() {
        for (text, file, revision) in [
            ("openai-community/gpt2", None, "main"),
            ("o/n@v1.0", None, "v1.0"),
            ("o/n@refs/pr/1", None, "refs/pr/1"),
            ("jdeschena/pgm/pgm_8_8.ckpt", Some("pgm_8_8.ckpt"), "main"),
            ("o/n/a b/c.gguf@0123", Some("a b/c.gguf"), "0123"),
        ] {
            let name = HubName::parse(text).unwrap();
            assert_eq!(
                (name.file.as_deref(), name.revision.as_str()),
                (file, revision)
            );
            assert_eq!(name.to_string(), text);
        }
        for text in [
            "", "gpt2", "o/", "/n", "o/n/", "o/..", "o/n/../x", "o/n@", "o/n@../x", "o/n@a@b",
            "o n/n", "o/n/a//b",
        ] {
            let error = HubName::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("names nothing on the hub"),
                "{text}: {error}"
            );
        }
    }
}
