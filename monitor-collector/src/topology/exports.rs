//! The exports of the kernel's server by network namespace: `/proc/PID/net/rpc/nfsd.export/content`
//! (`svc_export_show`, fs/nfsd/export.c).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use compact_str::CompactString;
use monitor_model::observation::Export;

use super::mounts::{Mounts, not_all};
use super::namespaces::Namespaces;
use super::warnings::LookupWarnings;
use crate::host::mountinfo::Line;
use crate::host::text::unescape;

/// Maximum number of exports.
const MAX_EXPORTS: usize = 1024;
/// Maximum number of lines of the exports and of the mounts of one namespace.
const MAX_LINES: usize = 131_072;
/// The processes whose mounts the paths refer to: the kernel resolves them for the writer
/// (nfs-utils).
const EXPORTERS: [&str; 3] = ["rpc.mountd", "nfsv4.exportd", "exportd"];

/// Reads exports.
#[derive(Debug, Default)]
pub struct Exports {
    /// The exporting process of each network namespace.
    exporters: BTreeMap<u64, u32>,
}

impl Exports {
    /// The exports of each network namespace, and the BDIs under them.
    pub fn read(
        &mut self,
        spaces: &Namespaces,
        mounts: &Mounts,
        warnings: &mut LookupWarnings,
    ) -> Vec<Export> {
        let mut exports = Vec::new();
        self.exporters
            .retain(|net, _| spaces.nets.contains_key(net));
        for (&net, pids) in &spaces.nets {
            let mut paths = BTreeSet::new();
            let add = |line: &str| {
                if let Some(path) = path(line)
                    && exports.len() + paths.len() < MAX_EXPORTS
                {
                    paths.insert(path);
                }
            };
            let read = spaces.lines(pids, "net/rpc/nfsd.export/content", MAX_LINES, add);
            not_all(
                read,
                warnings,
                &format_args!("the exports of network namespace {net}"),
            );
            if !paths.is_empty() {
                let exporter = self.exporter(spaces, net, pids);
                exports.extend(with_backings(spaces, mounts, net, exporter, paths));
            }
        }
        if exports.len() == MAX_EXPORTS {
            warnings.note(&format_args!("Only {MAX_EXPORTS} exports are read."));
        }
        exports
    }

    fn exporter(&mut self, spaces: &Namespaces, net: u64, pids: &[u32]) -> u32 {
        let is_one = |pid: &u32| is_exporter(&spaces.process(*pid));
        if let Some(pid) = self.exporters.get(&net)
            && is_one(pid)
        {
            return *pid;
        }
        let pid = pids.iter().copied().find(is_one);
        let pid = pid.or_else(|| pids.first().copied()).unwrap_or(1);
        self.exporters.insert(net, pid);
        pid
    }
}

fn is_exporter(process: &Path) -> bool {
    let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
    EXPORTERS.contains(&comm.trim_end_matches('\n'))
}

/// The directory in one line. Comments and pending look-ups begin with `#`.
pub(super) fn path(line: &str) -> Option<CompactString> {
    let (path, _) = line.split_once('\t')?;
    path.starts_with('/').then(|| unescape(path))
}

/// Finds the mount under each path: the last one at its longest mount point.
fn with_backings(
    spaces: &Namespaces,
    mounts: &Mounts,
    net: u64,
    exporter: u32,
    paths: BTreeSet<CompactString>,
) -> Vec<Export> {
    let mut under: Vec<(CompactString, usize, CompactString)> = paths
        .into_iter()
        .map(|path| (path, 0, CompactString::default()))
        .collect();
    // If the mounts cannot be read, the BDIs stay unknown.
    let _ = spaces.lines(&[exporter], "mountinfo", MAX_LINES, |line| {
        let Some(line) = Line::parse(line) else {
            return;
        };
        let mount_point = unescape(line.mount_point);
        for (path, longest, device) in &mut under {
            if mount_point.len() >= *longest && is_below(path, &mount_point) {
                *longest = mount_point.len();
                *device = line.device.into();
            }
        }
    });
    let bdi = |device: CompactString| match mounts.file_systems.get(&device) {
        Some(fs) if !fs.bdi.is_empty() => fs.bdi.clone(),
        _ => device,
    };
    under
        .into_iter()
        .map(|(path, _, device)| Export {
            netns: net,
            path,
            bdi: bdi(device),
        })
        .collect()
}

pub(super) fn is_below(path: &str, mount_point: &str) -> bool {
    let mount_point = mount_point.trim_end_matches('/');
    path.strip_prefix(mount_point)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::{is_below, path};

    #[test]
    fn the_path_of_an_export_is_unescaped_and_a_comment_is_none() {
        let line = "/srv/a\\040b\t10.9.0.0/24(rw,no_root_squash,sync,wdelay,uuid=1:2:3:4,sec=1)";
        assert_eq!(path(line).unwrap(), "/srv/a b");
        assert_eq!(path("#path domain(flags)"), None);
        assert_eq!(path("# /srv\t*()"), None);
        assert_eq!(path(""), None);
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_below() {
        assert!(is_below("/srv/a", "/"));
        assert!(is_below("/srv/a", "/srv"));
        assert!(is_below("/srv/a", "/srv/a"));
        assert!(!is_below("/srv/ab", "/srv/a"));
        assert!(!is_below("/srv", "/srv/a"));
    }
}
