//! Plain data that one layer passes to the next. No logic, no I/O.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod api;
pub mod evidence;
pub mod guard;
mod known_only;
pub mod loops;
pub mod mitigation;
pub mod observation;
pub mod related;
pub mod remote;
#[cfg(feature = "testing")]
pub mod testing;
pub mod verdict;
mod words;
