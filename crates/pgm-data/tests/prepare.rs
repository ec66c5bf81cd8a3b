//! From text files to prepared folders, through the public API alone.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pgm_data::{
    BadLines, DataError, DocumentSplit, Manifest, PrepareConfig, PrepareProgress, PreparedData,
    TokenShard, Tokenizer, TokenizerSpec, ValidationSplit, prepare,
};

/// A text of 40 paragraphs that differ from each other.
fn novel(word: &str) -> String {
    (0..40)
        .map(|n| format!("Paragraph {n} of the tale of the {word}.\nThe {word} sleeps.\n\n"))
        .collect()
}

fn config(root: &Path) -> PrepareConfig {
    let inputs = root.join("text");
    fs::create_dir_all(&inputs).unwrap();
    for word in ["whale", "squid", "albatross"] {
        fs::write(inputs.join(format!("{word}.txt")), novel(word)).unwrap();
    }
    PrepareConfig {
        inputs: vec![inputs],
        tokenizer: TokenizerSpec::Bpe { vocab_size: 300 },
        validation: ValidationSplit::Fraction(0.1),
        split: DocumentSplit::File,
        text_field: "text".to_owned(),
        bad_lines: BadLines::Refuse,
        special_tokens: Default::default(),
        allow_lossy_tokenizer: false,
        output: root.join("prepared"),
    }
}

fn run(config: &PrepareConfig) -> Result<(PreparedData, Vec<PrepareProgress>), DataError> {
    let mut steps = Vec::new();
    let data = prepare(config, &mut |step| steps.push(step))?;
    Ok((data, steps))
}

/// The names in a folder, but for the lock of a preparation.
fn visible_files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".prepare.lock")
        .collect();
    names.sort();
    names
}

fn text(data: &PreparedData, shard: &TokenShard) -> Vec<String> {
    (0..shard.n_documents())
        .map(|index| data.tokenizer().decode(&shard.document(index)).unwrap())
        .collect()
}

#[test]
fn every_document_gives_its_last_part_to_validation() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let (data, steps) = run(&config).unwrap();
    for (index, word) in ["albatross", "squid", "whale"].into_iter().enumerate() {
        let whole = novel(word);
        let start = whole.find("Paragraph 36").unwrap();
        assert_eq!(text(&data, data.train())[index], whole[..start].trim_end());
        assert_eq!(text(&data, data.validation())[index], whole[start..]);
    }
    assert_eq!(data.tokenizer().name(), "bpe-300");
    let manifest = data.manifest();
    assert_eq!(manifest.train.n_documents, 3);
    assert_eq!(manifest.train.n_tokens, data.train().n_tokens() as u64);
    assert_eq!(manifest.sources[2].n_bytes, novel("whale").len() as u64);
    assert_eq!(steps.len(), 3 + 1 + 1);
    let all: usize = ["albatross", "squid", "whale"]
        .map(|word| novel(word).len())
        .iter()
        .sum();
    let all = all as u64;
    assert!(matches!(
        steps[4],
        PrepareProgress::Tokenized { n_bytes, n_bytes_total, .. } if (n_bytes, n_bytes_total) == (all, all)
    ));
    assert_eq!(
        steps[3],
        PrepareProgress::TrainingTokenizer { vocab_size: 300 }
    );

    let opened = PreparedData::open(&config.output).unwrap();
    assert_eq!(opened.manifest(), manifest);
    assert_eq!(
        opened.tokenizer().fingerprint(),
        data.tokenizer().fingerprint()
    );
}

#[test]
fn the_tokenizer_sees_training_text_only() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.validation = ValidationSplit::Documents(1);
    let (data, _) = run(&config).unwrap();
    assert_eq!(
        text(&data, data.train()),
        [novel("albatross"), novel("squid")]
    );
    assert_eq!(text(&data, data.validation()), [novel("whale")]);
    let texts = [novel("albatross"), novel("squid")];
    let trained = Tokenizer::train_bpe(texts.into_iter(), 300).unwrap();
    assert_eq!(data.tokenizer().fingerprint(), trained.fingerprint());
}

#[test]
fn the_same_text_is_prepared_once_and_other_text_again() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    let (first, _) = run(&config).unwrap();
    let written = || {
        fs::metadata(config.output.join("train.tok"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let time = written();
    let (_, steps) = run(&config).unwrap();
    assert_eq!(steps.last(), Some(&PrepareProgress::Reused));
    assert_eq!(written(), time);

    // As many bytes, one letter changed.
    let whale = config.inputs[0].join("whale.txt");
    fs::write(&whale, novel("whale").replacen("tale", "tail", 1)).unwrap();
    let (changed, steps) = run(&config).unwrap();
    assert_ne!(steps.last(), Some(&PrepareProgress::Reused));
    assert_ne!(changed.manifest().content_key, first.manifest().content_key);

    config.validation = ValidationSplit::Fraction(0.2);
    assert_ne!(
        run(&config).unwrap().1.last(),
        Some(&PrepareProgress::Reused)
    );
}

#[test]
fn two_folders_made_from_the_same_text_are_equal() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    run(&config).unwrap();
    let first = config.output.clone();
    config.output = root.path().join("again");
    run(&config).unwrap();
    let names = visible_files(&first);
    assert_eq!(
        names,
        [
            "manifest.json",
            "tokenizer.json",
            "train.tok",
            "validation.tok"
        ]
    );
    for name in names {
        let bytes = |folder: &PathBuf| fs::read(folder.join(&name)).unwrap();
        assert_eq!(bytes(&first), bytes(&config.output), "{name}");
    }
}

#[test]
fn damaged_and_unfinished_folders_are_refused_and_made_again() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let (good, _) = run(&config).unwrap();
    let n_tokens = good.train().n_tokens();
    drop(good);

    let shard = config.output.join("train.tok");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[200] ^= 1;
    fs::remove_file(&shard).unwrap();
    fs::write(&shard, bytes).unwrap();
    let error = PreparedData::open(&config.output).unwrap_err();
    assert!(matches!(error, DataError::ShardChecksum { .. }));
    assert_eq!(run(&config).unwrap().0.train().n_tokens(), n_tokens);

    Tokenizer::gpt2()
        .save(config.output.join("tokenizer.json"))
        .unwrap();
    let error = PreparedData::open(&config.output).unwrap_err();
    assert!(matches!(error, DataError::TokenizerMismatch { .. }));

    fs::write(config.output.join("mine.txt"), "keep").unwrap();
    fs::remove_file(config.output.join(Manifest::FILE_NAME)).unwrap();
    let error = PreparedData::open(&config.output).unwrap_err();
    assert!(matches!(error, DataError::NotPrepared { .. }));
    run(&config).unwrap();
    assert!(config.output.join("mine.txt").exists());
}

#[test]
fn gpt2_and_tokenizer_files_give_the_same_tokens() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.tokenizer = TokenizerSpec::Gpt2;
    let (gpt2, _) = run(&config).unwrap();
    let file = root.path().join("gpt2.json");
    gpt2.tokenizer().save(&file).unwrap();
    config.tokenizer = TokenizerSpec::File(file.clone());
    config.output = root.path().join("from-file");
    let (from_file, _) = run(&config).unwrap();
    assert_eq!(from_file.train().document(1), gpt2.train().document(1));
    assert_eq!(from_file.tokenizer().name(), file.to_str().unwrap());
}

#[test]
fn splits_that_leave_a_side_empty_leave_no_folder_that_looks_finished() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.validation = ValidationSplit::Documents(3);
    assert!(matches!(
        run(&config),
        Err(DataError::InvalidValidationSplit { .. })
    ));
    config.validation = ValidationSplit::Fraction(0.1);
    fs::write(root.path().join("line.txt"), "one line has no place to cut").unwrap();
    config.inputs = vec![root.path().join("line.txt")];
    let error = run(&config).unwrap_err();
    assert!(error.to_string().contains("0 to validate with"), "{error}");
    assert!(visible_files(&config.output).is_empty());
    fs::write(root.path().join("line.txt"), " \n").unwrap();
    assert!(matches!(run(&config), Err(DataError::EmptyCorpus { .. })));
    fs::write(root.path().join("line.txt"), b"ab\xff").unwrap();
    assert!(matches!(
        run(&config),
        Err(DataError::InvalidUtf8 { byte_offset: 2, .. })
    ));
}

#[test]
fn as_many_validation_documents_as_there_are_is_refused_with_both_numbers() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    for n_kept in [3, 7] {
        config.validation = ValidationSplit::Documents(n_kept);
        let error = run(&config).unwrap_err().to_string();
        assert!(error.contains(&format!("documents = {n_kept}")), "{error}");
        assert!(error.contains("of 3 documents"), "{error}");
        assert!(!config.output.exists());
    }
    config.validation = ValidationSplit::Documents(2);
    let (data, _) = run(&config).unwrap();
    assert_eq!(text(&data, data.train()), [novel("albatross")]);
    assert_eq!(
        text(&data, data.validation()),
        [novel("squid"), novel("whale")]
    );
}

#[test]
fn configurations_refuse_misspelt_keys() {
    let toml =
        "inputs = ['a']\ntokenizer = 'bpe-512'\nvalidation = { fraction = 0.1 }\noutput = 'b'\n";
    let config: PrepareConfig = toml::from_str(toml).unwrap();
    assert_eq!(config.split, DocumentSplit::File);
    assert!(toml::from_str::<PrepareConfig>(&format!("{toml}splitt = 'file'\n")).is_err());
}
