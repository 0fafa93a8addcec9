//! How a client shows itself, and whom it trusts: `--http.config.file`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;
use data_encoding::BASE64;
use serde::Deserialize;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Where distributions keep the authorities that they trust: Debian's, Red Hat's, SUSE's.
const TRUSTED: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// How to log in to a daemon.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// File with the password, the certificates or the authority for --url: YAML with `basic_auth`
    /// and `tls_config` as of Prometheus' HTTP clients; see docs/web.md.
    ///
    /// Without it an https:// daemon must have a certificate that this machine trusts.
    #[arg(long = "http.config.file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl AccessArgs {
    /// Reads what is given.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub fn access(&self) -> anyhow::Result<Access> {
        let Some(path) = &self.file else {
            return Ok(Access::default());
        };
        Access::read(path)
            .with_context(|| format!("cannot use --http.config.file {}", path.display()))
    }
}

/// The client's credentials, and the authorities that it trusts.
#[derive(Clone, Default)]
pub struct Access {
    authorization: Option<String>,
    authorities: Option<Vec<Certificate<'static>>>,
    shows: Option<ClientCert>,
    trusts_anybody: bool,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nothing that it holds is for a log.
        f.write_str("Access")
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientDocument {
    basic_auth: Option<BasicAuth>,
    tls_config: Option<ClientTls>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BasicAuth {
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientTls {
    ca: Option<String>,
    ca_file: Option<PathBuf>,
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<String>,
    key_file: Option<PathBuf>,
    insecure_skip_verify: bool,
}

impl Access {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        Self::of(&text, &|file| fs::read_to_string(beside.join(file)))
    }

    /// Of the file's text; `read` reads the files that it names.
    pub(in crate::cli) fn of(
        text: &str,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> anyhow::Result<Self> {
        let options = serde_saphyr::options! { with_snippet: false };
        let document: Option<ClientDocument> =
            serde_saphyr::from_str_with_options(text, options)
                .map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))?;
        let document = document.unwrap_or_default();
        let mut access = Self::default();
        if let Some(basic) = document.basic_auth {
            let password = either("password", basic.password, basic.password_file, read)?;
            let password = password.unwrap_or_default();
            // An editor ends a file with a line's end.
            let password = password.trim_end_matches(['\n', '\r']);
            let pair = format!("{}:{password}", basic.username);
            access.authorization = Some(format!("Basic {}", BASE64.encode(pair.as_bytes())));
        }
        if let Some(tls) = document.tls_config {
            let ca = either("ca", tls.ca, tls.ca_file, read)?;
            access.authorities = ca.as_deref().map(certificates).transpose().context("ca")?;
            let cert = either("cert", tls.cert, tls.cert_file, read)?;
            let key = either("key", tls.key, tls.key_file, read)?;
            access.shows = match (cert, key) {
                (None, None) => None,
                (Some(cert), Some(key)) => {
                    let certs = certificates(&cert).context("cert")?;
                    let key = PrivateKey::from_pem(key.as_bytes()).context("key")?;
                    Some(ClientCert::new_with_certs(&certs, key))
                }
                _ => bail!("cert and key belong together, and one of them is missing"),
            };
            access.trusts_anybody = tls.insecure_skip_verify;
        }
        Ok(access)
    }

    /// What goes into the header.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// In the client's words.
    pub fn tls(&self) -> TlsConfig {
        let provider = rustls::crypto::ring::default_provider();
        let authorities = self.authorities.clone().unwrap_or_else(trusted);
        TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .root_certs(RootCerts::Specific(Arc::new(authorities)))
            .client_cert(self.shows.clone())
            .disable_verification(self.trusts_anybody)
            .build()
    }
}

/// What is written there, or is in the file.
fn either(
    key: &str,
    text: Option<String>,
    file: Option<PathBuf>,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> anyhow::Result<Option<String>> {
    let Some(file) = file else {
        return Ok(text);
    };
    if text.is_some() {
        bail!("{key} and {key}_file are both given, and one is enough");
    }
    let text = read(&file);
    let text = text.with_context(|| format!("{key}_file {} cannot be read", file.display()))?;
    Ok(Some(text))
}

fn certificates(pem: &str) -> anyhow::Result<Vec<Certificate<'static>>> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        bail!("has no certificate: must be PEM");
    }
    Ok(certificates)
}

/// The machine's own authorities; nobody, if it has none.
fn trusted() -> Vec<Certificate<'static>> {
    let text = TRUSTED
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
    text.and_then(|text| certificates(&text).ok())
        .unwrap_or_default()
}
