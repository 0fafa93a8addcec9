//! One tick, live or replayed: attach what is new, sample, judge, record, publish.

pub mod stage;
pub mod tick;
pub mod watch;
