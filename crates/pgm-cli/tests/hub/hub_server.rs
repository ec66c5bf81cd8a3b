use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use sha2::{Digest as _, Sha256};

/// The commit that every branch of the server is at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The token that opens `gated/judge`.
pub const TOKEN: &str = "hf_tests";

/// Smallest file that lies on another server than the hub's, in bytes.
const LARGE: usize = 20_000;

/// A server on this machine that answers as the Hugging Face hub does.
pub struct HubServer {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By `OWNER/NAME/FILE`.
    files: HashMap<String, Vec<u8>>,
    /// Method, path and range of each request.
    requests: Vec<String>,
    /// The next transfers of large files end after so many bytes.
    breaks: Vec<usize>,
}

impl HubServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, own) = (state.clone(), endpoint.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client may hang up in the middle of an answer.
                let _ = answer(&stream, &own, &shared);
            }
        });
        Self { endpoint, state }
    }

    /// Puts a file into a repository, by `OWNER/NAME/FILE`.
    pub fn put(&self, place: &str, bytes: impl Into<Vec<u8>>) {
        let mut state = lock(&self.state);
        state.files.insert(place.to_owned(), bytes.into());
    }

    /// Ends the next transfers of large files after so many bytes each.
    pub fn break_after(&self, n_bytes: &[usize]) {
        lock(&self.state).breaks = n_bytes.to_vec();
    }

    /// The requests since the last call, each `METHOD PATH [RANGE]`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).requests)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("the server did not panic")
}

fn answer(stream: &TcpStream, endpoint: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let range = headers.get("range").cloned();
    let mut state = lock(state);
    let logged = [Some(method), Some(path), range.as_deref()];
    let logged: Vec<&str> = logged.into_iter().flatten().collect();
    state.requests.push(logged.join(" "));

    let (status, mut answer_headers, body) = match path.strip_prefix("/cdn/") {
        Some(hash) => {
            assert!(
                !headers.contains_key("authorization"),
                "a token for another server"
            );
            let file = state.files.values().find(|bytes| sha256(bytes) == hash);
            transfer(
                file.expect("a link of this server").clone(),
                range.as_deref(),
            )
        }
        None => resolve(path, endpoint, &headers, &state),
    };
    let is_transfer = method == "GET" && path.starts_with("/cdn/");
    let n_sent = if is_transfer && !state.breaks.is_empty() {
        state.breaks.remove(0).min(body.len())
    } else {
        body.len()
    };
    drop(state);
    answer_headers.push(("Content-Length".into(), body.len().to_string()));
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in answer_headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    match method {
        "HEAD" => Ok(()),
        _ => stream.write_all(&body[..n_sent]),
    }
}

type Reply = (&'static str, Vec<(String, String)>, Vec<u8>);

fn transfer(mut bytes: Vec<u8>, range: Option<&str>) -> Reply {
    let start = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    let Some(start) = start else {
        return ("200 OK", Vec::new(), bytes);
    };
    let total = bytes.len();
    let range = format!("bytes {start}-{}/{total}", total - 1);
    let rest = bytes.split_off(start);
    (
        "206 Partial Content",
        vec![("Content-Range".into(), range)],
        rest,
    )
}

/// What the hub says to `/OWNER/NAME/resolve/REVISION/FILE`.
fn resolve(path: &str, endpoint: &str, headers: &HashMap<String, String>, state: &State) -> Reply {
    let refuse = |status, code: &str, message: &str| {
        let headers = [("X-Error-Code", code), ("X-Error-Message", message)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (status, headers.to_vec(), b"no file".to_vec())
    };
    let parts: Vec<&str> = path.splitn(6, '/').collect();
    let ["", owner, name, "resolve", revision, file] = parts[..] else {
        return refuse("404 Not Found", "", "no such page");
    };
    if owner == "renamed" {
        let location = path.replacen("renamed", "tiny", 1);
        return (
            "307 Temporary Redirect",
            vec![("Location".into(), location)],
            Vec::new(),
        );
    }
    let token = headers.get("authorization").map(String::as_str);
    if owner == "gated" && token != Some(&format!("Bearer {TOKEN}")) {
        return refuse(
            "401 Unauthorized",
            "GatedRepo",
            "Access to this model is restricted",
        );
    }
    let repository = format!("{owner}/{name}/");
    if !state
        .files
        .keys()
        .any(|place| place.starts_with(&repository))
    {
        return refuse(
            "401 Unauthorized",
            "RepoNotFound",
            "Invalid username or password.",
        );
    }
    if !["main", "v1", COMMIT].contains(&revision) {
        return refuse("404 Not Found", "RevisionNotFound", "Invalid rev id");
    }
    let Some(bytes) = state.files.get(&format!("{repository}{file}")) else {
        return refuse("404 Not Found", "EntryNotFound", "Entry not found");
    };
    let hash = sha256(bytes);
    let header = |name: &str, value: String| (name.to_owned(), value);
    let commit = header("X-Repo-Commit", COMMIT.to_owned());
    if bytes.len() < LARGE {
        let etag = header("ETag", format!("\"{}\"", &hash[..40]));
        return ("200 OK", vec![commit, etag], bytes.clone());
    }
    let large = vec![
        commit,
        header("X-Linked-ETag", format!("\"{hash}\"")),
        header("X-Linked-Size", bytes.len().to_string()),
        // Another host than the hub's, though of the same machine.
        header(
            "Location",
            format!("{}/cdn/{hash}", endpoint.replace("127.0.0.1", "localhost")),
        ),
    ];
    ("302 Found", large, Vec::new())
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
