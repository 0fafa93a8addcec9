//! One tick, live or replayed: attach new signals, sample, judge, record, publish.

#![forbid(unsafe_code)]

pub mod reload;
pub mod replay_publisher;
pub mod tick;
pub mod watch;
