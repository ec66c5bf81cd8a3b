//! How this program reaches the Hugging Face hub: settings from the environment, downloads shown as they come.

use std::path::PathBuf;

use anyhow::{Result, bail};
use pgm_hub::{DownloadProgress, ENDPOINT, HubClient, HubSettings};

use crate::progress::Stage;

/// A client as `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE` and the usual variables for proxies
/// and certificates (`SSL_CERT_FILE`) say.
///
/// # Errors
/// When the certificates cannot be read, or there is no place for downloads.
pub fn client() -> Result<HubClient> {
    let is_offline = variable("HF_HUB_OFFLINE").is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        ["1", "true", "yes", "on"].contains(&value.as_str())
    });
    let settings = HubSettings {
        endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
        cache: cache()?,
        token: token(),
        certificates: variable("SSL_CERT_FILE").map(PathBuf::from),
        is_offline,
    };
    Ok(HubClient::new(settings, show_download)?)
}

/// The folder of `HF_HUB_CACHE`, or in `HF_HOME`, or the usual one in the home folder.
fn cache() -> Result<PathBuf> {
    match (variable("HF_HUB_CACHE"), home()) {
        (Some(folder), _) => Ok(PathBuf::from(folder)),
        (None, Some(home)) => Ok(home.join("hub")),
        (None, None) => bail!(
            "there is no home folder to keep downloads in; set HF_HOME to the folder that they shall go to"
        ),
    }
}

/// `HF_TOKEN`, or the token that the hub's own program keeps.
fn token() -> Option<String> {
    let kept = || {
        let path = match variable("HF_TOKEN_PATH") {
            Some(path) => path.into(),
            None => home()?.join("token"),
        };
        pgm_data::read_text(path).ok()
    };
    let token = variable("HF_TOKEN").or_else(kept)?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// The folder of the hub's programs.
fn home() -> Option<PathBuf> {
    if let Some(home) = variable("HF_HOME") {
        return Some(PathBuf::from(home));
    }
    let caches = match variable("XDG_CACHE_HOME") {
        Some(caches) => PathBuf::from(caches),
        None => std::env::home_dir()?.join(".cache"),
    };
    Some(caches.join("huggingface"))
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Shows how much of a file is there, in megabytes.
fn show_download(file: &str, n_bytes: Option<u64>) -> DownloadProgress {
    let total = n_bytes.map(megabytes);
    let mut stage = Stage::new("download", total.unwrap_or(0) as usize);
    let message = format!("MB of {file}");
    let mut shown = None;
    Box::new(move |n_bytes| {
        let done = megabytes(n_bytes);
        if shown == Some(done) {
            return;
        }
        shown = Some(done);
        // A size that is not known is always one megabyte away.
        let total = total.unwrap_or(done + 1);
        stage.update(done as usize, total as usize, &message);
    })
}

fn megabytes(n_bytes: u64) -> u64 {
    n_bytes.div_ceil(1_000_000)
}
