//! Reads the file, and reloads it when it or a file that it names has changed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use monitor_collector::host::local_path::refuse_nfs;
use rustix::fs::OFlags;

use super::{
    Policy, Web, WebError, Wrong,
    document::{ServerTls, WebDocument},
    tls::Material,
};

/// The flag that names the first file.
const FLAG: &str = "--web.config.file";

/// Time between two checks for changes.
const PERIOD: Duration = Duration::from_secs(1);

/// The largest permitted file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads all files, and starts the thread that reloads them.
pub(super) fn start(procfs: &Path, path: &Path) -> Result<Arc<Web>, WebError> {
    let mut files = Files {
        procfs: procfs.to_owned(),
        config: path.to_owned(),
        read: Vec::new(),
    };
    let web = Arc::new(Web::new(files.policy()?));
    let watched = Arc::downgrade(&web);
    let watching = thread::Builder::new()
        .name("web-config".into())
        .stack_size(256 * 1024)
        .spawn(move || watch(&watched, files));
    watching.map_err(|error| WebError::Read {
        what: "the thread that watches",
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    Ok(web)
}

/// Runs until the server ends.
fn watch(web: &Weak<Web>, mut files: Files) {
    loop {
        thread::sleep(PERIOD);
        let Some(web) = web.upgrade() else {
            return;
        };
        files.refresh(&web);
    }
}

/// The files of a configuration.
struct Files {
    procfs: PathBuf,
    config: PathBuf,
    /// The files that were read, each with its mark just before.
    read: Vec<(PathBuf, Option<Mark>)>,
}

/// The properties that show a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    /// `None`: the file does not exist.
    fn of(path: &Path) -> Option<Self> {
        #[allow(
            clippy::disallowed_methods,
            reason = "refused on NFS before, and in a thread of its own"
        )]
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Files {
    /// Reloads the files if one has changed. An error is reported once and keeps the old state: a
    /// half-written certificate must not make the metrics unavailable.
    fn refresh(&mut self, web: &Web) {
        let same = self.read.iter().all(|(path, mark)| Mark::of(path) == *mark);
        if same {
            return;
        }
        let path = self.config.display().to_string();
        let policy = self.policy().map_err(|error| error.to_string());
        let policy = policy.and_then(|policy| {
            if policy.tls().is_some() == web.policy().tls().is_some() {
                Ok(policy)
            } else {
                Err("TLS can be switched on or off only by a restart".to_owned())
            }
        });
        match policy {
            Ok(policy) => {
                web.current.store(Arc::new(policy));
                tracing::info!(path, "the web configuration was reloaded");
            }
            Err(error) => {
                tracing::error!(
                    path,
                    error,
                    "the changed web configuration cannot be used: the previous one stays in effect"
                );
            }
        }
    }

    fn policy(&mut self) -> Result<Policy, WebError> {
        self.read.clear();
        let config = self.config.clone();
        let bytes = self.read(FLAG, &config)?;
        let text = String::from_utf8(bytes).map_err(|_| WebError::Yaml {
            path: config.clone(),
            why: "is not text in UTF-8".to_owned(),
        })?;
        let document = WebDocument::parse(&text).map_err(|why| WebError::Yaml {
            path: config.clone(),
            why,
        })?;
        let tls = &document.tls_server_config;
        let material = if tls.is_wanted() {
            Some(self.material(tls)?)
        } else {
            None
        };
        let (policy, passed_over) =
            Policy::new(document, material.as_ref()).map_err(|wrong| wrong.of(&config))?;
        for what in passed_over {
            tracing::warn!(
                what,
                "the web configuration asks for something that is unavailable"
            );
        }
        Ok(policy)
    }

    /// As in Prometheus, a file takes precedence over an inline value.
    fn material(&mut self, tls: &ServerTls) -> Result<Material, WebError> {
        let missing = |key, file| {
            Wrong::new(
                key,
                format!("is missing, and so is {file}: TLS needs both a certificate and a key"),
            )
            .of(&self.config)
        };
        if tls.cert.is_empty() && tls.cert_file.is_empty() {
            return Err(missing("tls_server_config.cert_file", "cert"));
        }
        if tls.key.0.is_empty() && tls.key_file.is_empty() {
            return Err(missing("tls_server_config.key_file", "key"));
        }
        let cert = self.file_or("tls_server_config.cert_file", &tls.cert_file, &tls.cert)?;
        let key = self.file_or("tls_server_config.key_file", &tls.key_file, &tls.key.0)?;
        let ca = "tls_server_config.client_ca_file";
        let client_ca = self.file_or(ca, &tls.client_ca_file, &tls.client_ca)?;
        Ok(Material {
            cert,
            key,
            client_ca: (!client_ca.is_empty()).then_some(client_ca),
        })
    }

    fn file_or(&mut self, key: &'static str, file: &str, text: &str) -> Result<Vec<u8>, WebError> {
        if file.is_empty() {
            return Ok(text.as_bytes().to_vec());
        }
        let beside = self.config.parent().unwrap_or(Path::new(""));
        let path = beside.join(file);
        self.read(key, &path)
    }

    /// Reads at most [`MAX_BYTES`] of a regular file that is not on NFS.
    fn read(&mut self, what: &'static str, path: &Path) -> Result<Vec<u8>, WebError> {
        refuse_nfs(&self.procfs, path).map_err(|why| WebError::Placement { what, why })?;
        // Take the mark before reading, so that a change during the read is noticed next time.
        self.read.push((path.to_owned(), Mark::of(path)));
        bounded(path).map_err(|error| WebError::Read {
            what,
            path: path.to_owned(),
            why: error.to_string(),
        })
    }
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    // Opening a FIFO would wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}
