//! The messages between host and guest. The host puts a [`Plan`] into the initramfs, and the guest
//! answers with one [`Fact`] per line on its second serial port. The first port is the kernel's, so
//! that its messages never split a fact.

mod block;
mod fact;
mod files;
mod plan;

pub use block::{BlockExport, BlockServer, BlockStep, BlockWrites};
pub use fact::{
    Counts, Event, Exempt, Fact, Loop, LoopMount, Mounted, Related, Sample, Transition,
};
pub use files::{FilesStep, SmbServer};
pub use plan::{Export, Filesystem, Ganesha, Load, Plan, Step, Until, Way};

/// The path of the plan in the initramfs.
pub const PLAN: &str = "/plan.json";

/// The path of the daemon in the initramfs, if it is included.
pub const DAEMON: &str = "/throttle-monitor";
