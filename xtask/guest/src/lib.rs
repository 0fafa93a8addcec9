//! What the host and the guest say to each other: the host sends a [`Plan`] in
//! the initramfs, the guest answers with one [`Fact`] per line on its second
//! serial port. The first port is left to the kernel, so that no message of
//! the kernel ever cuts a fact in two.

mod fact;
mod plan;

pub use fact::{
    Counts, Event, Exempt, Fact, Loop, LoopMount, Mounted, Related, Sample, Transition,
};
pub use plan::{Export, Filesystem, Ganesha, Load, Plan, Step, Until, Way};

/// Where the plan lies in the initramfs.
pub const PLAN: &str = "/plan.json";

/// Where the daemon lies in the initramfs, if it is there at all.
pub const DAEMON: &str = "/throttle-monitor";
