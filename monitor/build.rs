//! The revision and its day, for `--version` and the manual pages; the runbooks as HTML.

#[path = "build/runbooks.rs"]
mod runbooks;

use std::{io, process::Command};

fn main() -> io::Result<()> {
    println!("cargo:rustc-env=THROTTLE_MONITOR_REVISION={}", revision());
    println!("cargo:rustc-env=THROTTLE_MONITOR_DATE={}", date());
    // cargo-fuzz sets it.
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    runbooks::write()
}

/// The commit that is built, `unknown` outside a checkout.
fn revision() -> String {
    println!("cargo:rerun-if-changed=../.git/HEAD");
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    git(&["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(|| "unknown".into())
}

/// The day of the commit, for the manual pages; outside a checkout nothing, in quotes.
fn date() -> String {
    git(&["log", "-1", "--format=%cs"]).unwrap_or_else(|| "\"\"".into())
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
