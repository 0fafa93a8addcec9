//! Finds the NFS mounts that this node serves to itself, from kernel counters and look-ups. Pure.

mod calls;
mod device;
mod exempt;
mod find;
mod inputs;
mod proof;
pub(crate) mod words;

pub use device::Former;
pub use find::{Loops, MAX_LOOPS};
pub(crate) use inputs::{rpc_clients, same};

#[cfg(test)]
mod tests;
