//! Conditions that look like a livelock but are not one.
//!
//! At every tick [`watch`] checks each kind on its subjects: the BDIs, or the node for its memory.
//! A condition begins after it holds long enough, and ends after it does not hold for long enough.
//! A kind with missing inputs is not reported.

mod across;
mod answers;
mod clients;
mod devices;
mod hung;
mod limit_held;
mod memory;
mod silent;
mod view;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use view::{LoopNow, Node};
pub(crate) use watch::Watch;
