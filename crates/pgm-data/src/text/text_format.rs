use std::path::Path;

/// What a source file holds, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextFormat {
    pub(crate) kind: TextKind,
    pub(crate) compression: Option<Compression>,
}

/// The text inside of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// `.txt`: text, cut into documents as the configuration says.
    Plain,
    /// `.jsonl`: one JSON object a line, each a document.
    JsonLines,
}

/// How a source file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl TextFormat {
    /// The endings that are read, in capitals or not, for error messages.
    pub(crate) const ENDINGS: &str =
        "`.txt` or `.jsonl`, or one of them with `.gz` or `.zst` behind";

    /// The format of `path`, or nothing where its ending is none of [`Self::ENDINGS`].
    pub(crate) fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, ending) = name.rsplit_once('.')?;
        let (ending, compression) = match ending {
            "gz" => (stem.rsplit_once('.')?.1, Some(Compression::Gzip)),
            "zst" => (stem.rsplit_once('.')?.1, Some(Compression::Zstd)),
            _ => (ending, None),
        };
        let kind = match ending {
            "txt" => TextKind::Plain,
            "jsonl" => TextKind::JsonLines,
            _ => return None,
        };
        Some(Self { kind, compression })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_name_the_format() {
        let of = |name: &str| {
            TextFormat::from_path(Path::new(name)).map(|format| (format.kind, format.compression))
        };
        assert_eq!(of("a/b.txt"), Some((TextKind::Plain, None)));
        assert_eq!(of("b.c.jsonl"), Some((TextKind::JsonLines, None)));
        let gzip = Some(Compression::Gzip);
        assert_eq!(of("b.txt.gz"), Some((TextKind::Plain, gzip)));
        let zstd = Some(Compression::Zstd);
        assert_eq!(of("b.jsonl.zst"), Some((TextKind::JsonLines, zstd)));
        assert_eq!(of("B.TXT"), Some((TextKind::Plain, None)));
        assert_eq!(of("b.jsonl.GZ"), Some((TextKind::JsonLines, gzip)));
        assert_eq!(of("b.Txt.Zst"), Some((TextKind::Plain, zstd)));
        for other in [
            "txt",
            "a.csv",
            "a.gz",
            "a.tar.gz",
            "a.txt.gz.zst",
            "a.txt.bz2",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
