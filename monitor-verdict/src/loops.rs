//! Which NFS mounts of this node are served by this node: pure, from what the
//! kernel and the namespaces tell.

mod calls;
mod device;
mod evidence;
mod exempt;
mod find;
mod inputs;
pub(crate) mod words;

pub use device::Former;
pub use find::{Loops, MAX_LOOPS};
pub(crate) use inputs::{rpc_clients, same};

#[cfg(test)]
mod tests;
