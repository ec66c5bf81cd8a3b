//! Networks that say how likely a text is.

mod error;
mod gguf_tokenizer;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use pgm_data::{SpecialTokenChoice, Tokenizer};
use pgm_judges::{JudgeConfig, JudgeDescription, JudgeModel};
use pgm_weights::{GgufFile, WeightsChoice, WeightsFile};

pub use error::JudgeError;

/// GPT-2 or a Llama with its tokenizer, from local files.
#[derive(Debug)]
pub struct Judge {
    name: String,
    model: JudgeModel,
    tokenizer: Tokenizer,
    context_length: usize,
    n_weight_bytes: u64,
    unknown_keys: Vec<String>,
    device: Device,
}

/// What a judge says of a row of tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JudgedRow {
    /// Nats of each token but the first.
    pub costs: Vec<f64>,
    /// The last hidden state at one token, if it was asked for.
    pub feature: Option<Vec<f32>>,
}

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// Of weights that are cut into several files.
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";

impl Judge {
    /// Opens a folder with `config.json`, `model.safetensors` and `tokenizer.json`, as on the Hugging Face hub, or a
    /// `.gguf` file, which holds all three. Instead of `model.safetensors` there may be `model.safetensors.index.json`
    /// and the files that it names. GPT-2's own vocabulary needs no `tokenizer.json`. Which tokens begin and end a text
    /// is asked as [`Tokenizer::from_file`] does, or of the header of a GGUF file.
    ///
    /// # Errors
    /// When a file is missing or damaged, the network is neither GPT-2 nor a Llama, or the tokenizer has more tokens
    /// than the network.
    pub fn open(path: &Path, device: &Device) -> Result<Self, JudgeError> {
        Self::open_choosing(path, &SpecialTokenChoice::default(), device)
    }

    /// The same, with special tokens that are chosen before anything is asked.
    ///
    /// # Errors
    /// As [`Self::open`], and when its tokenizer has no such token.
    pub fn open_choosing(
        path: &Path,
        choice: &SpecialTokenChoice,
        device: &Device,
    ) -> Result<Self, JudgeError> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let (description, tokenizer) = Self::describe(path, choice)?;
        let JudgeDescription {
            config,
            unknown_keys,
        } = description;
        let weights_path = if path.is_file() {
            path.to_path_buf()
        } else {
            weights_of(path)?
        };
        let weights = WeightsFile::open(&weights_path, WeightsChoice::default())?;
        let mut n_weight_bytes = 0;
        for file in weights.files() {
            n_weight_bytes += size_of_file(file)?;
        }
        Ok(Self {
            name,
            model: config.load(&weights, device)?,
            tokenizer,
            context_length: config.context_length(),
            n_weight_bytes,
            unknown_keys,
            device: device.clone(),
        })
    }

    /// The sizes and the tokenizer of a judge, without its weights.
    ///
    /// # Errors
    /// As [`Self::open_choosing`].
    pub fn describe(
        path: &Path,
        choice: &SpecialTokenChoice,
    ) -> Result<(JudgeDescription, Tokenizer), JudgeError> {
        let config_error = |path: PathBuf| move |reason| JudgeError::Config { path, reason };
        let (description, tokenizer) = if path.is_file() {
            let file = GgufFile::open(path)?;
            let description =
                JudgeDescription::from_gguf(&file).map_err(config_error(path.to_path_buf()))?;
            (description, gguf_tokenizer::read(&file, path, choice)?)
        } else {
            let config_path = path.join(CONFIG);
            let text = pgm_data::read_json_text(&config_path).map_err(JudgeError::of_config)?;
            let description =
                JudgeDescription::from_json(&text).map_err(config_error(config_path))?;
            let tokenizer = tokenizer_of(path, &description.config, choice)?;
            (description, tokenizer)
        };
        let vocab_size = description.config.vocab_size();
        if tokenizer.vocab_size() > vocab_size {
            return Err(JudgeError::Vocabulary {
                judge: path.to_path_buf(),
                tokenizer: tokenizer.vocab_size(),
                network: vocab_size,
            });
        }
        Ok((description, tokenizer))
    }

    /// The judge under another name than that of its folder or file, such as where it comes from.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The name of its folder or file, or the one that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Longest text it reads, in its tokens.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Size of the files with its weights, in bytes.
    pub fn n_weight_bytes(&self) -> u64 {
        self.n_weight_bytes
    }

    /// Keys of its description that mean nothing here. Those that are known to change the numbers are refused, so these
    /// are worth a warning.
    pub fn unknown_keys(&self) -> &[String] {
        &self.unknown_keys
    }

    /// Nats that each token of a row costs but the first. Rows may differ in length: what stands behind a token
    /// does not change what it costs.
    ///
    /// # Errors
    /// When the device fails, or the network's output is not finite.
    ///
    /// # Panics
    /// Panics if a row has more tokens than the judge reads.
    pub fn token_nll(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f64>>, JudgeError> {
        let read = self.read(rows, None)?;
        Ok(read.into_iter().map(|row| row.costs).collect())
    }

    /// [`Self::token_nll`] of each row, and with `features_at`, a token for each row, the network's last hidden state
    /// there, from the same forward pass.
    ///
    /// # Errors
    /// As [`Self::token_nll`].
    ///
    /// # Panics
    /// As [`Self::token_nll`], and if `features_at` does not name a token of each row.
    pub fn read(
        &self,
        rows: &[Vec<u32>],
        features_at: Option<&[usize]>,
    ) -> Result<Vec<JudgedRow>, JudgeError> {
        if let Some(at) = features_at {
            let is_inside = |(row, &at): (&Vec<u32>, &usize)| at < row.len();
            assert!(
                at.len() == rows.len() && rows.iter().zip(at).all(is_inside),
                "features are asked for at {at:?} of rows of {:?} tokens",
                rows.iter().map(Vec::len).collect::<Vec<_>>()
            );
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        assert!(
            width <= self.context_length,
            "a row has {width} tokens, the judge reads {}",
            self.context_length
        );
        if width == 0 || width < 2 && features_at.is_none() {
            return Ok(vec![JudgedRow::default(); rows.len()]);
        }
        // A row of one token has a feature and no cost.
        let width = width.max(2);
        let padding = self.tokenizer.eos_id();
        let padded = rows.iter().flat_map(|row| {
            let padding = std::iter::repeat_n(padding, width - row.len());
            row.iter().copied().chain(padding).map(i64::from)
        });
        let padded = TensorData::new(padded.collect::<Vec<i64>>(), [rows.len(), width]);
        let tokens = Tensor::<2, Int>::from_data(padded, &self.device);
        let (nll, hidden) = self.model.token_nll_and_hidden(tokens);
        let read_back = |values: Tensor<2>| {
            let values = values.try_into_vec_as::<f32>();
            values.map_err(|error| JudgeError::Device {
                reason: error.to_string(),
            })
        };
        let nll = read_back(nll)?;
        let [n_rows, _, d_model] = hidden.dims();
        let features = match features_at {
            Some(at) => {
                let places = at.iter().enumerate();
                let places = places.map(|(number, at)| (number * width + at) as i64);
                let places = TensorData::new(places.collect::<Vec<i64>>(), [n_rows]);
                let places = Tensor::<1, Int>::from_data(places, &self.device);
                read_back(hidden.reshape([n_rows * width, d_model]).select(0, places))?
            }
            None => Vec::new(),
        };
        let mut features = features.chunks(d_model);
        let costs = nll.chunks(width - 1).zip(rows).map(|(costs, row)| {
            let costs = &costs[..row.len().saturating_sub(1)];
            match costs.iter().position(|cost| !cost.is_finite()) {
                Some(position) => Err(JudgeError::NotFinite {
                    judge: self.name.clone(),
                    value: costs[position],
                    token: position + 1,
                }),
                None => Ok(JudgedRow {
                    costs: costs.iter().map(|&cost| f64::from(cost)).collect(),
                    feature: features.next().map(<[f32]>::to_vec),
                }),
            }
        });
        costs.collect()
    }
}

/// The file with the weights in a folder, or their index.
fn weights_of(folder: &Path) -> Result<PathBuf, JudgeError> {
    let (whole, index) = (folder.join(WEIGHTS), folder.join(INDEX));
    if !whole.exists() && index.exists() {
        return Ok(index);
    }
    size_of_file(&whole)?;
    Ok(whole)
}

fn size_of_file(path: &Path) -> Result<u64, JudgeError> {
    let metadata = std::fs::metadata(path).map_err(|reason| JudgeError::File {
        path: path.to_path_buf(),
        reason,
    })?;
    Ok(metadata.len())
}

fn tokenizer_of(
    folder: &Path,
    config: &JudgeConfig,
    choice: &SpecialTokenChoice,
) -> Result<Tokenizer, JudgeError> {
    let path = folder.join(TOKENIZER);
    if path.exists() {
        return Ok(Tokenizer::from_file_choosing(path, choice)?);
    }
    let gpt2 = || Tokenizer::gpt2();
    match config {
        JudgeConfig::Gpt2(config) if config.vocab_size == gpt2().vocab_size() => {
            Ok(gpt2().choosing(choice)?)
        }
        _ => Err(JudgeError::NoTokenizer { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::test_judge::{golden, judge_folder};

    #[test]
    fn rows_of_any_length_cost_the_same_together_and_alone() {
        let folder = judge_folder("gpt2");
        let judge = Judge::open(folder.path(), &Device::flex()).unwrap();
        let rows = [vec![0, 7, 9, 33, 250], vec![0], vec![], vec![0, 90, 8]];
        let together = judge.token_nll(&rows).unwrap();
        assert_eq!(
            together.iter().map(Vec::len).collect::<Vec<_>>(),
            [4, 0, 0, 2]
        );
        for (row, costs) in rows.iter().zip(&together) {
            let alone = judge.token_nll(std::slice::from_ref(row)).unwrap();
            for (a, b) in alone[0].iter().zip(costs) {
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
    }

    #[test]
    fn features_do_not_depend_on_what_stands_behind() {
        let folder = judge_folder("gpt2");
        let judge = Judge::open(folder.path(), &Device::flex()).unwrap();
        let read = |row: &[u32], at| {
            let mut read = judge
                .read(&[row.to_vec(), vec![0]], Some(&[at, 0]))
                .unwrap();
            assert_eq!(read[1].costs, [0.0; 0]);
            read.swap_remove(0).feature.unwrap()
        };
        let row = [0, 7, 9, 33, 250];
        for at in 0..row.len() {
            let (whole, cut) = (read(&row, at), read(&row[..=at], at));
            assert!(whole.iter().zip(&cut).all(|(a, b)| (a - b).abs() < 1e-5));
            let other = read(&row, (at + 1) % row.len());
            assert!(whole.iter().zip(&other).any(|(a, b)| (a - b).abs() > 0.1));
        }
    }

    #[test]
    fn missing_files_are_named() {
        let device = Device::flex();
        let refused = |path: &Path| Judge::open(path, &device).unwrap_err().to_string();
        let absent = refused(Path::new("/nowhere"));
        assert!(absent.contains("`/nowhere/config.json`"), "{absent}");
        let folder = judge_folder("gpt2");
        std::fs::remove_file(folder.path().join(WEIGHTS)).unwrap();
        let absent = refused(folder.path());
        assert!(absent.contains("model.safetensors`"), "{absent}");
        std::fs::remove_file(folder.path().join(TOKENIZER)).unwrap();
        let absent = refused(folder.path());
        assert!(absent.contains("has no `tokenizer.json`"), "{absent}");
        // A GGUF without the tables of a tokenizer.
        let absent = refused(&golden("llama_gguf").join("model.gguf"));
        assert!(absent.contains("no `tokenizer.ggml.model`"), "{absent}");
    }

    #[test]
    fn unknown_keys_of_the_description_are_handed_up() {
        let folder = judge_folder("gpt2");
        let path = folder.path().join(CONFIG);
        let open = || Judge::open(folder.path(), &Device::flex());
        assert_eq!(open().unwrap().unknown_keys(), [""; 0]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('{', "{\"novel_scale\": 2,", 1)).unwrap();
        assert_eq!(open().unwrap().unknown_keys(), ["novel_scale"]);
    }

    #[test]
    fn what_stands_in_place_of_a_file_is_named_once() {
        let folder = judge_folder("gpt2");
        for name in [WEIGHTS, CONFIG] {
            let path = folder.path().join(name);
            std::fs::write(
                &path,
                "version https://git-lfs.github.com/spec/v1\nsize 9\n",
            )
            .unwrap();
            let error = Judge::open(folder.path(), &Device::flex()).unwrap_err();
            // A command adds the causes that the text does not contain.
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let reason = error.to_string();
                if !text.contains(&reason) {
                    text = format!("{text}: {reason}");
                }
                cause = error.source();
            }
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert_eq!(text.matches("is a Git LFS pointer").count(), 1, "{text}");
        }
    }

    #[test]
    fn weights_in_several_files_are_opened_by_their_index() {
        let folder = judge_folder("gpt2");
        let path = |name: &str| folder.path().join(name);
        let open = || Judge::open(folder.path(), &Device::flex());
        let whole = open().unwrap();
        // All tensors in one shard, named by the header of the file.
        let bytes = std::fs::read(path(WEIGHTS)).unwrap();
        let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + n_header]).unwrap();
        let names = header.as_object().unwrap().keys();
        let map: serde_json::Map<_, _> = names
            .filter(|name| *name != "__metadata__")
            .map(|name| (name.clone(), "shard.safetensors".into()))
            .collect();
        std::fs::write(
            path(INDEX),
            serde_json::json!({ "weight_map": map }).to_string(),
        )
        .unwrap();
        std::fs::rename(path(WEIGHTS), path("shard.safetensors")).unwrap();
        let cut = open().unwrap();
        let rows = [vec![0, 7, 9, 33, 250]];
        assert_eq!(
            cut.token_nll(&rows).unwrap(),
            whole.token_nll(&rows).unwrap()
        );
        assert_eq!(cut.n_weight_bytes(), whole.n_weight_bytes());
        assert_eq!(cut.with_name("owner/judge").name(), "owner/judge");
        std::fs::remove_file(path("shard.safetensors")).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(
            error.contains("its shard `shard.safetensors` is not beside it"),
            "{error}"
        );
    }

    #[test]
    fn a_judge_that_gives_no_number_is_named() {
        let folder = judge_folder("gpt2");
        let path = folder.path().join(WEIGHTS);
        let mut bytes = std::fs::read(&path).unwrap();
        let n_bytes = bytes.len();
        // The last tensor of the file becomes NaN.
        bytes[n_bytes - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let judge = Judge::open(folder.path(), &Device::flex()).unwrap();
        let all: Vec<u32> = (0..30).collect();
        let error = judge.token_nll(&[all]).unwrap_err();
        assert!(error.to_string().contains("is NaN"), "{error}");
    }
}
