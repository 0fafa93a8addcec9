//! One tick: read maps, /proc, /sys and debugfs into an
//! [`Observation`](monitor_model::observation::Observation).
//!
//! Nothing here touches a path on a mounted file system other than procfs,
//! sysfs, fusectl and debugfs: no `statfs`, no `stat` of a mount point.

mod bdis;
mod congestion;
#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub mod fuzz;
mod maps;
mod memory;
mod nfsd;
mod oom;
mod open_calls;
mod sampler;
mod smb;
mod stacks;
mod threads;
mod user_servers;
mod waits;

pub use sampler::{Sampler, Tick};
