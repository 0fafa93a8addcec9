//! The evidence of a verdict: one document in which a kernel engineer finds the
//! cycle without other tools.
//!
//! Everything in it is bounded: lists by the numbers here, texts by
//! [`bounds`]. What that cuts is said in [`Evidence::left_out`].

mod bounds;
mod cycle;
mod lines;
mod name;
mod picture;
mod places;
mod recorder;
mod tasks;

pub use lines::{COLUMNS, lines};
pub use name::{incident, is_document};
pub use picture::{numbers, picture};
pub(crate) use recorder::{JudgedTick, Recorder};
