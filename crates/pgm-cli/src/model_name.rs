//! Models by any name: that of the pretrained one, a place on the Hugging Face hub, a path.

use std::path::Path;

use anyhow::Result;

use crate::hub::{self, LocatedModel};
use crate::pretrained;

/// The weights of a name, on this machine; those of the hub are downloaded.
///
/// `pretrained` is the model of the repository, whatever the folder that the program runs in holds; a file or folder
/// of that name is called `./pretrained`.
///
/// # Errors
/// When the pretrained model is missing or damaged, or a download fails.
pub fn weights(name: &Path) -> Result<LocatedModel> {
    if pretrained::is_named_by(name) {
        pretrained::locate()
    } else {
        hub::weights(name)
    }
}
