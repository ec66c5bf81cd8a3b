//! Files of the Hugging Face hub, by names such as `openai-community/gpt2-large@main`.
//!
//! They lie where the hub's own programs keep them, so that each is downloaded once. A download that breaks off goes on
//! where it stopped, and a large file whose SHA-256 is not the announced one is refused.
//!
//! [`HubClient`] asks the hub, and a [`Snapshot`] is a repository at one commit:
//!
//! ```no_run
//! use pgm_hub::{ENDPOINT, HubClient, HubName, HubSettings, Snapshot};
//!
//! # fn main() -> Result<(), pgm_hub::HubError> {
//! let settings = HubSettings {
//!     endpoint: ENDPOINT.to_owned(),
//!     cache: "/home/me/.cache/huggingface/hub".into(),
//!     token: None,
//!     certificates: None,
//!     is_offline: false,
//! };
//! let client = HubClient::new(settings, |file, _| {
//!     let file = file.to_owned();
//!     Box::new(move |n_bytes| eprintln!("{n_bytes} bytes of {file}"))
//! })?;
//! let name = HubName::parse("openai-community/gpt2")?;
//! let config = Snapshot::open(&client, &name, "config.json")?.file("config.json")?;
//! # Ok(())
//! # }
//! ```

mod cache;
mod download;
mod error;
mod hub_client;
mod hub_name;
mod snapshot;

pub use error::HubError;
pub use hub_client::{DownloadProgress, ENDPOINT, HubClient, HubSettings};
pub use hub_name::HubName;
pub use snapshot::Snapshot;
