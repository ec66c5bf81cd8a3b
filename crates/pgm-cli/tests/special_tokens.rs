//! Tokenizers whose special tokens have other names than GPT-2's and BERT's, as the run's and as the judge's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Map, Value, json};

fn pgm(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgm"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("pgm starts")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn added(id: usize, content: &str, is_special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": is_special})
}

fn tokenizer(vocab: Vec<String>, added: &[Value], more: &Value) -> Value {
    let ids = vocab.into_iter().zip(0..);
    let vocab: Map<_, _> = ids.map(|(token, id)| (token, json!(id))).collect();
    let mut whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false, "ignore_merges": true,
            "vocab": vocab, "merges": []}
    });
    for (pointer, value) in more.as_object().expect("an object") {
        *whole.pointer_mut(pointer).expect("a place") = value.clone();
    }
    whole
}

/// In Gemma's form: `<bos>` and `<eos>` are special, tags of HTML are tokens, and bytes stand for what has none.
fn gemma_like() -> Value {
    let names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<s>", "</s>"];
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let letters = ('a'..='z').chain(['▁']).map(String::from);
    let vocab = names.map(str::to_owned).into_iter().chain(bytes);
    let added: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(id, name)| added(id, name, id < 4))
        .collect();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let more = json!({
        "/normalizer": replace(" ", "▁"),
        "/decoder": {"type": "Sequence", "decoders": [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "/model/byte_fallback": true,
        "/model/unk_token": "<unk>",
    });
    tokenizer(vocab.chain(letters).collect(), &added, &more)
}

/// In Llama 3's form: 256 bytes, special tokens behind them, and a template with BOS alone.
fn llama3_like() -> Value {
    let mut next = 256;
    let bytes = (0_u32..256).map(|byte| {
        let is_itself = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if is_itself { byte } else { next };
        next += u32::from(!is_itself);
        char::from_u32(code).expect("a character").to_string()
    });
    let begin = "<|begin_of_text|>";
    let names = [begin, "<|end_of_text|>", "<|eot_id|>"];
    let added: Vec<Value> = (256..)
        .zip(names)
        .map(|(id, name)| added(id, name, true))
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let more = json!({
        "/pre_tokenizer": byte_level,
        "/decoder": byte_level,
        "/post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": begin, "type_id": 0}}, text("A")],
            "pair": [text("A"), text("B")],
            "special_tokens": {begin: {"id": begin, "ids": [256], "tokens": [begin]}}},
    });
    tokenizer(bytes.collect(), &added, &more)
}

fn write(path: &Path, content: &str) {
    std::fs::write(path, content).expect("a file");
}

/// A folder with a text.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "the whale <s>sailed</s> by, said the captain; and so it did.\n".repeat(60);
    write(&folder.path().join("text.txt"), &text);
    folder
}

/// Trains for two steps.
fn train(folder: &Path, run: &str, more: &[&str]) -> Output {
    let settings = [
        "data.inputs=[\"text.txt\"]",
        "data.seq_len=16",
        "model.d_model=16",
        "model.n_heads=2",
        "model.n_encoder_blocks=1",
        "model.n_decoder_blocks=1",
        "training.n_steps=2",
        "training.batch_size=2",
        "training.micro_batch_size=2",
        "evaluation.n_sequences=2",
        "evaluation.batch_size=2",
    ];
    let settings = settings.iter().chain(more).flat_map(|set| ["--set", set]);
    let args: Vec<&str> = ["train", "--output", run]
        .into_iter()
        .chain(settings)
        .collect();
    pgm(folder, &args)
}

/// The special tokens that `pgm info` shows, without the other facts.
fn shown(folder: &Path, subject: &str) -> BTreeMap<String, String> {
    let info = stdout(&pgm(folder, &["info", subject, "--json"]));
    let info: Value = serde_json::from_str(&info).expect("JSON");
    let facts = info["subject"].as_object().expect("facts").iter();
    facts
        .filter(|(name, _)| ["BOS", "EOS", "MASK", "PAD"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect()
}

fn wanted<const N: usize>(tokens: [(&str, &str); N]) -> BTreeMap<String, String> {
    let tokens = tokens.map(|(name, value)| (name.to_owned(), value.to_owned()));
    tokens.into_iter().collect()
}

/// The first token of a sample, and its text.
fn sample(folder: &Path, run: &str) -> (u64, String) {
    let args = ["sample", "--run", run, "--n", "1", "--steps", "4", "--json"];
    let line = stdout(&pgm(folder, &args));
    let sample: Value = serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
    let text = sample["text"].as_str().expect("a text").to_owned();
    (sample["tokens"][0].as_u64().expect("an id"), text)
}

#[test]
fn runs_begin_and_end_with_the_special_tokens_of_their_tokenizer() {
    let folder = folder();
    let root = folder.path();
    write(&root.join("gemma.json"), &gemma_like().to_string());
    write(&root.join("llama3.json"), &llama3_like().to_string());
    for (name, tokens, first) in [
        (
            "gemma",
            wanted([
                ("BOS", "2 `<bos>`, from its name"),
                ("EOS", "1 `<eos>`, from its name"),
                ("PAD", "0 `<pad>`, from its name"),
                // Its `<mask>` is an ordinary token: 7 names, 256 bytes and 27 letters.
                ("MASK", "290, behind the tokenizer's last"),
            ]),
            2,
        ),
        (
            "llama3",
            wanted([
                (
                    "BOS",
                    "256 `<|begin_of_text|>`, from the tokenizer's post-processor",
                ),
                ("EOS", "257 `<|end_of_text|>`, from its name"),
                ("MASK", "259, behind the tokenizer's last"),
            ]),
            256,
        ),
    ] {
        let tokenizer = format!("data.tokenizer={name}.json");
        stdout(&train(root, name, &[&tokenizer]));
        assert_eq!(shown(root, name), tokens, "{name}");
        assert_eq!(sample(root, name).0, first, "{name}");
    }
}

#[test]
fn a_run_keeps_what_was_found_beside_its_tokenizer() {
    let folder = folder();
    let root = folder.path();
    std::fs::create_dir(root.join("model")).expect("a folder");
    write(
        &root.join("model/tokenizer.json"),
        &llama3_like().to_string(),
    );
    let config = root.join("model/generation_config.json");
    write(
        &config,
        "{\"bos_token_id\": 256, \"eos_token_id\": [258, 257]}",
    );
    stdout(&train(
        root,
        "run",
        &["data.tokenizer=model/tokenizer.json"],
    ));
    let tokens = wanted([
        (
            "BOS",
            "256 `<|begin_of_text|>`, from `generation_config.json`",
        ),
        ("EOS", "258 `<|eot_id|>`, from `generation_config.json`"),
        ("MASK", "259, behind the tokenizer's last"),
    ]);
    assert_eq!(shown(root, "run"), tokens);
    // The run stays what it is.
    std::fs::remove_dir_all(root.join("model")).expect("a folder");
    assert_eq!(shown(root, "run"), tokens);
    assert_eq!(sample(root, "run").0, 256);
}

#[test]
fn a_setting_names_what_no_file_tells() {
    let folder = folder();
    let root = folder.path();
    let mut bare = llama3_like();
    bare["added_tokens"] = json!([added(256, "<end>", true)]);
    bare["post_processor"] = Value::Null;
    write(&root.join("bare.json"), &bare.to_string());
    let error = stderr(&train(root, "run", &["data.tokenizer=bare.json"]));
    assert!(error.contains("no token that is known as EOS"), "{error}");
    assert!(error.contains("`<end>`"), "{error}");
    let chosen = [
        "data.tokenizer=bare.json",
        "data.special_tokens={eos=\"<end>\"}",
    ];
    stdout(&train(root, "chosen", &chosen));
    let tokens = wanted([
        ("BOS", "256 `<end>`, from EOS: there is no BOS"),
        ("EOS", "256 `<end>`, from the setting `special_tokens`"),
        ("MASK", "257, behind the tokenizer's last"),
    ]);
    assert_eq!(shown(root, "chosen"), tokens);
    // Another choice is another run.
    let other = ["data.tokenizer=bare.json", "data.special_tokens={eos=10}"];
    let error = stderr(&train(root, "chosen", &other));
    assert!(error.contains("data.special_tokens"), "{error}");
}

#[test]
fn judges_begin_and_end_with_the_special_tokens_of_their_tokenizer() {
    let folder = folder();
    let root = folder.path();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pgm-judges/tests/golden/llama");
    let judge = root.join("judge");
    std::fs::create_dir(&judge).expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(file), judge.join(file)).expect("a file of the judge");
    }
    write(
        &root.join("texts.txt"),
        "the whale\na ship <s>and</s> a captain\n",
    );
    let perplexity = |more: &[&str]| {
        let args = [
            "eval-genppl",
            "--judge",
            "judge",
            "--samples",
            "texts.txt",
            "--max-length",
            "40",
            "--json",
            "report.json",
        ];
        stdout(&pgm(root, &[&args[..], more].concat()));
        let report = std::fs::read_to_string(root.join("report.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let value = &report["evaluations"][0]["report"]["generative_perplexity"]["value"];
        value
            .as_f64()
            .unwrap_or_else(|| panic!("no perplexity in {report}"))
    };
    // Its `config.json` has the 1 and 2 of every Llama.
    for (tokenizer, ids, other) in [
        (gemma_like(), "bos=2,eos=1", "bos=<s>,eos=</s>"),
        (llama3_like(), "bos=256,eos=257", "bos=1,eos=2"),
    ] {
        write(&judge.join("tokenizer.json"), &tokenizer.to_string());
        let (bos, eos) = ids.split_once(',').expect("two");
        let shown = shown(root, "judge");
        for (name, id) in [("BOS", bos), ("EOS", eos)] {
            let id = id.split_once('=').expect("an id").1;
            assert!(shown[name].starts_with(&format!("{id} ")), "{shown:?}");
        }
        let found = perplexity(&[]);
        assert!(found > 1.0);
        assert_eq!(found, perplexity(&["--judge-special-tokens", ids]));
        assert_ne!(found, perplexity(&["--judge-special-tokens", other]));
    }
    let error = stderr(&pgm(
        root,
        &[
            "eval-genppl",
            "--judge",
            "judge",
            "--samples",
            "texts.txt",
            "--judge-special-tokens",
            "bos=<none>",
        ],
    ));
    assert!(error.contains("has no token `<none>`"), "{error}");
}

#[test]
fn a_tokenizer_that_loses_text_is_refused_and_the_way_out_is_named() {
    let folder = folder();
    let root = folder.path();
    let mut lossy = llama3_like();
    // Without the byte of the full stop.
    let vocab = lossy["model"]["vocab"]
        .as_object_mut()
        .expect("a vocabulary");
    vocab.remove(".");
    write(&root.join("lossy.json"), &lossy.to_string());
    let error = stderr(&train(root, "run", &["data.tokenizer=lossy.json"]));
    // One a line.
    assert!(error.contains("60 characters dropped (`.`)"), "{error}");
    assert!(
        error.contains("`data.allow_lossy_tokenizer = true`"),
        "{error}"
    );
    let allowed = [
        "data.tokenizer=lossy.json",
        "data.allow_lossy_tokenizer=true",
    ];
    let output = train(root, "run", &allowed);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("60 characters dropped (`.`)"),
        "{}",
        stderr(&output)
    );
}
