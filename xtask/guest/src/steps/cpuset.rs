//! A v1 cpuset: memory of one node, with hard walls.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

const CPUSETS: &str = "/run/cpuset";

/// Enter, with these kernel threads.
pub fn enter(mems: &str, threads: &[String]) -> Result<()> {
    let (top, set) = (CPUSETS, "/run/cpuset/tight");
    fs::create_dir_all(top)?;
    mount(
        "cpuset",
        top,
        "cgroup",
        MountFlags::empty(),
        Some(c"cpuset"),
    )
    .context("mounting the v1 cpuset controller")?;
    fs::create_dir_all(set)?;
    let cpus = fs::read_to_string(format!("{top}/cpuset.cpus"))?;
    fs::write(format!("{set}/cpuset.cpus"), cpus)?;
    fs::write(format!("{set}/cpuset.mems"), mems)?;
    fs::write(format!("{set}/cpuset.mem_hardwall"), "1")?;
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if threads.iter().any(|thread| thread == name.trim()) {
            fs::write(
                format!("{set}/tasks"),
                entry.file_name().to_string_lossy().as_bytes(),
            )
            .with_context(|| format!("moving {} into the cpuset", name.trim()))?;
        }
    }
    // Only this thread, which starts the hog and the writers, but not the watchers.
    fs::write(format!("{set}/tasks"), "0").context("entering the cpuset")
}

/// Leaves it again; processes that were started inside stay.
pub fn leave() -> Result<()> {
    fs::write(format!("{CPUSETS}/tasks"), "0").context("leaving the cpuset")
}
