//! What this process may do: each missing privilege by name, what is lost
//! without it, and what gives it.

use std::{fs, path::Path};

use caps::{CapSet, Capability};
use serde::Serialize;

/// A privilege that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The kernel's name for it.
    pub privilege: &'static str,
    /// What is lost without it.
    pub limitation: &'static str,
    /// What gives it.
    pub remedy: &'static str,
    /// Nothing can be monitored without it.
    pub fatal: bool,
}

/// How to get any of the capabilities.
const CAPABILITIES: &str = "run as root (sudo throttle-monitor ...) with all its capabilities, or give the process the \
                            missing ones (systemd: AmbientCapabilities=; Kubernetes: securityContext.capabilities.add)";

/// Facts about this process; `None` is "could not be told".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one capability, had or not"
)]
pub struct Privileges {
    /// `CAP_SYS_ADMIN`, which includes the next two.
    pub sys_admin: bool,
    /// `CAP_BPF`, 5.8 and later.
    pub bpf: bool,
    /// `CAP_PERFMON`, 5.8 and later.
    pub perfmon: bool,
    /// `CAP_SYS_RESOURCE`.
    pub sys_resource: bool,
    /// `CAP_DAC_READ_SEARCH` or `CAP_DAC_OVERRIDE`, or user id 0.
    pub reads_all: bool,
    /// `CAP_SYS_PTRACE`.
    pub ptrace: bool,
    /// Whether this is the initial pid namespace.
    pub host_pids: Option<bool>,
    /// The sysctl `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
}

impl Privileges {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process(procfs: &Path) -> Self {
        let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        Self {
            sys_admin: has(Capability::CAP_SYS_ADMIN),
            bpf: has(Capability::CAP_BPF),
            perfmon: has(Capability::CAP_PERFMON),
            sys_resource: has(Capability::CAP_SYS_RESOURCE),
            reads_all: rustix::process::geteuid().is_root()
                || has(Capability::CAP_DAC_READ_SEARCH)
                || has(Capability::CAP_DAC_OVERRIDE),
            ptrace: has(Capability::CAP_SYS_PTRACE),
            host_pids: host_pids(procfs),
            perf_event_paranoid: fs::read_to_string(procfs.join("sys/kernel/perf_event_paranoid"))
                .ok()
                .and_then(|text| text.trim().parse().ok()),
        }
    }

    /// What is missing, worst first.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        const PERF: &str =
            "the eBPF programs cannot be attached to tracepoints, so nothing can be monitored";
        let all = [
            (
                self.bpf || self.sys_admin,
                Missing {
                    privilege: "CAP_BPF",
                    limitation: "no eBPF program can be loaded, so nothing can be monitored",
                    remedy: CAPABILITIES,
                    fatal: true,
                },
            ),
            (
                self.perfmon || self.sys_admin,
                Missing {
                    privilege: "CAP_PERFMON",
                    limitation: PERF,
                    remedy: CAPABILITIES,
                    fatal: true,
                },
            ),
            (
                self.sys_admin || self.perf_event_paranoid.is_none_or(|level| level <= 2),
                Missing {
                    privilege: "CAP_SYS_ADMIN, since kernel.perf_event_paranoid is above 2",
                    limitation: "kernels of Debian and Ubuntu then refuse tracepoints to all others: nothing can be monitored there",
                    remedy: "sysctl kernel.perf_event_paranoid=2, or give the process CAP_SYS_ADMIN",
                    fatal: false,
                },
            ),
            (
                self.reads_all,
                Missing {
                    privilege: "CAP_DAC_READ_SEARCH",
                    limitation: "tracefs and debugfs are readable by root only: the layout of tracepoints and the dirty pages of each BDI cannot be read",
                    remedy: CAPABILITIES,
                    fatal: false,
                },
            ),
            (
                self.sys_resource,
                Missing {
                    privilege: "CAP_SYS_RESOURCE",
                    limitation: "the daemon's memory cannot be locked, nor its writes exempted from throttling: it may stall together with the node",
                    remedy: CAPABILITIES,
                    fatal: false,
                },
            ),
            (
                self.ptrace,
                Missing {
                    privilege: "CAP_SYS_PTRACE",
                    limitation: "the namespaces of other users' processes are unknown: loops through them are proven by transaction ids only, and their mounts are not named; the kernel function that a blocked nfsd thread sleeps in is unknown, too",
                    remedy: CAPABILITIES,
                    fatal: false,
                },
            ),
            (
                self.host_pids != Some(false),
                Missing {
                    privilege: "the host's pid namespace",
                    limitation: "thread ids from the kernel do not match those in /proc: idle and blocked nfsd threads cannot be told apart",
                    remedy: "in a container, mount the host's /proc and name it with --path.procfs",
                    fatal: false,
                },
            ),
        ];
        all.into_iter()
            .filter(|(has, _)| !has)
            .map(|(_, missing)| missing)
            .collect()
    }
}

/// Whether `/proc` is of the initial pid namespace, where process 2 is `kthreadd`.
#[must_use]
pub fn host_pids(procfs: &Path) -> Option<bool> {
    match fs::read_to_string(procfs.join("2/comm")) {
        Ok(comm) => Some(comm.trim_end() == "kthreadd"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Privileges;

    #[test]
    fn an_ordinary_user_is_told_what_cannot_be_done_and_what_to_do() {
        let missing = Privileges {
            host_pids: Some(true),
            ..Privileges::default()
        }
        .missing();
        assert_eq!(missing[0].privilege, "CAP_BPF");
        assert!(
            missing[0].fatal && missing[0].remedy.contains("root"),
            "{missing:?}"
        );
    }

    #[test]
    fn an_administrator_needs_no_cap_bpf_of_his_own() {
        let all = Privileges {
            sys_admin: true,
            sys_resource: true,
            reads_all: true,
            ptrace: true,
            host_pids: Some(true),
            ..Privileges::default()
        };
        assert_eq!(all.missing(), []);
    }

    #[test]
    fn without_sys_admin_a_paranoid_kernel_is_named() {
        let named = |sys_admin, level| {
            let privileges = Privileges {
                sys_admin,
                perf_event_paranoid: Some(level),
                ..Privileges::default()
            };
            privileges
                .missing()
                .iter()
                .any(|m| m.privilege.contains("perf_event_paranoid"))
        };
        assert!(named(false, 3) && !named(false, 2) && !named(true, 3));
    }

    #[test]
    fn a_pid_namespace_of_its_own_is_no_reason_to_stop() {
        let missing = Privileges {
            host_pids: Some(false),
            sys_admin: true,
            ..Privileges::default()
        }
        .missing();
        assert!(
            missing
                .iter()
                .any(|m| m.privilege.contains("pid namespace") && !m.fatal)
        );
    }
}
