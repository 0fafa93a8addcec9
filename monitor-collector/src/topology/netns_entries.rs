//! Network namespaces without a process, as `ip netns` leaves them, have no /proc/PID/net. During a
//! round a thread of the daemon enters each and stands in as its process.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use compact_str::CompactString;
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

use super::namespaces::Namespaces;

/// The mount directories of `ip netns`. No other path is opened: it may lie on NFS.
const DIRECTORIES: [&str; 2] = ["/run/netns/", "/var/run/netns/"];
/// Maximum number of namespaces to enter in a round.
const MAX_KEEPERS: usize = 64;

/// The threads in namespaces. They end when this is dropped, so that a deleted namespace can go.
#[derive(Default)]
pub struct NetnsEntries {
    threads: Vec<(SyncSender<()>, JoinHandle<()>)>,
}

impl NetnsEntries {
    /// Enters the namespaces of `kept` that lack a process. Each thread becomes the process of its
    /// namespace. A namespace that cannot be entered stays without one.
    pub fn enter(spaces: &mut Namespaces, kept: &BTreeMap<u64, CompactString>) -> Self {
        let mut netns_entries = Self::default();
        for (&net, mount_point) in kept {
            let known = spaces.nets.contains_key(&net);
            if known || netns_entries.threads.len() == MAX_KEEPERS || !is_netns_path(mount_point) {
                continue;
            }
            match netns_entries.one(net, mount_point) {
                Ok(tid) => {
                    spaces.nets.insert(net, vec![tid]);
                }
                Err(error) => {
                    tracing::debug!(net, %mount_point, %error, "a network namespace cannot be entered");
                }
            }
        }
        netns_entries
    }

    fn one(&mut self, net: u64, mount_point: &str) -> io::Result<u32> {
        let (entered, answer) = sync_channel(1);
        let (stop, stopped) = sync_channel(0);
        let path = mount_point.to_owned();
        let thread = thread::Builder::new()
            .name("netns".into())
            .spawn(move || keep(net, Path::new(&path), &entered, &stopped))?;
        let answer = answer.recv().map_err(io::Error::other)?;
        self.threads.push((stop, thread));
        answer
    }
}

impl Drop for NetnsEntries {
    fn drop(&mut self) {
        for (stop, thread) in self.threads.drain(..) {
            drop(stop);
            // The thread waits for nothing else.
            let _ = thread.join();
        }
    }
}

fn is_netns_path(mount_point: &str) -> bool {
    DIRECTORIES.iter().any(|directory| {
        let name = mount_point.strip_prefix(directory);
        name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    })
}

fn keep(net: u64, path: &Path, entered: &SyncSender<io::Result<u32>>, stopped: &Receiver<()>) {
    let answer = enter(net, path);
    let inside = answer.is_ok();
    let _ = entered.send(answer);
    if inside {
        let _ = stopped.recv();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a file of nsfs, in a thread that nobody waits for"
)]
fn enter(net: u64, path: &Path) -> io::Result<u32> {
    // The file may no longer be the namespace's mount.
    if fs::symlink_metadata(path)?.ino() != net {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File::open(path)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    u32::try_from(gettid().as_raw_nonzero().get()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::is_netns_path;

    #[test]
    fn only_what_ip_netns_mounts_is_opened() {
        assert!(is_netns_path("/run/netns/srv"));
        assert!(is_netns_path("/var/run/netns/srv"));
        for no in [
            "/run/netns/",
            "/mnt/nfs/ns",
            "/run/netns/../x",
            "/run/netns/a/b",
        ] {
            assert!(!is_netns_path(no), "{no}");
        }
    }
}
