//! The engine as a whole, played second by second.

mod inputs;
mod negatives;
pub mod node;
mod phase;
mod positives;
mod robustness;
mod window;
