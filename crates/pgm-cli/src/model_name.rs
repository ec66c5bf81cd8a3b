//! Models by any name: that of the pretrained one, a place on the Hugging Face hub (`hub:openai-community/gpt2-large`), a
//! path.
//!
//! A local path goes before the hub, and nothing is asked for without the prefix.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use pgm_hub::{HubName, Snapshot};
use pgm_weights::ShardIndex;

use crate::{hub_access, pretrained};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
/// What tells which of its tokens begin and end a text.
const TOKENIZER_COMPANIONS: [&str; 4] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    CONFIG,
    "generation_config.json",
];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A model on this machine.
#[derive(Debug, Clone)]
pub struct LocatedModel {
    /// The file or folder.
    pub path: PathBuf,
    /// Where it is from, if not from a path.
    pub origin: Option<Origin>,
}

/// Where a model is from that has a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// `OWNER/NAME[/FILE]@COMMIT` of the hub, which names these very bytes, or `pretrained`.
    pub name: String,
    /// Where results of it go.
    pub results: PathBuf,
}

impl LocatedModel {
    fn local(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            origin: None,
        }
    }

    fn downloaded(path: PathBuf, snapshot: &Snapshot) -> Self {
        let name = snapshot.name();
        Self {
            path,
            origin: Some(Origin {
                name: name.to_string(),
                results: Path::new("runs/hub").join(name.repository()),
            }),
        }
    }
}

/// The weights of a name, on this machine; those of the hub are downloaded, with the tokenizer beside them, if there is
/// one.
///
/// `pretrained` is the model of the repository, whatever the folder that the program runs in holds; a file or folder
/// of that name is called `./pretrained`.
///
/// # Errors
/// When the pretrained model is missing or damaged, or a download fails.
pub fn weights(path: &Path) -> Result<LocatedModel> {
    if pretrained::is_named_by(path) {
        return pretrained::locate();
    }
    let Some(name) = hub_name(path)? else {
        let text = path.to_string_lossy();
        if !path.exists() && text.split('/').count() > 2 && HubName::parse(&text).is_ok() {
            bail!(
                "there is no file `{text}` on this machine; if it is on the Hugging Face hub, `hub:{text}` downloads it"
            );
        }
        return Ok(LocatedModel::local(path));
    };
    let Some(file) = &name.file else {
        bail!(
            "`{name}` names no file; name the one with the weights: `hub:{}/FILE`, as in `hub:jdeschena/pgm/pgm_8_8.ckpt`",
            name.repository()
        );
    };
    let client = hub_access::client()?;
    let snapshot = Snapshot::open(&client, &name, file)?;
    let path = snapshot.file(file)?;
    let folder = file.rfind('/').map_or("", |slash| &file[..=slash]);
    download_tokenizer(&snapshot, folder)?;
    Ok(LocatedModel::downloaded(path, &snapshot))
}

/// The judge of a path, or of a name on the hub, which is downloaded.
///
/// # Errors
/// When there is neither, or it cannot be downloaded.
pub fn judge(path: &Path) -> Result<LocatedModel> {
    let Some(name) = hub_name(path)? else {
        if !path.exists() {
            bail!(
                "there is no judge `{}` on this machine; a judge of the Hugging Face hub is named with `hub:` in front, as in \
                 `hub:{}`",
                path.display(),
                suggestion(path, "openai-community/gpt2-large")
            );
        }
        return Ok(LocatedModel::local(path));
    };
    let client = hub_access::client()?;
    if let Some(file) = &name.file {
        if !file.ends_with(".gguf") {
            bail!(
                "a judge is a repository (`hub:OWNER/NAME`) or a `.gguf` file in one, and `{name}` is neither"
            );
        }
        let snapshot = Snapshot::open(&client, &name, file)?;
        return Ok(LocatedModel::downloaded(snapshot.file(file)?, &snapshot));
    }
    let snapshot = Snapshot::open(&client, &name, CONFIG)?;
    let config = snapshot.file(CONFIG)?;
    download_tokenizer(&snapshot, "")?;
    if snapshot.file_if_any(WEIGHTS)?.is_none() {
        let Some(index) = snapshot.file_if_any(INDEX)? else {
            let among = if snapshot.is_offline() {
                " among what was downloaded before"
            } else {
                ""
            };
            bail!(
                "`{name}` has neither `{WEIGHTS}` nor `{INDEX}`{among}; take a judge that has, or a `.gguf` file: \
                 `hub:{}/FILE.gguf`",
                name.repository()
            );
        };
        for shard in ShardIndex::read(&index)?.shards() {
            snapshot.file(shard)?;
        }
    }
    let folder = config.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok(LocatedModel::downloaded(folder, &snapshot))
}

/// The name on the hub that a path on the command line is: with `hub:` in front, and no local file or folder.
fn hub_name(path: &Path) -> Result<Option<HubName>> {
    let text = path
        .to_str()
        .and_then(|text| text.strip_prefix(HubName::PREFIX));
    match text {
        Some(text) if !path.exists() => Ok(Some(HubName::parse(text)?)),
        _ => Ok(None),
    }
}

/// Downloads the tokenizer in a folder of a repository, if there is one, and what belongs to it.
fn download_tokenizer(snapshot: &Snapshot, folder: &str) -> Result<()> {
    let tokenizer = snapshot.file_if_any(&format!("{folder}{TOKENIZER}"))?;
    if tokenizer.is_some() {
        for name in TOKENIZER_COMPANIONS {
            snapshot.file_if_any(&format!("{folder}{name}"))?;
        }
    }
    Ok(())
}

/// The path itself if it could be a repository's name, or an example.
fn suggestion(path: &Path, example: &str) -> String {
    let text = path.to_string_lossy();
    match HubName::parse(&text) {
        Ok(_) => text.into_owned(),
        Err(_) => example.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_leads_to_the_hub() {
        assert_eq!(hub_name(Path::new("openai-community/gpt2")).unwrap(), None);
        let name = hub_name(Path::new("hub:openai-community/gpt2")).unwrap();
        assert_eq!(name.unwrap().repository(), "openai-community/gpt2");
        assert!(hub_name(Path::new("hub:gpt2")).is_err());
    }
}
