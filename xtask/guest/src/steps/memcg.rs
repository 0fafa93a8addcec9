//! A cgroup of version 2 with a memory limit.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};

use super::processes;

const TOP: &str = "/sys/fs/cgroup";

/// Enter one.
pub fn enter(name: &str, megabytes: u64) -> Result<()> {
    let controllers = format!("{TOP}/cgroup.controllers");
    if !Path::new(&controllers).exists() {
        mount("cgroup2", TOP, "cgroup2", MountFlags::empty(), None).context("mounting cgroup2")?;
    }
    let offered = fs::read_to_string(&controllers).unwrap_or_default();
    if !offered.split_whitespace().any(|one| one == "memory") {
        bail!("no memory controller among: {offered}");
    }
    fs::write(format!("{TOP}/cgroup.subtree_control"), "+memory")
        .context("switching the memory controller on")?;
    let group = format!("{TOP}/{name}");
    fs::create_dir_all(&group)?;
    fs::write(format!("{group}/memory.max"), (megabytes << 20).to_string())?;
    fs::write(format!("{group}/cgroup.procs"), "0").context("entering the cgroup")
}

/// Leaves it again; processes that were started inside stay.
pub fn leave(victim: &str) -> Result<()> {
    fs::write(format!("{TOP}/cgroup.procs"), "0").context("leaving the cgroup")?;
    for pid in processes(victim) {
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_pid());
        fs::write(&path, "1000").with_context(|| path)?;
    }
    Ok(())
}
