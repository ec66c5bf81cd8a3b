use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::WeightsError;
use crate::file_kind::{other_text, start_of};
use crate::file_tensor::FileTensor;
use crate::read_error::ReadError;
use crate::safetensors_file;

/// Which file holds each tensor of weights that are cut into several: `model.safetensors.index.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct ShardIndex {
    /// File name by the name of the tensor.
    weight_map: BTreeMap<String, String>,
    #[serde(skip)]
    path: PathBuf,
}

impl ShardIndex {
    /// How the names of index files end.
    const ENDING: &str = ".index.json";

    /// Whether a file is an index, by its name.
    pub(crate) fn is_named_by(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(Self::ENDING)
    }

    /// Reads an index; its shards need not be there.
    ///
    /// # Errors
    /// When it cannot be read, names no shard, or one that is no plain file name.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|error| WeightsError::read(path, error))?;
        if let Some(what) = other_text(&text) {
            return Err(WeightsError::read(path, what));
        }
        // Windows writes a byte order mark in front, which is no JSON.
        let json = text.trim_start_matches('\u{feff}');
        let mut index: Self = serde_json::from_str(json).map_err(|source| {
            let damage = "it is no index of weights";
            WeightsError::read(path, ReadError::Json { damage, source })
        })?;
        index.path = path.to_path_buf();
        // It came with somebody's weights, and must not name files elsewhere.
        let is_plain =
            |shard: &&str| !matches!(*shard, "" | "." | "..") && !shard.contains(['/', '\\', ':']);
        match index.shards().into_iter().find(|shard| !is_plain(shard)) {
            Some(shard) => Err(index.refused(format!("`{shard}` is no name of a file beside it"))),
            None if index.weight_map.is_empty() => {
                Err(index.refused("its `weight_map` is empty".into()))
            }
            None => Ok(index),
        }
    }

    /// Names of the files with the tensors, each once; they lie beside the index.
    pub fn shards(&self) -> Vec<&str> {
        let shards: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        shards.into_iter().collect()
    }

    /// The same as paths.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let shards = self.shards().into_iter();
        shards
            .map(|shard| self.path.with_file_name(shard))
            .collect()
    }

    /// The tensors, unread, each from the shard that the index names; others in the shards are passed over.
    pub(crate) fn tensors(&self) -> Result<Vec<FileTensor>, WeightsError> {
        let mut tensors = Vec::with_capacity(self.weight_map.len());
        for shard in self.shards() {
            let file = self.path.with_file_name(shard);
            if !file.exists() {
                return Err(self.refused(format!(
                    "its shard `{shard}` is not beside it; download that, too"
                )));
            }
            let (found, _) = start_of(&file)
                .and_then(|_| safetensors_file::open(&file))
                .map_err(|reason| WeightsError::read(&file, reason))?;
            let mut found: BTreeMap<String, FileTensor> = found
                .into_iter()
                .map(|tensor| (tensor.name.clone(), tensor))
                .collect();
            let wanted = self.weight_map.iter().filter(|(_, name)| *name == shard);
            for (name, _) in wanted {
                let tensor = found.remove(name).ok_or_else(|| {
                    self.refused(format!(
                        "it has `{name}` in shard `{shard}`, which holds no such tensor; \
                         index and shards are not of one download"
                    ))
                })?;
                tensors.push(tensor);
            }
        }
        Ok(tensors)
    }

    fn refused(&self, reason: String) -> WeightsError {
        WeightsError::read(&self.path, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_files_beside_it_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors.index.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ShardIndex::read(&path)
        };
        let index = read("\u{feff}{\"weight_map\": {\"a\": \"1\"}}");
        assert_eq!(index.unwrap().shards(), ["1"]);
        let index = read(r#"{"metadata": {}, "weight_map": {"a": "2", "b": "1", "c": "2"}}"#);
        assert_eq!(index.unwrap().shards(), ["1", "2"]);
        for (text, wanted) in [
            (
                r#"{"weight_map": {"a": "../1"}}"#,
                "`../1` is no name of a file beside it",
            ),
            (
                r#"{"weight_map": {"a": ".."}}"#,
                "`..` is no name of a file beside it",
            ),
            (r#"{"weight_map": {}}"#, "its `weight_map` is empty"),
            (
                "{}",
                "it is no index of weights: missing field `weight_map`",
            ),
            (
                "version https://git-lfs.github.com/spec/v1\nsize 7\n",
                "it is a Git LFS pointer, which stands for a file of 7 bytes",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
