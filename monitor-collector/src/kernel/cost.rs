//! What the attached programs cost, by the kernel's own accounting.

use std::{fs, path::Path};

use aya::Ebpf;

/// What a program cost since it was loaded, while the kernel counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name in monitor-ebpf.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long in all, nanoseconds.
    pub ns: u64,
}

/// The cost of every loaded program; empty unless `kernel.bpf_stats_enabled`
/// is set, for without it the kernel does not count.
#[must_use]
pub fn read(ebpf: &Ebpf, procfs: &Path) -> Vec<ProgramCost> {
    let enabled = fs::read_to_string(procfs.join("sys/kernel/bpf_stats_enabled"));
    if !enabled.is_ok_and(|value| value.trim() == "1") {
        return Vec::new();
    }
    let mut costs: Vec<_> = ebpf
        .programs()
        .filter_map(|(name, program)| {
            // One that was not needed here is not loaded.
            let info = program.info().ok()?;
            Some(ProgramCost {
                program: name.to_owned(),
                runs: info.run_count(),
                ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    costs.sort_by(|a, b| a.program.cmp(&b.program));
    costs
}
