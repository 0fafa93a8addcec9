//! throttle-monitor: sees every task that the kernel makes wait for dirty
//! pages, reclaim or a congested backing device, and says when nfsd waits for
//! pages that only nfsd can clean.
//!
//! Data goes one way: [`kernel`] attaches the eBPF programs, [`sample`] reads
//! them once a tick into an observation, `monitor-verdict` judges observations and
//! nothing else, [`export`] shows both, [`guard`] acts on it where it is told to, [`cli`]
//! ties it together.

pub mod cli;
pub mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod guard;
pub mod kernel;
pub mod placement;
pub mod privileges;
pub mod pseudofs;
pub mod recording;
pub mod sample;
pub mod survive;
pub mod top;
