//! `io-flusher`: runs a command that the kernel does not throttle for the dirty pages of others.

use std::{
    ffi::OsString, io::ErrorKind, os::unix::process::CommandExt as _, process::Command,
    process::ExitCode,
};

use caps::{CapSet, Capability};
use clap::Args;
use monitor_collector::host::hardening;
use rustix::io::Errno;

/// The kernel refused the exemption.
const REFUSED: u8 = 1;
/// As in `env`, `nice` and the shells: the command exists, but cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// As there: the command does not exist.
const NOT_FOUND: u8 = 127;

/// Arguments of `io-flusher`.
#[derive(Debug, Args)]
#[command(override_usage = "throttle-monitor io-flusher [--try] -- COMMAND [ARG]...")]
pub struct IoFlusherArgs {
    /// Execute COMMAND without the exemption if the kernel refuses it.
    #[arg(long = "try")]
    pub or_without: bool,
    /// Command to execute, and its arguments; searched for in PATH.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Replaces this process with the command.
///
/// # Errors
///
/// None: a failure is printed, and the exit code identifies it.
pub fn io_flusher(args: &IoFlusherArgs) -> anyhow::Result<ExitCode> {
    let [program, rest @ ..] = args.command.as_slice() else {
        anyhow::bail!("no command to execute");
    };
    let name = program.to_string_lossy();
    if let Err(error) = hardening::io_flusher(true) {
        let has = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE);
        let refused = refused(&name, error, has.unwrap_or(false));
        if !args.or_without {
            eprintln!("throttle-monitor: {refused} To start it without the exemption, add --try.");
            return Ok(ExitCode::from(REFUSED));
        }
        eprintln!("throttle-monitor: {refused} It starts without the exemption (--try).");
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "this process becomes the command"
    )]
    let error = Command::new(program).args(rest).exec();
    let code = match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    eprintln!(
        "throttle-monitor: cannot execute {name}: {error}\n  {}",
        hint(&error)
    );
    Ok(ExitCode::from(code))
}

/// The refusal, its meaning, and what to do.
fn refused(name: &str, error: Errno, has_capability: bool) -> String {
    let remedy = match error {
        Errno::PERM if has_capability => {
            "This process has CAP_SYS_RESOURCE in its own user namespace only, or a seccomp filter \
             forbids the call: start it outside of that namespace or without that filter."
        }
        Errno::PERM => {
            "CAP_SYS_RESOURCE is missing: run this as root, and in a container add the capability \
             (Kubernetes: securityContext.capabilities.add: [SYS_RESOURCE]; Docker and Podman: \
             --cap-add SYS_RESOURCE)."
        }
        Errno::INVAL => "This kernel does not know PR_SET_IO_FLUSHER: Linux 5.6 and later do.",
        _ => "The kernel gave no known reason: a seccomp filter may forbid the call.",
    };
    format!(
        "the kernel refused to exempt {name} from local dirty throttling \
         (PR_SET_IO_FLUSHER): {error}\n  \
         Without the exemption, {name} waits for dirty pages as any writer does. If this node also \
         mounts what {name} serves, both can freeze.\n  {remedy}"
    )
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => {
            "There is no such file, here or in PATH, or the interpreter that it names is missing."
        }
        ErrorKind::PermissionDenied => {
            "It is not an executable file, or a directory above it may not be entered."
        }
        _ => "The file is there, and the kernel cannot execute it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_failed_what_it_means_and_what_to_do() {
        let text = refused("ganesha.nfsd", Errno::PERM, false);
        let lines: Vec<_> = text.lines().collect();
        let [failed, means, remedy] = lines.as_slice() else {
            panic!("{text}");
        };
        assert!(failed.contains("ganesha.nfsd") && failed.contains("PR_SET_IO_FLUSHER"));
        assert!(means.contains("can freeze"), "{means}");
        assert!(remedy.contains("CAP_SYS_RESOURCE is missing"), "{remedy}");
    }

    #[test]
    fn the_remedy_is_that_of_the_kernels_reason() {
        let remedy = |error, has| refused("x", error, has);
        assert!(remedy(Errno::PERM, true).contains("user namespace"));
        assert!(remedy(Errno::INVAL, true).contains("5.6"));
        assert!(remedy(Errno::NOSYS, false).contains("seccomp"));
    }
}
