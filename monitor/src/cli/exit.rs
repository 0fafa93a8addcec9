//! Exit codes: one table for all commands (docs/metrics.md).

use std::process::ExitCode;

use monitor_verdict::ThresholdError;

use monitor_collector::host::local_path::PlacementError;

/// Done, but something is degraded or left over.
pub const DEGRADED: u8 = 1;

/// The task failed.
pub const FAILED: u8 = 2;

/// The command line or the configuration is wrong: `EX_CONFIG` of sysexits.h. A restart does not
/// help, so the systemd units do not try (`RestartPreventExitStatus=`).
pub const BAD_CONFIGURATION: u8 = 78;

/// An error caused by the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadConfiguration(pub String);

/// The exit code for this error.
pub fn code(error: &anyhow::Error) -> ExitCode {
    if is_bad_configuration(error) {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::from(FAILED)
    }
}

fn is_bad_configuration(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let placed = cause.downcast_ref::<PlacementError>();
        placed.is_some_and(PlacementError::is_bad_configuration)
            || cause.is::<BadConfiguration>()
            || cause.is::<ThresholdError>()
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_path_on_nfs_and_a_bad_file_are_of_the_configuration_and_a_port_in_use_is_not() {
        let nfs = PlacementError::Nfs {
            path: "/x".into(),
            fstype: "nfs4".into(),
            mount_point: "/".into(),
        };
        assert!(is_bad_configuration(&nfs.into()));
        let bad = Err::<(), _>(BadConfiguration("--web.config.file: x".into())).context("more");
        assert!(is_bad_configuration(&bad.unwrap_err()));
        let unknown = PlacementError::Mounts {
            path: "/x".into(),
            mountinfo: "/proc/self/mountinfo".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert!(!is_bad_configuration(&unknown.into()));
        let used = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        assert!(!is_bad_configuration(&used.into()));
    }
}
