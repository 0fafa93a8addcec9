//! Which strategy each signal is attached on this kernel, and attaching it.
//!
//! [`facts`] reads what the kernel offers, [`signals`] is the table of signals
//! and their ordered strategies, [`plan`] tells purely from the facts which strategies can
//! be tried and why the others cannot, [`attach`] tries them and keeps the
//! kernel's own words where it refuses.

pub mod attach;
pub mod btf;
pub mod cost;
pub mod facts;
pub mod fields;
pub mod format;
#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub mod fuzz;
pub mod kernel_const;
pub mod lockdown;
pub mod plan;
pub mod preflight;
pub mod report;
pub mod signals;
pub mod tracefs;
