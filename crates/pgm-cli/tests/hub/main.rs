//! Models of the Hugging Face hub, from a server on this machine that answers as the hub does.

mod hub_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hub_server::{COMMIT, HubServer, TOKEN, sha256};

fn golden(name: &str) -> PathBuf {
    let golden = match name.strip_prefix("judges/") {
        Some(judge) => Path::new("../pgm-judges/tests/golden").join(judge),
        None => Path::new("../pgm-weights/tests/golden").join(name),
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(golden)
}

fn golden_bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).expect("a golden file")
}

/// A tokenizer of as many tokens as the golden judges have.
fn tokenizer() -> pgm_data::Tokenizer {
    let text = include_str!("main.rs").to_owned();
    pgm_data::Tokenizer::train_bpe([text].into_iter(), 300).expect("a tokenizer")
}

/// A folder to work in, with the judge as local files, its texts, and downloads in `hf`.
struct Place {
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Place {
    fn new(server: &HubServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let judge = folder.path().join("judge");
        std::fs::create_dir(&judge).expect("a folder");
        for file in ["config.json", "model.safetensors"] {
            let bytes = golden_bytes(&format!("judges/llama/{file}"));
            std::fs::write(judge.join(file), &bytes).expect("a file");
            server.put(&format!("tiny/llama/{file}"), bytes);
        }
        let path = judge.join("tokenizer.json");
        tokenizer().save(&path).expect("a file");
        let bytes = std::fs::read(path).expect("the tokenizer");
        server.put("tiny/llama/tokenizer.json", bytes);
        let texts: String = (1..6)
            .map(|i| format!("{}text\n", "one ".repeat(i)))
            .collect();
        std::fs::write(folder.path().join("texts.txt"), texts).expect("a file");
        Self {
            folder,
            endpoint: server.endpoint.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgm"));
        command.args(args).current_dir(self.folder.path());
        for name in [
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "SSL_CERT_FILE",
        ] {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.env("HF_ENDPOINT", &self.endpoint);
        command.env("HF_HOME", self.path("hf"));
        command
    }

    fn judge_command(&self, judge: &str) -> Command {
        self.command(&[
            "eval-genppl",
            "--judge",
            judge,
            "--samples",
            "texts.txt",
            "--max-length",
            "40",
        ])
    }

    /// The table of an evaluation by a judge, and the messages with it.
    fn judged(&self, judge: &str) -> (String, String) {
        judged(self.judge_command(judge))
    }

    /// Why a judge is refused.
    fn refused(&self, judge: &str) -> String {
        refused(self.judge_command(judge))
    }

    /// Where a repository's files are kept.
    fn kept(&self, name: &str) -> PathBuf {
        self.path("hf/hub").join(name)
    }

    fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.kept("models--tiny--llama/blobs")).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

fn judged(mut command: Command) -> (String, String) {
    let output = command.output().expect("pgm starts");
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    (text(&output.stdout), stderr)
}

fn refused(mut command: Command) -> String {
    let output: Output = command.output().expect("pgm starts");
    let stderr = text(&output.stderr);
    assert!(!output.status.success(), "{stderr}");
    stderr
}

/// The row of a table, without the seconds that it took.
fn row(table: &str) -> String {
    let row = table.lines().nth(2).expect("a row").trim_end_matches(" |");
    row.rsplit_once(" |").expect("columns").0.to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The requests that ask for the bytes of a file.
fn transfers(requests: &[String]) -> Vec<&str> {
    let is_transfer = |request: &&str| request.starts_with("GET ") && request.contains("/cdn/");
    requests
        .iter()
        .map(String::as_str)
        .filter(is_transfer)
        .collect()
}

#[test]
fn a_judge_of_the_hub_is_downloaded_once() {
    let server = HubServer::start();
    let place = Place::new(&server);
    let (local, _) = place.judged("judge");
    assert_eq!(server.requests(), Vec::<String>::new());

    let (table, messages) = place.judged("hub:tiny/llama");
    assert_eq!(row(&table), row(&local));
    let name = format!("Judge tiny/llama@{COMMIT} in float32");
    assert!(table.contains(&name), "{table}");
    assert!(
        messages.contains("download 1/1 MB of model.safetensors"),
        "{messages}"
    );
    let requests = server.requests();
    assert_eq!(transfers(&requests).len(), 1, "{requests:?}");
    let folder = place.kept("models--tiny--llama/snapshots").join(COMMIT);
    let whole = std::fs::read(folder.join("model.safetensors")).expect("a link");
    assert_eq!(whole, golden_bytes("judges/llama/model.safetensors"));

    // Only where the branch is has to be asked again, and not even that of a commit.
    assert_eq!(place.judged("hub:tiny/llama").0, table);
    assert_eq!(
        server.requests(),
        ["HEAD /tiny/llama/resolve/main/config.json"]
    );
    assert_eq!(place.judged(&format!("hub:tiny/llama@{COMMIT}")).0, table);
    assert_eq!(server.requests(), Vec::<String>::new());
    // A tag has the same files, and the repository's older name leads to them.
    assert_eq!(place.judged("hub:tiny/llama@v1").0, table);
    assert_eq!(
        server.requests(),
        ["HEAD /tiny/llama/resolve/v1/config.json"]
    );
    assert_eq!(row(&place.judged("hub:renamed/llama").0), row(&table));
    assert!(
        server
            .requests()
            .contains(&"HEAD /tiny/llama/resolve/main/config.json".to_owned())
    );

    // Without a network, what is there is used.
    let mut command = place.judge_command("hub:tiny/llama");
    command.env("HF_ENDPOINT", "http://127.0.0.1:1");
    let (unreached, messages) = judged(command);
    assert_eq!(unreached, table);
    assert!(
        messages.contains("what was downloaded before is used"),
        "{messages}"
    );
    let mut command = place.judge_command("hub:tiny/llama");
    assert_eq!(judged_offline(&mut command), table);
    assert_eq!(server.requests(), Vec::<String>::new());

    // A path of that name goes before the hub.
    std::fs::create_dir_all(place.path("hub:tiny")).unwrap();
    std::fs::rename(place.path("judge"), place.path("hub:tiny/llama")).unwrap();
    let (table, _) = place.judged("hub:tiny/llama");
    assert!(table.contains("Judge llama in float32"), "{table}");
    assert_eq!(server.requests(), Vec::<String>::new());
}

fn judged_offline(command: &mut Command) -> String {
    let output = command
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("pgm starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    let server = HubServer::start();
    let place = Place::new(&server);
    let whole = golden_bytes("judges/llama/model.safetensors");
    let hash = sha256(&whole);

    // Broken twice, and then by a connection that brings nothing: no file is taken for whole.
    server.break_after(&[60_000, 20_000, 0]);
    let error = place.refused("hub:tiny/llama");
    let wanted = "the download of `model.safetensors` of `tiny/llama` broke off at 80000 bytes";
    assert!(error.contains(wanted), "{error}");
    let requests = server.requests();
    let link = format!("GET /cdn/{hash}");
    assert_eq!(
        transfers(&requests),
        [
            link.clone(),
            format!("{link} bytes=60000-"),
            format!("{link} bytes=80000-")
        ]
    );
    assert!(!place.blobs().contains(&hash));
    assert!(place.blobs().contains(&format!("{hash}.incomplete")));
    place.judged("hub:tiny/llama");
    let requests = server.requests();
    assert_eq!(transfers(&requests), [format!("{link} bytes=80000-")]);
    let kept = place.kept("models--tiny--llama/blobs").join(&hash);
    assert_eq!(std::fs::read(&kept).unwrap(), whole);

    // What is there of the file is not its beginning.
    std::fs::remove_file(&kept).unwrap();
    let partial = kept.with_extension("incomplete");
    std::fs::write(&partial, [7; 1000]).unwrap();
    let error = place.refused("hub:tiny/llama");
    let wanted = format!(
        "`model.safetensors` of `tiny/llama` was damaged on the way: its SHA-256 is not {hash}"
    );
    assert!(error.contains(&wanted), "{error}");
    assert!(!kept.exists());
    server.requests();
    place.judged("hub:tiny/llama");
    assert_eq!(transfers(&server.requests()), [link]);
    // More than the file has.
    std::fs::remove_file(&kept).unwrap();
    std::fs::write(&partial, vec![7; whole.len() + 1]).unwrap();
    place.judged("hub:tiny/llama");
}

#[test]
fn what_the_hub_does_not_give_is_named() {
    let server = HubServer::start();
    let place = Place::new(&server);
    let assert_refused = |judge: &str, wanted: &[&str]| {
        let error = place.refused(judge);
        for part in wanted {
            assert!(error.contains(part), "{judge}: {error}");
        }
    };
    let hint = "there is no judge `gpt2-large` on this machine; a judge of the Hugging Face hub is named with `hub:`";
    assert_refused("gpt2-large", &[hint]);
    assert_refused(
        "tiny/llama",
        &[
            "no judge `tiny/llama` on this machine",
            "as in `hub:tiny/llama`",
        ],
    );
    assert_eq!(server.requests(), Vec::<String>::new());
    assert_refused(
        "hub:gpt2",
        &["`hub:gpt2` names nothing on the hub; wanted `hub:OWNER/NAME`"],
    );
    assert_refused("hub:tiny/llama/config.json", &["or a `.gguf` file in one"]);
    let address = format!(
        "{}/tiny/nothing/resolve/main/config.json answers 401",
        server.endpoint
    );
    assert_refused(
        "hub:tiny/nothing",
        &[
            "`tiny/nothing` does not exist or may not be read",
            &address,
            "HF_TOKEN",
        ],
    );
    assert_refused(
        "hub:tiny/llama@v2",
        &["`tiny/llama` has no revision `v2`", "answers 404"],
    );
    assert_refused(
        "hub:tiny/llama/q4.gguf",
        &["`tiny/llama` has no file `q4.gguf`", "answers 404"],
    );
    server.put(
        "tiny/bare/config.json",
        golden_bytes("judges/llama/config.json"),
    );
    assert_refused(
        "hub:tiny/bare",
        &["`tiny/bare` has neither `model.safetensors` nor `model.safetensors.index.json`"],
    );

    for file in ["config.json", "model.safetensors"] {
        server.put(
            &format!("gated/llama/{file}"),
            golden_bytes(&format!("judges/llama/{file}")),
        );
    }
    let tokenizer = std::fs::read(place.path("judge/tokenizer.json")).unwrap();
    server.put("gated/llama/tokenizer.json", tokenizer);
    let gated = "`gated/llama` does not exist or may not be read";
    let said = "answers 401 Unauthorized: Access to this model is restricted";
    assert_refused(
        "hub:gated/llama",
        &[gated, said, "set HF_TOKEN to a token of yours"],
    );
    let with_token = |token: &str| {
        let mut command = place.judge_command("hub:gated/llama");
        command.env("HF_TOKEN", token);
        command
    };
    let error = refused(with_token("hf_other"));
    assert!(
        error.contains(gated) && error.contains("the token that was sent"),
        "{error}"
    );
    assert!(!error.contains("hf_other"), "{error}");
    judged(with_token(TOKEN));

    let mut command = place.judge_command("hub:tiny/llama");
    command.env("HF_ENDPOINT", "http://127.0.0.1:1");
    let started = Instant::now();
    let error = refused(command);
    assert!(started.elapsed() < Duration::from_secs(20));
    let wanted = "cannot reach the Hugging Face hub for `config.json` of `tiny/llama`: \
                  http://127.0.0.1:1/tiny/llama/resolve/main/config.json: ";
    assert!(error.contains(wanted), "{error}");
    assert!(
        error.contains("put the files into a folder by hand and name the folder"),
        "{error}"
    );
    let mut command = place.judge_command("hub:tiny/llama");
    command.env("HF_HUB_OFFLINE", "1");
    assert!(refused(command).contains("HF_HUB_OFFLINE is set"));
}

#[test]
fn weights_in_several_files_and_gguf_files_are_downloaded() {
    let server = HubServer::start();
    let place = Place::new(&server);
    // The tensors of the judge in two files.
    let bytes = golden_bytes("judges/llama/model.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let names = file.names();
    let shards = ["model-1.safetensors", "model-2.safetensors"];
    let mut weight_map = serde_json::Map::new();
    for (shard, names) in shards.iter().zip(names.chunks(names.len().div_ceil(2))) {
        let tensors = names
            .iter()
            .map(|&name| (name, file.tensor(name).expect(name)));
        let bytes = safetensors::serialize(tensors, None).expect("tensors");
        server.put(&format!("tiny/cut/{shard}"), bytes);
        weight_map.extend(names.iter().map(|&name| (name.to_owned(), (*shard).into())));
    }
    let index = serde_json::json!({ "weight_map": weight_map }).to_string();
    server.put("tiny/cut/model.safetensors.index.json", index);
    server.put(
        "tiny/cut/config.json",
        golden_bytes("judges/llama/config.json"),
    );
    let tokenizer = std::fs::read(place.path("judge/tokenizer.json")).unwrap();
    server.put("tiny/cut/tokenizer.json", tokenizer);
    let (whole, _) = place.judged("judge");
    assert_eq!(row(&place.judged("hub:tiny/cut").0), row(&whole));
    server.requests();
    // That there is no `model.safetensors` is known.
    place.judged("hub:tiny/cut");
    assert_eq!(
        server.requests(),
        ["HEAD /tiny/cut/resolve/main/config.json"]
    );

    // The golden file has no tokenizer, which is found out once it is here.
    server.put(
        "tiny/quantised/deep/model.gguf",
        golden_bytes("judges/llama_gguf/model.gguf"),
    );
    let error = place.refused("hub:tiny/quantised/deep/model.gguf@v1");
    assert!(error.contains("no `tokenizer.ggml.model`"), "{error}");
    let kept = format!("models--tiny--quantised/snapshots/{COMMIT}/deep/model.gguf");
    let kept = std::fs::read(place.kept(&kept)).unwrap();
    assert_eq!(kept, golden_bytes("judges/llama_gguf/model.gguf"));
}

#[test]
fn published_weights_are_converted_and_scored_by_name() {
    let server = HubServer::start();
    let place = Place::new(&server);
    server.put("tiny/pgm/small.ckpt", golden_bytes("checkpoint_pgm.ckpt"));
    let convert = [
        "convert",
        "hub:tiny/pgm/small.ckpt",
        "--n-heads",
        "2",
        "--to",
        "published",
        "--output",
        "out.safetensors",
    ];
    let (text, _) = judged(place.command(&convert));
    assert!(
        text.contains("wrote out.safetensors") && text.contains("averaged weights"),
        "{text}"
    );
    let (text, _) = judged(place.command(&["info", "hub:tiny/pgm/small.ckpt", "--n-heads", "2"]));
    assert!(text.contains("partition transformer"), "{text}");

    // A tokenizer beside the weights comes with them: two special tokens and the printable characters, and MASK.
    let characters = ('!'..='~').chain(['Ġ', 'Ċ', 'ĉ', 'č']).map(String::from);
    let tokens = ["<s>", "</s>"]
        .map(str::to_owned)
        .into_iter()
        .chain(characters);
    let tables = pgm_data::BpeTables {
        tokens: tokens.collect(),
        merges: Vec::new(),
        special: vec![0, 1],
        words: pgm_data::WordSplit::Gpt2,
    };
    let small = pgm_data::Tokenizer::from_bpe_tables("small", &tables).expect("a tokenizer");
    small.save(place.path("small.json")).expect("a file");
    let bytes = std::fs::read(place.path("small.json")).unwrap();
    server.put("tiny/pgm/of-101/tokenizer.json", bytes);
    server.put(
        "tiny/pgm/of-101/pgm.safetensors",
        golden_bytes("weights_pgm_linear_n025.safetensors"),
    );
    let score = [
        "eval-ppl",
        "--weights",
        "hub:tiny/pgm/of-101/pgm.safetensors",
        "--n-heads",
        "4",
        "--seq-len",
        "16",
        "--text",
        "texts.txt",
    ];
    let (text, _) = judged(place.command(&score));
    let weights = format!("the only ones of `tiny/pgm/of-101/pgm.safetensors@{COMMIT}`");
    assert!(text.contains(&weights), "{text}");
    // Results are not put among the downloads.
    assert!(place.path("runs/hub/tiny/pgm/perplexities").is_dir());

    let error = refused(place.command(&["sample", "--weights", "hub:tiny/pgm"]));
    assert!(error.contains("`tiny/pgm` names no file"), "{error}");
    let error = refused(place.command(&["sample", "--weights", "tiny/pgm/small.ckpt"]));
    assert!(
        error.contains("`hub:tiny/pgm/small.ckpt` downloads it"),
        "{error}"
    );
}
