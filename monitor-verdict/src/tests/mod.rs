//! The engine as a whole, played second by second.

mod choice;
mod commit;
mod confidence;
mod disk;
mod edge;
mod evidence;
mod garbage;
mod hysteresis;
mod inputs;
mod loop_device;
mod names;
mod negatives;
pub(crate) mod node;
mod phase;
mod positives;
mod progress;
mod properties;
mod reclaim;
mod robustness;
mod several;
mod shared;
mod starvation;
mod steps;
mod time;
mod userspace;
mod watched;
mod window;
