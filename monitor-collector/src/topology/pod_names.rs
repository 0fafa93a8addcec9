//! The namespaces and names of pods, from the directories that the kubelet makes for their logs:
//! `/var/log/pods/NAMESPACE_NAME_UID`, of a static pod with the hash of its manifest as UID.
//!
//! It reads the names of these directories and nothing in them, only while a pod's name is unknown.
//! The disk may not respond on a node in a livelock: a thread reads it, and a round waits for the
//! thread only for a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use compact_str::CompactString;
use monitor_model::observation::{Container, is_pod_uid};

use crate::host::local_path::refuse_nfs;

/// Maximum number of directories to read. A node has 110 to 250 pods.
const MAX_ENTRIES: usize = 4096;
/// The maximum wait of a round for the directory.
const PATIENCE: Duration = Duration::from_millis(100);
/// The time until a pod without a directory is searched for again.
const RETRY: Duration = Duration::from_secs(30);
/// Maximum bytes of a namespace, an RFC 1123 label, and of a pod's name, an RFC 1123 subdomain.
const MAX_NAMESPACE: usize = 63;
const MAX_POD: usize = 253;

/// A pod's namespace and name, by its UID.
type Names = BTreeMap<CompactString, (CompactString, CompactString)>;

/// Finds them, and remembers those in use.
pub struct PodNames {
    procfs: PathBuf,
    dir: PathBuf,
    known: Names,
    /// The UIDs that the last read did not find.
    missing: BTreeSet<CompactString>,
    last: Option<Instant>,
    reading: Option<Receiver<io::Result<Names>>>,
}

impl PodNames {
    /// `dir`: mostly `/var/log/pods`.
    pub const fn new(procfs: PathBuf, dir: PathBuf) -> Self {
        Self {
            procfs,
            dir,
            known: Names::new(),
            missing: BTreeSet::new(),
            last: None,
            reading: None,
        }
    }

    /// Fills in namespace and name of the pods of these containers.
    pub fn fill(&mut self, containers: &mut [&mut Container]) {
        let uids = containers.iter().map(|one| &one.pod_uid);
        let wanted: BTreeSet<_> = uids.filter(|uid| !uid.is_empty()).cloned().collect();
        self.known.retain(|uid, _| wanted.contains(uid));
        let is_unknown = |uid: &CompactString| !self.known.contains_key(uid);
        let unknown: BTreeSet<_> = wanted.into_iter().filter(is_unknown).collect();
        self.missing.retain(|uid| unknown.contains(uid));
        if !unknown.is_empty() {
            self.look(unknown);
        }
        for container in containers {
            if let Some((namespace, pod)) = self.known.get(&container.pod_uid) {
                container.namespace.clone_from(namespace);
                container.pod.clone_from(pod);
            }
        }
    }

    /// Reads the directory, unless that was done for these UIDs a short time ago or a read hangs.
    fn look(&mut self, unknown: BTreeSet<CompactString>) {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= RETRY);
        let is_idle = self.reading.is_none();
        if is_idle && (is_due || !unknown.is_subset(&self.missing)) {
            self.last = Some(Instant::now());
            self.missing.clone_from(&unknown);
            self.reading = start(self.procfs.clone(), self.dir.clone(), unknown);
        }
        let Some(reading) = &self.reading else {
            return;
        };
        let patience = if is_idle { PATIENCE } else { Duration::ZERO };
        match reading.recv_timeout(patience) {
            Ok(Ok(found)) => {
                self.missing.retain(|uid| !found.contains_key(uid));
                self.known.extend(found);
            }
            Ok(Err(error)) => {
                tracing::debug!(dir = %self.dir.display(), %error, "pods have no names: the kubelet's directory cannot be read");
            }
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {}
        }
        self.reading = None;
    }
}

/// Reads the directory in a thread of its own. `None`: there is no thread.
fn start(
    procfs: PathBuf,
    dir: PathBuf,
    wanted: BTreeSet<CompactString>,
) -> Option<Receiver<io::Result<Names>>> {
    let (send, receive) = sync_channel(1);
    let read = move || {
        let _ = send.send(read(&procfs, &dir, &wanted));
    };
    let thread = thread::Builder::new().name("pods".into()).spawn(read);
    thread.ok().map(|_| receive)
}

fn read(procfs: &Path, dir: &Path, wanted: &BTreeSet<CompactString>) -> io::Result<Names> {
    refuse_nfs(procfs, dir).map_err(io::Error::other)?;
    let mut found = Names::new();
    for entry in fs::read_dir(dir)?.take(MAX_ENTRIES) {
        let name = entry?.file_name();
        if let Some((namespace, pod, uid)) = name.to_str().and_then(parse)
            && wanted.contains(uid)
        {
            found.insert(uid.into(), (namespace.into(), pod.into()));
        }
    }
    Ok(found)
}

/// `NAMESPACE_NAME_UID`. None of the three has a `_`.
pub(super) fn parse(name: &str) -> Option<(&str, &str, &str)> {
    let mut parts = name.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && is_pod_uid(uid);
    let is_named = namespace.len() <= MAX_NAMESPACE && is_label(namespace) && is_subdomain(pod);
    (is_whole && is_named).then_some((namespace, pod, uid))
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_POD && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let dash = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b'-');
    let bytes = text.as_bytes();
    text.bytes().all(inner) && !dash(bytes.first()) && !dash(bytes.last())
}

#[cfg(test)]
mod tests;
