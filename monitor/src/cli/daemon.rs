//! A running daemon, asked over HTTP: for `explain` and `top`.

mod access;

use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

pub use access::{Access, AccessArgs};

/// Where `run` listens unless it is told otherwise.
pub const DEFAULT: &str = "http://127.0.0.1:9746";

/// It answers from memory; on a node that is stuck, too.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// More than 1000 waits with their names never are.
const MAX_BYTES: u64 = 4 << 20;

/// `--url`: where the daemon listens.
pub fn url(text: &str) -> Result<String, String> {
    let schemes = ["http://", "https://"];
    let host = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let host = host.unwrap_or_default();
    // What is before an @ would be a password in the list of processes.
    if host.is_empty() || host.starts_with('/') || host.contains('@') {
        return Err("must be a URL such as http://127.0.0.1:9746".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Asks one daemon. Its connection is kept between two questions.
#[derive(Debug)]
pub struct DaemonClient {
    url: String,
    agent: ureq::Agent,
    access: Access,
}

impl DaemonClient {
    /// The one at this URL; no answer takes longer than `patience`.
    #[must_use]
    pub fn new(url: &str, patience: Duration, access: &Access) -> Self {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            // A password goes nowhere else.
            .max_redirects(0);
        if url.starts_with("https:") {
            config = config.tls_config(access.tls());
        }
        Self {
            url: url.to_owned(),
            agent: config.build().into(),
            access: access.clone(),
        }
    }

    /// What it answers at this path, as text.
    ///
    /// # Errors
    ///
    /// It does not answer, or with an error.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("{}{path}", self.url);
        let text = self.ask(&url, &[])?;
        text.with_context(|| format!("{url} is not there: an older daemon, or something else"))
    }

    /// What it answers at `/api/v1/` and this path.
    ///
    /// # Errors
    ///
    /// It does not answer, or with something else.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let found = self.find(path, &[])?;
        found.with_context(|| {
            let url = &self.url;
            format!("{url}/api/v1/{path} does not exist: an older daemon, or another program")
        })
    }

    /// The same with a query; `None`: there is no such thing.
    ///
    /// # Errors
    ///
    /// It does not answer, or with something else.
    pub fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<Option<T>> {
        let path = format!("{}/api/v1/{path}", self.url);
        let Some(text) = self.ask(&path, query)? else {
            return Ok(None);
        };
        let read = serde_json::from_str(&text)
            .with_context(|| format!("{path} is not an answer of throttle-monitor"))?;
        Ok(Some(read))
    }

    fn ask(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Option<String>> {
        let mut asked = self.agent.get(path);
        if let Some(authorization) = self.access.authorization() {
            asked = asked.header("Authorization", authorization);
        }
        let asked = query
            .iter()
            .fold(asked, |asked, (key, value)| asked.query(*key, value));
        let mut answer = asked.call().with_context(|| {
            format!("{path} does not answer (--url): does the daemon run there?")
        })?;
        let status = answer.status();
        if status.as_u16() == 404 {
            return Ok(None);
        }
        let hint = match status.as_u16() {
            401 => ": it needs a user name and a password (--http.config.file)",
            400 if path.starts_with("http:") => ": it may speak https",
            _ => "",
        };
        anyhow::ensure!(status.is_success(), "{path} answers {status}{hint}");
        let body = answer.body_mut().with_config().limit(MAX_BYTES);
        let text = body
            .read_to_string()
            .with_context(|| format!("reading {path}"))?;
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_no_password() {
        for bad in [
            "127.0.0.1:9746",
            "http://",
            "https:///x",
            "ftp://x",
            "http://a:b@x",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert_eq!(url("http://x:1/").as_deref(), Ok("http://x:1"));
        assert_eq!(url("https://x").as_deref(), Ok("https://x"));
    }
}
