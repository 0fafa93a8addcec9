//! What `throttle-monitor top` shows: its state, how that is drawn, and what a key
//! does to it. No clock and no I/O: the time is handed in, what is to be asked for
//! is handed out ([`View::request`]), and `cli/top` does both.
//!
//! Whatever the node has, no more is asked for, sorted and drawn than fits on the
//! screen.

#![forbid(unsafe_code)]

mod control;
mod data;
mod draw;
pub mod help;
mod keys;
mod look;
mod plain;
mod progress;
mod table;
mod view;
mod words;

pub use data::{Answer, Data, Origin, Request};
pub use draw::draw;
pub use keys::Action;
pub use look::Look;
pub use plain::{PLAIN_TASKS, ansi, plain};
pub use view::View;
