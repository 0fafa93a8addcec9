//! `throttle-monitor top`: its state, how that is drawn, what a key does to it, and the
//! loop that drives it. What is asked for is handed out ([`View::request`]); who answers
//! is a `Source`.
//!
//! Whatever the node has, no more is asked for, sorted and drawn than fits on the
//! screen.

#![forbid(unsafe_code)]

mod control;
mod data;
mod draw;
mod environment;
mod help;
mod keys;
mod live;
pub(crate) mod once;
mod plain;
mod progress;
mod source;
mod table;
mod theme;
mod tty;
mod view;
mod words;

pub use data::{Answer, Data, Origin, Request};
pub use draw::draw;
pub(crate) use environment::{has_screen, no_colours_if_dumb};
pub use keys::Action;
pub(crate) use live::live;
pub use plain::plain;
pub(crate) use source::Source;
pub use theme::Theme;
pub use tty::Screen;
pub use view::View;
