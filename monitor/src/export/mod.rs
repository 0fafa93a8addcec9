//! Metrics, HTTP and the log: shows what the tick published, decides nothing.
//!
//! The tick thread owns a [`snapshot::Publisher`]; everything that is served
//! comes from the [`snapshot::Snapshot`] that it published last. The serving
//! path reads neither /proc nor maps and never waits for the tick.

pub mod evidence;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod history;
pub mod http;
pub mod log;
pub mod metrics;
pub mod node;
pub mod process;
pub mod ready;
pub mod snapshot;
pub mod tasks;
pub mod web;

#[cfg(test)]
pub(crate) mod testing;
