//! What goes wrong with files, and that it is said and leaves nothing half-made behind.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pgm_data::{
    BadLines, Corpus, DataError, DocumentSplit, Manifest, Packing, PrepareConfig, PreparedData,
    Tokenizer, TokenizerSpec, ValidationSplit, prepare,
};

const FILES: [&str; 4] = [
    "train.tok",
    "validation.tok",
    "tokenizer.json",
    "manifest.json",
];

fn config(root: &Path) -> PrepareConfig {
    let input = root.join("text.txt");
    let text: String = (0..200)
        .map(|n| format!("Paragraph {n}: the whale is white.\n\n"))
        .collect();
    fs::write(&input, text).unwrap();
    PrepareConfig {
        inputs: vec![input],
        tokenizer: TokenizerSpec::Bpe { vocab_size: 280 },
        validation: ValidationSplit::Fraction(0.1),
        split: DocumentSplit::File,
        text_field: Corpus::TEXT_FIELD.to_owned(),
        bad_lines: BadLines::Refuse,
        special_tokens: Default::default(),
        allow_lossy_tokenizer: false,
        output: root.join("prepared"),
    }
}

fn run(config: &PrepareConfig) -> Result<PreparedData, DataError> {
    prepare(config, &mut |_| {})
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    let read = |name| fs::read(folder.join(name)).unwrap();
    FILES.into_iter().map(read).collect()
}

/// Replaces a file, so that a mapping of the old one keeps its bytes.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_kind_of_broken_shard_is_named_and_prepared_again() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    run(&config).unwrap();
    let good = contents(&config.output);
    let flipped = |index: usize| {
        let mut bytes = good[0].clone();
        bytes[index] ^= 0x04;
        bytes
    };
    let middle = 128 + (good[0].len() - 128) / 2;
    let cases = [
        (good[0][..middle].to_vec(), "cut short or damaged"),
        (b"# Notes\nnot tokens".to_vec(), "is not a token shard"),
        (Vec::new(), "is not a token shard"),
        (flipped(middle), "is damaged: its checksum is"),
        (
            flipped(8),
            "has format version 5, this program reads version 1",
        ),
    ];
    for (bytes, wanted) in cases {
        let path = config.output.join("train.tok");
        replace(&path, &bytes);
        let error = PreparedData::open(&config.output).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(error.contains("train.tok"), "{error}");
        run(&config).unwrap();
        assert_eq!(contents(&config.output), good, "{wanted}");
    }
}

#[test]
fn parts_of_other_folders_do_not_fit() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    run(&config).unwrap();
    let other = PrepareConfig {
        tokenizer: TokenizerSpec::Bpe { vocab_size: 290 },
        output: root.path().join("other"),
        ..config.clone()
    };
    run(&other).unwrap();
    for name in ["validation.tok", "tokenizer.json"] {
        let (here, there) = (config.output.join(name), other.output.join(name));
        let kept = fs::read(&here).unwrap();
        replace(&here, &fs::read(there).unwrap());
        let error = PreparedData::open(&config.output).unwrap_err();
        assert!(
            matches!(error, DataError::TokenizerMismatch { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(name), "{error}");
        replace(&here, &kept);
    }
    // Rows need tokens that the shard's vocabulary has: GPT-2's end of text is 50256.
    let data = PreparedData::open(&config.output).unwrap();
    let error = Packing::Concatenated
        .rows(data.train().clone(), 16, &Tokenizer::gpt2())
        .unwrap_err();
    assert!(
        matches!(error, DataError::TokenOutOfRange { token: 50256, .. }),
        "{error}"
    );
}

#[test]
fn a_text_shorter_than_a_row_is_refused_with_both_numbers() {
    let root = tempfile::tempdir().unwrap();
    let data = run(&config(root.path())).unwrap();
    let n_tokens = data.validation().n_tokens() + data.validation().n_documents();
    let rows =
        |seq_len| Packing::Concatenated.rows(data.validation().clone(), seq_len, data.tokenizer());
    assert!(rows(n_tokens + 2).is_ok());
    let error = rows(n_tokens + 3).unwrap_err().to_string();
    assert!(error.contains(&format!("has {n_tokens} tokens")), "{error}");
    assert!(
        error.contains(&format!("at least {}", n_tokens + 1)),
        "{error}"
    );
    assert!(error.contains("smaller `seq_len`"), "{error}");
}

#[test]
fn what_a_killed_preparation_leaves_is_removed_and_the_result_is_the_same() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    run(&config).unwrap();
    let good = contents(&config.output);
    // In the order in which a preparation gets there: nothing but temporary files, one shard, both, the tokenizer.
    for n_finished in 0..FILES.len() {
        for name in &FILES[n_finished..] {
            fs::remove_file(config.output.join(name)).unwrap();
            let temporary = format!(".{name}.4711-0.tmp");
            fs::write(config.output.join(temporary), "half").unwrap();
        }
        let error = PreparedData::open(&config.output).unwrap_err();
        assert!(matches!(error, DataError::NotPrepared { .. }), "{error}");
        run(&config).unwrap();
        assert_eq!(contents(&config.output), good);
        let mut names: Vec<_> = fs::read_dir(&config.output)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                ".prepare.lock",
                "manifest.json",
                "tokenizer.json",
                "train.tok",
                "validation.tok"
            ]
        );
    }
}

#[test]
fn two_preparations_of_one_folder_wait_for_each_other() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let alone = PrepareConfig {
        output: root.path().join("alone"),
        ..config.clone()
    };
    run(&alone).unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| run(&config))).collect();
        for run in runs {
            let data = run.join().unwrap().unwrap();
            assert_eq!(data.manifest().train.n_documents, 1);
        }
    });
    assert_eq!(contents(&config.output), contents(&alone.output));
}

#[test]
fn a_manifest_of_another_version_is_refused_and_the_data_made_again() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    run(&config).unwrap();
    let good = contents(&config.output);
    let path = config.output.join(Manifest::FILE_NAME);
    let text = fs::read_to_string(&path).unwrap();
    let other = text.replacen("\"format_version\": 1", "\"format_version\": 9", 1);
    assert_ne!(other, text);
    fs::write(&path, other).unwrap();
    let error = PreparedData::open(&config.output).unwrap_err().to_string();
    assert!(error.contains("format version 9"), "{error}");
    run(&config).unwrap();
    assert_eq!(contents(&config.output), good);
}

#[test]
fn outputs_that_cannot_be_written_are_named() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    let file = root.path().join("occupied");
    fs::write(&file, "mine").unwrap();
    for output in [file.clone(), file.join("below")] {
        config.output = output;
        let error = run(&config).unwrap_err().to_string();
        assert!(error.contains("cannot create"), "{error}");
        assert!(error.contains("occupied"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[cfg(unix)]
#[test]
fn files_and_folders_without_permission_are_named() {
    use std::os::unix::fs::PermissionsExt;

    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let set = |path: &PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&config.inputs[0], 0o000);
    // Root may read everything; elsewhere the file is refused.
    let may_read_everything = fs::File::open(&config.inputs[0]).is_ok();
    if !may_read_everything {
        let error = run(&config).unwrap_err().to_string();
        assert!(
            error.contains("cannot read") && error.contains("text.txt"),
            "{error}"
        );
    }
    set(&config.inputs[0], 0o600);
    fs::create_dir(&config.output).unwrap();
    set(&config.output, 0o500);
    if !may_read_everything {
        let error = run(&config).unwrap_err().to_string();
        assert!(
            error.contains("cannot create") && error.contains("prepared"),
            "{error}"
        );
    }
    set(&config.output, 0o700);
    assert!(run(&config).is_ok());
}

/// A file that can be opened, and whose first byte cannot be read.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_fails_while_it_is_read_is_named() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    for name in ["broken.txt", "broken.jsonl.gz", "broken.txt.zst"] {
        let path = root.path().join(name);
        std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
        config.inputs = vec![path];
        let error = run(&config).unwrap_err().to_string();
        assert!(error.starts_with("cannot read"), "{error}");
        assert!(error.contains(name), "{error}");
        assert!(!config.output.exists());
    }
}
