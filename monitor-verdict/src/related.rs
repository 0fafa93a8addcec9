//! Conditions that look like a livelock and are none, as kinds of their own.
//!
//! [`watch`] asks at every tick, for each kind, of what it holds: a BDI, or the
//! node for its memory. What holds long enough has begun, what does not hold
//! for long enough has ended. A kind whose inputs are missing is not claimed.

mod clients;
mod devices;
mod hung;
mod memory;
mod view;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use view::{LoopNow, Node};
pub(crate) use watch::Watch;
