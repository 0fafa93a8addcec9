//! The engine as a whole, played second by second.

mod evidence;
mod inputs;
mod negatives;
pub(crate) mod node;
mod phase;
mod positives;
mod robustness;
mod window;
