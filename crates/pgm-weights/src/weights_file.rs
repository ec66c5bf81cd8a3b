use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::burn_pack::Reader;
use burn::store::{
    BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter,
};
use burn::tensor::{DType, Device};

use crate::architecture::ArchitectureError;
use crate::error::WeightsError;
use crate::export::CONFIG_KEY;
use crate::file_kind::start_of;
use crate::file_tensor::FileTensor;
use crate::foreign_names::ForeignNames;
use crate::gguf::GgufFile;
use crate::parameters::Parameters;
use crate::published_models::{published_model, with_published_blanks};
use crate::published_names::{TOKEN_EMBEDDING, is_buffer};
use crate::read_error::ReadError;
use crate::shard_index::ShardIndex;
use crate::weights_choice::{WeightsChoice, WeightsSource};
use crate::wrapper_prefix::{prefix_of, strip, unwrap_names};
use crate::{architecture, pytorch, safetensors_file};
use pgm_model::{LanguageModel, LanguageModelConfig};

/// The tensors of a file with weights; they are read when they are used.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    /// The files with the tensors, if `path` is their index.
    shards: Vec<PathBuf>,
    source: WeightsSource,
    /// Whether names and layout are those of the authors' code.
    is_published: bool,
    tensors: Vec<FileTensor>,
    config: Option<LanguageModelConfig>,
    notes: BTreeMap<String, String>,
}

impl WeightsFile {
    /// Opens a PyTorch checkpoint, a safetensors file, a burnpack or a GGUF; the content decides which. A file whose
    /// name ends with `.index.json` stands for the safetensors files that it names.
    ///
    /// Prefixes such as `backbone.`, `module.` and `_orig_mod.`, in any nesting, are taken off, and what lies outside
    /// (teachers, optimizer, configuration, tokenizer) is passed over unread.
    ///
    /// # Errors
    /// When the file cannot be read, has none of these forms, or holds several networks; when a file that an index names
    /// is missing or lacks a tensor that it should hold.
    pub fn open(path: impl AsRef<Path>, choice: WeightsChoice) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        if ShardIndex::is_named_by(path) {
            let index = ShardIndex::read(path)?;
            return Ok(Self {
                shards: index.files(),
                ..Self::new(path, index.tensors()?, WeightsSource::Only, None)?
            });
        }
        let read = |reason: ReadError| WeightsError::read(path, reason);
        let start = start_of(path).map_err(read)?;
        let mut notes = BTreeMap::new();
        let (tensors, source, config) = match start.as_slice() {
            [b'P', b'K', 3, 4, ..] => {
                let (tensors, source) = pytorch::open(path, choice).map_err(read)?;
                (tensors, source, None)
            }
            // Burnpack's magic number 0x4255524E, little-endian.
            [b'N', b'R', b'U', b'B', ..] => {
                let reader = Reader::from_file_exact(path).map_err(|error| read(error.into()))?;
                notes.clone_from(reader.metadata());
                let config = notes.remove(CONFIG_KEY);
                let tensors = reader.into_tensors().map_err(|error| read(error.into()))?;
                let tensors = tensors.into_iter().map(FileTensor::new).collect();
                (tensors, WeightsSource::Only, config)
            }
            [0x80, 0x02, 0x8a, 0x0a, ..] => {
                return Err(read(
                    "it was written by PyTorch before 1.6; load it and `torch.save` it again with a newer one"
                        .into(),
                ));
            }
            [0x80, 2..=5, ..] => {
                return Err(read(
                    "it is a pickle of Python's own; save the state dict with `torch.save`".into(),
                ));
            }
            [b'G', b'G', b'U', b'F', ..] => {
                let file = GgufFile::open(path)?;
                (file.into_tensors(), WeightsSource::Only, None)
            }
            _ => {
                let (tensors, mut metadata) = safetensors_file::open(path).map_err(read)?;
                let config = metadata.remove(CONFIG_KEY);
                notes.extend(metadata);
                (tensors, WeightsSource::Only, config)
            }
        };
        let config = config
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|source| {
                read(ReadError::Json {
                    damage: "the sizes in it are damaged",
                    source,
                })
            })?;
        Ok(Self {
            notes,
            ..Self::new(path, tensors, source, config)?
        })
    }

    fn new(
        path: &Path,
        mut tensors: Vec<FileTensor>,
        source: WeightsSource,
        config: Option<LanguageModelConfig>,
    ) -> Result<Self, WeightsError> {
        unwrap_names(&mut tensors);
        let prefix = prefix_of(&tensors, TOKEN_EMBEDDING, "");
        let prefix = prefix.map_err(|reason| WeightsError::read(path, reason))?;
        let is_published = prefix.is_some();
        let tensors = strip(tensors, &prefix.unwrap_or_default());
        Ok(Self {
            path: path.to_path_buf(),
            shards: Vec::new(),
            source,
            is_published,
            tensors,
            config,
            notes: BTreeMap::new(),
        })
    }

    /// The files that hold the tensors: the one that was opened, or those that it names.
    pub fn files(&self) -> &[PathBuf] {
        if self.shards.is_empty() {
            std::slice::from_ref(&self.path)
        } else {
            &self.shards
        }
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which weights of the file these are.
    pub fn source(&self) -> WeightsSource {
        self.source
    }

    /// Whether the tensors are named and laid out as in the authors' code.
    pub fn is_published(&self) -> bool {
        self.is_published
    }

    /// Whether the file says all sizes of its network, which files written here do.
    pub fn has_sizes(&self) -> bool {
        self.config.is_some()
    }

    /// The key-value pairs of the file, but for the sizes: what [`WeightsExport`](crate::WeightsExport) was given as
    /// notes, and in files of others whatever they say.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.notes
    }

    /// The network that the weights are for.
    ///
    /// A file written here says so. From published tensors all sizes are read but the number of heads,
    /// taken for `d_model / 64` as in all published networks unless `n_heads` is given; the kind of
    /// pre-query is taken for the published `learn+freqs`, dropout for 0.1.
    ///
    /// # Errors
    /// When the file does not tell, or the sizes make no network.
    pub fn config(&self, n_heads: Option<usize>) -> Result<LanguageModelConfig, WeightsError> {
        let mut config = match &self.config {
            Some(config) => config.clone(),
            None if self.is_published => {
                let shapes: BTreeMap<&str, Vec<usize>> = self
                    .tensors
                    .iter()
                    .map(|tensor| (tensor.name.as_str(), tensor.shape.clone()))
                    .collect();
                architecture::read(&shapes, n_heads)
                    .map_err(|reason| WeightsError::architecture(&self.path, reason))?
            }
            None => {
                return Err(WeightsError::architecture(
                    &self.path,
                    ArchitectureError::Names {
                        found: self.names_in_words(),
                    },
                ));
            }
        };
        if let Some(n_heads) = n_heads {
            config.set_n_heads(n_heads);
        }
        config.validate().map_err(|source| WeightsError::Config {
            path: self.path.clone(),
            source,
        })?;
        Ok(config)
    }

    /// The first names of the tensors, and how many there are.
    fn names_in_words(&self) -> String {
        const SHOWN: usize = 3;
        let mut names: Vec<&str> = self.tensors.iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        let n_tensors = names.len();
        let names: Vec<String> = names
            .iter()
            .take(SHOWN)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = if n_tensors > SHOWN { ", ..." } else { "" };
        match n_tensors {
            0 => "no tensors".to_owned(),
            1 => format!("one tensor, {}", names[0]),
            _ => format!("{n_tensors} tensors: {}{more}", names.join(", ")),
        }
    }

    /// Checks that a file with the name of a published one ([`published_model`]) has its sizes; other names pass.
    ///
    /// # Errors
    /// When it has not, or as [`Self::config`].
    pub fn check_published_sizes(&self) -> Result<(), WeightsError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let Some(wanted) = published_model(&name) else {
            return Ok(());
        };
        // No tensor shows the heads, and any number will do to compare the others.
        let found = with_published_blanks(self.config(Some(1))?, &wanted);
        if found == wanted {
            return Ok(());
        }
        let text = |config| serde_json::to_string(config).expect("sizes have a JSON form");
        Err(WeightsError::PublishedSizes {
            path: self.path.clone(),
            found: text(&found),
            wanted: text(&wanted),
        })
    }

    /// Builds the network of the file with its weights.
    ///
    /// # Errors
    /// As [`Self::config`] and [`Self::load_into`].
    pub fn load(
        &self,
        n_heads: Option<usize>,
        device: &Device,
    ) -> Result<LanguageModel, WeightsError> {
        let mut model = self.config(n_heads)?.init(device);
        self.load_into(&mut model)?;
        Ok(model)
    }

    /// Replaces the weights of a network, in float32; the network stays as it is on an error.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or has no place in the network (all such are
    /// counted), or cannot be read.
    pub fn load_into<M: Module>(&self, model: &mut M) -> Result<(), WeightsError> {
        let wanted = Parameters::from_model(model, self.is_published)?;
        let found = tensors_by(&self.tensors, |name| (!is_buffer(name)).then_some(name));
        self.apply(model, &found, &wanted, self.is_published)
    }

    /// Replaces the weights of a network whose tensors another library named, as [`Self::load_into`] does.
    ///
    /// # Errors
    /// As [`Self::load_into`].
    pub fn load_foreign<M: Module>(
        &self,
        model: &mut M,
        names: &ForeignNames,
    ) -> Result<(), WeightsError> {
        let own = if names.is_linear_transposed {
            model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true)
        } else {
            model.collect(None, None, true)
        };
        let wanted = Parameters(
            own.into_iter()
                .map(|tensor| {
                    let shape = tensor.shape.to_vec();
                    (names.name_of(&tensor.name), (tensor.name, shape))
                })
                .collect(),
        );
        let anchor = names.name_of("token_embedding.weight");
        let body = prefix_of(&self.tensors, &anchor, names.prefix)
            .map_err(|reason| WeightsError::read(&self.path, reason))?
            .unwrap_or_default();
        // The network's own prefix stays: its output layer lies outside.
        let wrapper = body.strip_suffix(names.prefix).unwrap_or(&body);
        let found = tensors_by(&self.tensors, |name| {
            names.parameter(name.strip_prefix(wrapper)?)
        });
        self.apply(model, &found, &wanted, names.is_linear_transposed)
    }

    fn apply<M: Module>(
        &self,
        model: &mut M,
        found: &BTreeMap<&str, &FileTensor>,
        wanted: &Parameters,
        is_pytorch_layout: bool,
    ) -> Result<(), WeightsError> {
        let unreadable = wanted.0.keys().find_map(|name| {
            let reason = found.get(name.as_str())?.values.as_ref().err()?;
            Some(ReadError::Tensor {
                name: name.clone(),
                reason: reason.clone(),
            })
        });
        if let Some(reason) = unreadable {
            return Err(WeightsError::read(&self.path, reason));
        }
        let mismatch = wanted.mismatch(found);
        if !mismatch.is_empty() {
            return Err(WeightsError::Mismatch {
                path: self.path.clone(),
                mismatch,
            });
        }
        let tensors = found.iter().filter_map(|(name, tensor)| {
            let mut stored = tensor.values.clone().ok()?;
            stored.name = wanted.0.get(*name)?.0.clone();
            Some(stored)
        });
        let cast = FloatCastAdapter::to(DType::F32);
        let adapter: Box<dyn ModuleAdapter> = if is_pytorch_layout {
            Box::new(PyTorchToBurnAdapter.chain(cast))
        } else {
            Box::new(cast)
        };
        let result = model.apply(tensors.collect(), None, Some(adapter), true);
        match result.errors.into_iter().next() {
            Some(error) => Err(WeightsError::read(
                &self.path,
                ReadError::Parameter(Box::new(error)),
            )),
            None => Ok(()),
        }
    }
}

/// Tensors by what `name_of` makes of their names, without those that it refuses.
fn tensors_by<'a>(
    tensors: &'a [FileTensor],
    name_of: impl Fn(&'a str) -> Option<&'a str>,
) -> BTreeMap<&'a str, &'a FileTensor> {
    tensors
        .iter()
        .filter_map(|tensor| Some((name_of(&tensor.name)?, tensor)))
        .collect()
}
