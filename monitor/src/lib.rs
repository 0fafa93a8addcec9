//! throttle-monitor: sees every task that the kernel makes wait for dirty
//! pages, reclaim or a congested backing device, and says when a server waits for
//! pages that only it can clean.
//!
//! Data goes one way: `monitor-collector` reads the node into an observation,
//! `monitor-verdict` judges observations and nothing else, [`pipeline`] runs both once a tick,
//! [`publish`] keeps the last of it for [`http`], [`metrics`] and [`terminal`]; [`log`] and
//! [`evidence`] write it down, [`guard`] acts on it where it is told to; [`cli`] ties it together.

#![cfg_attr(not(any(test, fuzzing)), warn(clippy::disallowed_methods))]

pub mod access;
pub mod cli;
pub mod evidence;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(any(test, fuzzing))]
mod fuzz_input;
pub mod guard;
pub mod http;
pub mod log;
pub mod metrics;
pub mod pipeline;
pub mod publish;
pub mod recording;
pub mod terminal;
mod text;
