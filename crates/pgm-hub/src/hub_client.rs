use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, ETAG, LOCATION, RANGE};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

use crate::cache::{Cache, is_commit};
use crate::download::TransferError;
use crate::{HubError, HubName};

/// Where the hub is.
pub const ENDPOINT: &str = "https://huggingface.co";

/// Until a server has to take a call.
const CONNECT: Duration = Duration::from_secs(10);

/// Until something has to come from a server.
const SILENCE: Duration = Duration::from_secs(60);

/// Renamed repositories lead to their new names.
const MAX_RENAMES: usize = 5;

/// Which hub is asked, how, and where its files are kept.
#[derive(Clone)]
pub struct HubSettings {
    /// Address of the hub or of a mirror, usually [`ENDPOINT`].
    pub endpoint: String,
    /// The folder that the hub's programs share; it need not exist.
    pub cache: PathBuf,
    /// Opens private and gated repositories.
    pub token: Option<String>,
    /// File with the certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// Use only what was downloaded before.
    pub is_offline: bool,
}

/// Called with the bytes of a file that are there so far; dropped when its download ends, whole or not.
pub type DownloadProgress = Box<dyn FnMut(u64)>;

/// Called with the name of a file and its size in bytes, if that is known, when its download starts.
type OnDownload = Box<dyn Fn(&str, Option<u64>) -> DownloadProgress>;

/// Asks the hub for files, and keeps them.
pub struct HubClient {
    pub(crate) cache: Cache,
    pub(crate) on_download: OnDownload,
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    is_offline: bool,
}

/// A file on the hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RemoteFile {
    /// The commit that the revision asked for is.
    pub commit: String,
    /// What tells it from any other file: the SHA-256 of large ones, the hash of the Git blob of others.
    pub etag: String,
    /// Its size in bytes, if the server says it.
    pub n_bytes: Option<u64>,
}

/// What the hub says of a file.
pub(crate) enum Answer {
    Found(RemoteFile),
    /// The repository has no such file; with words for it.
    Absent(String),
    /// Nobody answers; with words for it.
    Unreachable(String),
}

impl HubClient {
    /// A client that calls `on_download` with the name and the size of each file that it downloads. Proxies are those of
    /// the usual variables of the environment.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(
        settings: HubSettings,
        on_download: impl Fn(&str, Option<u64>) -> DownloadProgress + 'static,
    ) -> Result<Self, HubError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("pgm/", env!("CARGO_PKG_VERSION")))
            // To the hub's own new name of a repository; the servers with the bytes want none.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE));
        let config = match &settings.certificates {
            Some(path) => {
                let certificates = certificates(path).map_err(|source| HubError::Certificates {
                    path: path.clone(),
                    source,
                })?;
                config.tls_config(TlsConfig::builder().root_certs(certificates).build())
            }
            None => config,
        };
        Ok(Self {
            cache: Cache::new(settings.cache),
            on_download: Box::new(on_download),
            agent: config.build().new_agent(),
            endpoint: settings.endpoint.trim_end_matches('/').to_owned(),
            token: settings.token,
            is_offline: settings.is_offline,
        })
    }

    /// Why nothing is asked for, if so.
    pub(crate) fn offline(&self) -> Option<String> {
        self.is_offline.then(|| {
            "HF_HUB_OFFLINE is set, so that nothing is downloaded; unset it, or name a folder with the files"
                .to_owned()
        })
    }

    /// Asks for a file without downloading it.
    ///
    /// # Errors
    /// When the repository or the revision does not exist, access is refused, or the answer is not that of a hub.
    pub(crate) fn ask(&self, name: &HubName, file: &str) -> Result<Answer, HubError> {
        if let Some(reason) = self.offline() {
            return Ok(Answer::Unreachable(format!(
                "`{}` cannot be looked up: {reason}",
                name.repository()
            )));
        }
        let mut url = self.url(name, file);
        for _ in 0..MAX_RENAMES {
            let request = self.with_token(self.agent.head(&url));
            // What the hub says of the file stands in its own answer, not in that of the server with the bytes.
            let request = request
                .config()
                .max_redirects(0)
                .max_redirects_will_error(false);
            let response = match request.build().call() {
                Ok(response) => response,
                Err(error) => {
                    return Ok(Answer::Unreachable(format!(
                        "cannot reach the Hugging Face hub for `{file}` of `{}`: {url}: {error}; without a network, put the \
                         files into a folder by hand and name the folder",
                        name.repository()
                    )));
                }
            };
            let status = response.status();
            if status.is_redirection()
                && let Some(location) = text(response.headers(), LOCATION.as_str())
                && let Some(target) = within_host(&url, location)
            {
                url = target;
                continue;
            }
            if status.is_success() || status.is_redirection() {
                let remote = remote_file(response.headers(), status.is_redirection(), &url);
                return remote.map(Answer::Found);
            }
            let refusal = self.refusal(name, file, &url, &response);
            let code = text(response.headers(), ERROR_CODE).unwrap_or_default();
            return match status {
                StatusCode::NOT_FOUND if matches!(code, "" | "EntryNotFound") => {
                    Ok(Answer::Absent(refusal))
                }
                _ => Err(HubError::Refused { reason: refusal }),
            };
        }
        Err(HubError::Renames {
            repository: name.repository(),
            url,
        })
    }

    /// Starts the transfer of a file, from a byte on.
    ///
    /// # Errors
    /// When nobody answers, or with a refusal.
    pub(crate) fn get(
        &self,
        name: &HubName,
        file: &str,
        start: u64,
    ) -> Result<Response<Body>, TransferError> {
        let url = self.url(name, file);
        let request = self.with_token(self.agent.get(&url));
        let request = match start {
            0 => request,
            start => request.header(RANGE, format!("bytes={start}-")),
        };
        let response = request.call().map_err(|source| {
            let url = url.clone();
            TransferError::Broken(Box::new(NoAnswer { url, source }))
        })?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(response)
            }
            _ => Err(TransferError::Final(HubError::Refused {
                reason: self.refusal(name, file, &url, &response),
            })),
        }
    }

    fn with_token(&self, request: RequestBuilder<WithoutBody>) -> RequestBuilder<WithoutBody> {
        let request = request.header(ACCEPT_ENCODING, "identity");
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    fn url(&self, name: &HubName, file: &str) -> String {
        format!(
            "{}/{}/resolve/{}/{}",
            self.endpoint,
            name.repository(),
            encoded(&name.revision, ""),
            encoded(file, "/")
        )
    }

    /// What a status of a server means, and the way out.
    fn refusal<B>(&self, name: &HubName, file: &str, url: &str, response: &Response<B>) -> String {
        let (status, headers) = (response.status(), response.headers());
        let repository = name.repository();
        let said = match text(headers, "x-error-message") {
            Some(message) => format!("{url} answers {status}: {message}"),
            None => format!("{url} answers {status}"),
        };
        match (status, text(headers, ERROR_CODE)) {
            (_, Some("RepoNotFound")) | (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                let way_out = match &self.token {
                    Some(_) => {
                        "the token that was sent (HF_TOKEN) does not open it; check the name, and accept its terms on \
                         its page, if it has any, with the account of the token"
                    }
                    None => {
                        "check the name; if the repository is private or gated, accept its terms on its page and set \
                         HF_TOKEN to a token of yours"
                    }
                };
                format!("`{repository}` does not exist or may not be read ({said}); {way_out}")
            }
            (_, Some("RevisionNotFound")) => format!(
                "`{repository}` has no revision `{}` ({said}); wanted a branch, a tag or a commit",
                name.revision
            ),
            (StatusCode::NOT_FOUND, Some("EntryNotFound")) => {
                format!(
                    "`{repository}` has no file `{file}` ({said}); its page lists those that it has"
                )
            }
            (StatusCode::NOT_FOUND, _) => format!(
                "there is no file `{file}`, or no repository `{repository}` ({said}); check the name"
            ),
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                format!(
                    "the hub was asked too often ({said}); wait some minutes, or set HF_TOKEN to a token of yours"
                )
            }
            _ => {
                format!("`{file}` of `{repository}` cannot be downloaded ({said}); try again later")
            }
        }
    }
}

impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("has_token", &self.token.is_some())
            .field("certificates", &self.certificates)
            .field("is_offline", &self.is_offline)
            .finish()
    }
}

impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClient")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("is_offline", &self.is_offline)
            .finish_non_exhaustive()
    }
}

/// A transfer that was asked for in vain.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {url}")]
struct NoAnswer {
    url: String,
    source: ureq::Error,
}

const ERROR_CODE: &str = "x-error-code";

/// Where a redirection leads, if that is on the same host.
fn within_host(url: &str, location: &str) -> Option<String> {
    let origin = |url: &str| {
        let host = url.find("://")? + 3;
        let length = url[host..].find('/').unwrap_or(url.len() - host);
        Some(url[..host + length].to_owned())
    };
    if location.starts_with('/') && !location.starts_with("//") {
        return origin(url).map(|origin| origin + location);
    }
    (origin(location)? == origin(url)?).then(|| location.to_owned())
}

/// What the hub's answer says of a file. Of one that lies elsewhere, size and ETag are the linked ones.
fn remote_file(headers: &HeaderMap, is_elsewhere: bool, url: &str) -> Result<RemoteFile, HubError> {
    let commit = text(headers, "x-repo-commit").filter(|commit| is_commit(commit));
    let etag = text(headers, "x-linked-etag").or_else(|| text(headers, ETAG.as_str()));
    let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
    // It becomes the name of a file.
    let is_name = |etag: &&str| {
        !etag.is_empty()
            && etag
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let (Some(commit), Some(etag)) = (commit, etag.filter(is_name)) else {
        return Err(HubError::NotAHub {
            url: url.to_owned(),
            commit: text(headers, "x-repo-commit")
                .unwrap_or_default()
                .to_owned(),
            etag: etag.unwrap_or_default().to_owned(),
        });
    };
    let own = text(headers, CONTENT_LENGTH.as_str()).filter(|_| !is_elsewhere);
    let size = text(headers, "x-linked-size").or(own);
    Ok(RemoteFile {
        commit: commit.to_owned(),
        etag: etag.to_owned(),
        n_bytes: size.and_then(|size| size.parse().ok()),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn certificates(path: &Path) -> Result<RootCerts, Box<dyn Error + Send + Sync>> {
    let pem = std::fs::read(path)?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item? {
            certificates.push(certificate);
        }
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// A text as part of an address.
fn encoded(part: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || kept.contains(c) {
            encoded.push(c);
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes any text");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        let entries = entries.iter().map(|&(name, value)| {
            let name = ureq::http::HeaderName::from_static(name);
            (name, ureq::http::HeaderValue::from_static(value))
        });
        entries.collect()
    }

    #[test]
    fn a_large_file_is_what_the_link_says() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let all = [
            ("x-repo-commit", commit),
            ("etag", "\"short\""),
            ("content-length", "1109"),
            ("x-linked-etag", "W/\"sha256\""),
            ("x-linked-size", "3247159078"),
        ];
        let large = remote_file(&headers(&all), true, "url").unwrap();
        assert_eq!(
            (large.etag.as_str(), large.n_bytes),
            ("sha256", Some(3_247_159_078))
        );
        let small = remote_file(&headers(&all[..3]), false, "url").unwrap();
        assert_eq!((small.etag.as_str(), small.n_bytes), ("short", Some(1109)));
        for odd in [
            headers(&all[..1]),
            headers(&all[1..]),
            headers(&[all[0], ("etag", "\"../../x\"")]),
        ] {
            let error = remote_file(&odd, false, "url").unwrap_err().to_string();
            assert!(error.contains("does HF_ENDPOINT name a mirror"), "{error}");
        }
    }

    #[test]
    fn redirections_are_followed_on_the_same_host_only() {
        let url = "https://hub.example:1/mirror/o/n/resolve/main/f";
        let target = |location| within_host(url, location);
        assert_eq!(target("/x?y").unwrap(), "https://hub.example:1/x?y");
        assert_eq!(
            target("https://hub.example:1/x").unwrap(),
            "https://hub.example:1/x"
        );
        for elsewhere in [
            "https://hub.example/x",
            "http://hub.example:1/x",
            "//other.example/x",
        ] {
            assert_eq!(target(elsewhere), None);
        }
    }

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(encoded("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(encoded("a b/é.gguf", "/"), "a%20b/%C3%A9.gguf");
    }
}
