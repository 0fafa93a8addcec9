//! One tick: read maps, /proc, /sys and debugfs into an [`Observation`].

mod observation;

pub use observation::{
    Bdi, Delay, DirtyPauses, Lost, Memory, NfsClient, Nfsd, NfsdThread, Observation, SignalStatus,
    StalledTask, State, TaskDelay, ThreadState, Waiting,
};
