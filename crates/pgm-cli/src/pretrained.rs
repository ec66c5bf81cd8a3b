//! The pretrained model of the repository: its folder `pretrained/`, with a checksum of each file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pgm_weights::{WeightsChoice, WeightsFile};

use crate::model_name::{LocatedModel, Origin};

/// Its name, and that of its folder.
pub const NAME: &str = "pretrained";

const WEIGHTS: &str = "model.safetensors";
/// The file with its tokenizer, beside the weights.
pub const TOKENIZER: &str = "tokenizer.json";
/// As `sha256sum` writes and checks it.
const CHECKSUMS: &str = "SHA256SUMS";

const WAY_OUT: &str = "in a checkout `git checkout -- pretrained` brings it back; configs/pretrained.toml says how it \
                       is made anew";

/// Whether a model's name means this one.
pub fn is_named_by(name: &Path) -> bool {
    name == Path::new(NAME)
}

/// The model, from beside the executable or from the checkout in which this program was built.
///
/// # Errors
/// When it is in neither, or a file of it is missing or damaged.
pub fn locate() -> Result<LocatedModel> {
    let executable = std::env::current_exe();
    let beside = executable.ok().and_then(|path| {
        let folder = path.parent()?;
        Some(folder.join(NAME))
    });
    let mut checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(2);
    let in_checkout = checkout.next().map(|checkout| checkout.join(NAME));
    let folders: Vec<PathBuf> = beside.into_iter().chain(in_checkout).collect();
    Ok(LocatedModel {
        path: weights_in(&folders)?,
        origin: Some(Origin {
            name: NAME.to_owned(),
            results: Path::new("runs").join(NAME),
        }),
    })
}

/// The file with the weights, in the first of the folders that exists.
fn weights_in(folders: &[PathBuf]) -> Result<PathBuf> {
    let Some(folder) = folders.iter().find(|folder| folder.is_dir()) else {
        let looked: Vec<String> = folders
            .iter()
            .map(|folder| format!("`{}`", folder.display()))
            .collect();
        bail!(
            "the pretrained model is not here: there is no {}; {WAY_OUT}",
            looked.join(" and no ")
        );
    };
    check(folder).with_context(|| {
        format!(
            "the pretrained model in `{}` cannot be used",
            folder.display()
        )
    })?;
    Ok(folder.join(WEIGHTS))
}

/// Checks that each file is the one that the checksums are of.
fn check(folder: &Path) -> Result<()> {
    let path = folder.join(CHECKSUMS);
    if !path.is_file() {
        bail!("`{CHECKSUMS}` is missing; {WAY_OUT}");
    }
    let checksums = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    for name in [TOKENIZER, WEIGHTS] {
        let path = folder.join(name);
        if !path.is_file() {
            bail!("`{name}` is missing; {WAY_OUT}");
        }
        let Some(wanted) = checksum_of(&checksums, name) else {
            bail!("`{CHECKSUMS}` does not name `{name}`; {WAY_OUT}");
        };
        let (n_bytes, found) = pgm_data::sha256_of_file(&path)?;
        if found != wanted {
            bail!(
                "{}; {WAY_OUT}",
                damage(&path, name, n_bytes, &found, wanted)
            );
        }
    }
    Ok(())
}

/// The checksum in the line of a file: `<hexadecimal digits>  <name>`, with a `*` before the name of a binary file.
fn checksum_of<'a>(checksums: &'a str, name: &str) -> Option<&'a str> {
    checksums.lines().find_map(|line| {
        let (checksum, file) = line.split_once(char::is_whitespace)?;
        let file = file.trim_start().trim_start_matches('*');
        (file == name).then_some(checksum)
    })
}

/// What is wrong with a file whose checksum is another.
fn damage(path: &Path, name: &str, n_bytes: u64, found: &str, wanted: &str) -> String {
    let is_readable = if name == WEIGHTS {
        WeightsFile::open(path, WeightsChoice::Average)
            .map(drop)
            .map_err(|error| error.to_string())
    } else {
        pgm_data::read_json_text(path)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    is_readable.err().unwrap_or_else(|| format!(
        "`{name}` ({n_bytes} bytes) is damaged or of another model: its SHA-256 is {found}, `{CHECKSUMS}` says {wanted}"
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn::tensor::Device;
    use pgm_model::{LanguageModelConfig, PartitionTransformerConfig};
    use pgm_weights::{WeightsFormat, save};

    use super::*;

    /// A folder with small weights, a file in place of the tokenizer, and their checksums.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let sizes = PartitionTransformerConfig {
            vocab_size: 11,
            d_model: 8,
            n_heads: 2,
            n_encoder_blocks: 1,
            n_decoder_blocks: 1,
            cond_dim: 4,
            ..Default::default()
        };
        let config = LanguageModelConfig::Partition(sizes);
        let network = config.init(&Device::flex());
        let path = |name: &str| folder.path().join(name);
        save(&network, &config, WeightsFormat::Safetensors, path(WEIGHTS)).unwrap();
        fs::write(path(TOKENIZER), "{}").unwrap();
        let line = |name: &str, mark: &str| {
            let (_, sha256) = pgm_data::sha256_of_file(&path(name)).unwrap();
            format!("{sha256} {mark}{name}\n")
        };
        let lines = line(WEIGHTS, "*") + &line(TOKENIZER, " ");
        fs::write(path(CHECKSUMS), lines).unwrap();
        folder
    }

    fn error(folders: &[PathBuf]) -> String {
        format!("{:#}", weights_in(folders).unwrap_err())
    }

    #[test]
    fn the_first_folder_that_exists_is_taken() {
        let [here, there] = [folder(), folder()];
        let absent = here.path().join("absent");
        let folders = [
            absent.clone(),
            there.path().to_owned(),
            here.path().to_owned(),
        ];
        assert_eq!(weights_in(&folders).unwrap(), there.path().join(WEIGHTS));
        let error = error(&[absent.clone(), absent.join("deeper")]);
        assert!(
            error.contains("there is no `")
                && error.contains("absent/deeper`")
                && error.contains("git checkout -- pretrained")
                && error.contains("configs/pretrained.toml"),
            "{error}"
        );
    }

    #[test]
    fn whatever_is_missing_or_damaged_is_named_with_the_way_to_get_it() {
        let cut = |folder: &Path| {
            let path = folder.join(WEIGHTS);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        };
        let flipped = |folder: &Path| {
            let path = folder.join(WEIGHTS);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
        };
        let pointer = |folder: &Path| {
            let text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
            fs::write(folder.join(WEIGHTS), text).unwrap();
        };
        let lines = |folder: &Path| fs::write(folder.join(TOKENIZER), "{ }").unwrap();
        let empty = |folder: &Path| fs::write(folder.join(WEIGHTS), "").unwrap();
        let unnamed = |folder: &Path| fs::write(folder.join(CHECKSUMS), "").unwrap();
        let without =
            |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
        type Damage<'a> = &'a dyn Fn(&Path);
        let cases: [(Damage<'_>, &str); 9] = [
            (&without(WEIGHTS), "`model.safetensors` is missing"),
            (&without(TOKENIZER), "`tokenizer.json` is missing"),
            (&without(CHECKSUMS), "`SHA256SUMS` is missing"),
            (&unnamed, "`SHA256SUMS` does not name `tokenizer.json`"),
            (&cut, "was it copied to its end?"),
            (&empty, "cannot read weights from"),
            (&pointer, "`git lfs pull`"),
            (&flipped, "its SHA-256 is"),
            (&lines, "`tokenizer.json` (3 bytes) is damaged"),
        ];
        for (damage, words) in cases {
            let folder = folder();
            let folders = [folder.path().to_owned()];
            weights_in(&folders).unwrap();
            damage(folder.path());
            let error = error(&folders);
            assert!(
                error.contains(words) && error.contains("git checkout -- pretrained"),
                "{words}: {error}"
            );
        }
    }

    #[test]
    fn only_the_plain_name_means_it() {
        assert!(is_named_by(Path::new("pretrained")));
        for other in ["./pretrained", "pretrained/model.safetensors", "Pretrained"] {
            assert!(!is_named_by(Path::new(other)), "{other}");
        }
    }
}
