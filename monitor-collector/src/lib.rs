//! All that reads the node: probes, samples and the topology of backing devices and
//! servers. Nothing here judges.
//!
//! [`kernel`] attaches the eBPF programs, [`sample`] reads them once a tick,
//! [`topology`] looks up, beside it, who mounts and who serves. [`host`] is what they
//! and the program share: what this process may do and touch.

#![cfg_attr(not(any(test, fuzzing)), warn(clippy::disallowed_methods))]

#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub mod fuzz_input;
pub mod host;
pub mod kernel;
pub mod sample;
pub mod topology;
