//! One tick: read maps, /proc, /sys and debugfs into an [`Observation`].
//!
//! Nothing here touches a path on a mounted file system other than procfs,
//! sysfs, fusectl and debugfs: no `statfs`, no `stat` of a mount point.

mod bdis;
mod congestion;
mod lookup;
mod maps;
mod memory;
mod nfsd;
mod observation;
mod sampler;
mod topology;

pub use lookup::{Lookup, Wanted};
pub use observation::{
    Bdi, Congestion, CongestionBy, Delay, DirtyPauses, Lost, Memory, NfsClient, Nfsd, NfsdThread,
    Observation, SignalStatus, StalledTask, State, TaskDelay, ThreadState, Waiting,
};
pub use sampler::{Sampler, Tick};
pub use topology::{
    Backing, Connection, Export, FileSystem, NfsMount, PeerSocket, RpcClient, Topology, Transport,
};
