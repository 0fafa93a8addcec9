//! Builds the eBPF programs with aya-build, for `bpfel-unknown-none`.
//!
//! `THROTTLE_MONITOR_BPF_TOOLCHAIN` names the rustup toolchain: `nightly`
//! (with `rust-src`) unless said otherwise. `./dev` finds the right one.
use std::env;

use anyhow::Context as _;
use aya_build::{Package, Toolchain};

const TOOLCHAIN: &str = "THROTTLE_MONITOR_BPF_TOOLCHAIN";

fn main() -> anyhow::Result<()> {
    // cargo-fuzz sets it.
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    println!("cargo:rerun-if-env-changed={TOOLCHAIN}");
    println!("cargo:rerun-if-changed=../monitor-common");
    let toolchain = env::var(TOOLCHAIN).unwrap_or_else(|_| "nightly".into());
    let toolchain = match toolchain.as_str() {
        "nightly" => Toolchain::Nightly,
        other => {
            // Debian's compiler ships `core` for bpfel-unknown-none, so no
            // build-std is needed, but it is a stable compiler and aya-ebpf
            // wants unstable features.
            // SAFETY: a build script has one thread.
            unsafe { env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf") };
            Toolchain::Custom(other)
        }
    };
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitor-ebpf/rustc");
    // SAFETY: as above.
    unsafe {
        env::set_var("RUSTC_WRAPPER", wrapper);
        // Of programs that are small rather than fast the verifier sees more calls than it takes.
        env::set_var("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3");
    }
    let root_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitor-ebpf");
    aya_build::build_ebpf([Package { name: "monitor-ebpf", root_dir, ..Default::default() }], toolchain)
        .context("the eBPF programs did not build; `./dev build` installs the compiler and bpf-linker that they need")
}
