//! What the OOM killer took of one process's memory cgroup.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Counts the kills.
#[derive(Default)]
pub struct OomKills {
    /// The file that counts, and what it said; `None`: there is none.
    seen: Option<(PathBuf, u64)>,
}

impl OomKills {
    /// Looks which cgroup the process is in, and how many were killed there.
    pub fn look(&mut self, process: &Path, sysfs: &Path) {
        let cgroups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        self.seen = files(&cgroups, &sysfs.join("fs/cgroup"))
            .into_iter()
            .find_map(|file| {
                let kills = kills(&file)?;
                Some((file, kills))
            });
    }

    /// How many more were killed there since the last look. `None`: unknown, as
    /// where the cgroup is gone.
    pub fn since_last_look(&self) -> Option<u64> {
        let (file, before) = self.seen.as_ref()?;
        kills(file)?.checked_sub(*before)
    }
}

/// Where a process's cgroup may count, the best first. The memory controller of
/// version 1 may be mounted beside a cgroup of version 2.
fn files(cgroups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        // `0::PATH`, or of version 1 `NUMBER:CONTROLLERS:PATH`.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        // Beyond the root of the daemon's own cgroup namespace.
        if path.split('/').any(|part| part == "..") {
            continue;
        }
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|one| one == "memory") {
            files.insert(0, root.join("memory").join(path).join("memory.oom_control"));
        } else if controllers.is_empty() {
            let dir = root.join(path);
            files.push(dir.join("memory.events.local"));
            files.push(dir.join("memory.events"));
        }
    }
    files
}

/// `oom_kill N`, Documentation/admin-guide/cgroup-v2.rst and, from 4.13 on,
/// cgroup-v1/memory.rst.
fn kills(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let mut counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("oom_kill "));
    counts.next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::OomKills;

    #[test]
    fn the_kills_of_a_processs_cgroup_are_counted_in_both_versions() {
        for (cgroup, file) in [
            ("0::/pod/server\n", "pod/server/memory.events.local"),
            ("0::/pod/server\n", "pod/server/memory.events"),
            (
                "5:cpu:/\n4:memory:/pod\n0::/pod/server\n",
                "memory/pod/memory.oom_control",
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("cgroup"), cgroup).unwrap();
            let file = root.path().join("fs/cgroup").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "oom 9\noom_kill 1\noom_group_kill 7\n").unwrap();
            let mut kills = OomKills::default();
            assert_eq!(kills.since_last_look(), None);
            kills.look(root.path(), root.path());
            assert_eq!(kills.since_last_look(), Some(0), "{cgroup}");
            fs::write(&file, "oom 9\noom_kill 3\n").unwrap();
            assert_eq!(kills.since_last_look(), Some(2), "{cgroup}");
            fs::remove_file(&file).unwrap();
            assert_eq!(kills.since_last_look(), None, "the cgroup is gone");
        }
    }

    #[test]
    fn a_cgroup_outside_of_the_daemons_namespace_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup"), "0::/../other\n").unwrap();
        fs::create_dir_all(root.path().join("fs/other")).unwrap();
        fs::create_dir_all(root.path().join("fs/cgroup")).unwrap();
        fs::write(root.path().join("fs/other/memory.events"), "oom_kill 1\n").unwrap();
        let mut kills = OomKills::default();
        kills.look(root.path(), root.path());
        assert_eq!(kills.since_last_look(), None);
    }
}
