//! throttle-monitor: detects every task that waits for dirty pages, reclaim or a congested backing
//! device, and reports when a server waits for pages that only it can clean.
//!
//! Data flows in one direction. `monitor-collector` reads the node into an observation, and
//! `monitor-verdict` judges observations; [`pipeline`] runs both once per tick. [`publish`] keeps
//! the last result for [`http`], [`metrics`] and [`terminal`]. [`log`] and [`evidence`] write it
//! down, and [`guard`] acts on it if enabled. [`lifecycle`] carries requests to reload. [`cli`] connects all of them.

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
pub mod lifecycle;
pub mod log;
pub mod metrics;
pub mod pipeline;
pub mod publish;
pub mod recording;
pub mod terminal;
mod text;
