//! Models of the Hugging Face hub, by names such as `hub:openai-community/gpt2-large`.
//!
//! Files lie where the hub's own programs keep them (`HF_HOME`), so that each is downloaded once. A local path of that
//! name goes before the hub, and nothing is asked for without the prefix.

mod cache;
mod download;
mod hub_client;
mod hub_name;
mod snapshot;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use pgm_weights::ShardIndex;

use hub_client::HubClient;
use hub_name::HubName;
use snapshot::Snapshot;

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
        Self {
            path,
            origin: Some(snapshot.origin()),
        }
    }
}

/// The judge of a path, or of a name on the hub, which is downloaded.
///
/// # Errors
/// When there is neither, or it cannot be downloaded.
pub fn judge(path: &Path) -> Result<LocatedModel> {
    let Some(name) = HubName::of(path)? else {
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
    let client = HubClient::from_environment()?;
    if let Some(file) = &name.file {
        if !file.ends_with(".gguf") {
            bail!(
                "a judge is a repository (`hub:OWNER/NAME`) or a `.gguf` file in one, and `{name}` is neither"
            );
        }
        let snapshot = Snapshot::of(&client, &name, file)?;
        return Ok(LocatedModel::downloaded(snapshot.file(file)?, &snapshot));
    }
    let snapshot = Snapshot::of(&client, &name, CONFIG)?;
    let config = snapshot.file(CONFIG)?;
    tokenizer(&snapshot, "")?;
    if snapshot.file_if_any(WEIGHTS)?.is_none() {
        let Some(index) = snapshot.file_if_any(INDEX)? else {
            bail!(
                "`{name}` has neither `{WEIGHTS}` nor `{INDEX}`{}; take a judge that has, or a `.gguf` file: \
                 `hub:{}/FILE.gguf`",
                snapshot.whence(),
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

/// The weights of a path, or of a file on the hub, which is downloaded with the tokenizer beside it, if there is one.
///
/// # Errors
/// When it cannot be downloaded.
pub fn weights(path: &Path) -> Result<LocatedModel> {
    let Some(name) = HubName::of(path)? else {
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
    let client = HubClient::from_environment()?;
    let snapshot = Snapshot::of(&client, &name, file)?;
    let path = snapshot.file(file)?;
    let folder = file.rfind('/').map_or("", |slash| &file[..=slash]);
    tokenizer(&snapshot, folder)?;
    Ok(LocatedModel::downloaded(path, &snapshot))
}

/// Downloads the tokenizer in a folder of a repository, if there is one, and what belongs to it.
fn tokenizer(snapshot: &Snapshot, folder: &str) -> Result<()> {
    if snapshot
        .file_if_any(&format!("{folder}{TOKENIZER}"))?
        .is_some()
    {
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
