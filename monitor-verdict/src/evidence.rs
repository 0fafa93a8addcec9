//! The evidence of a verdict: one document in which a kernel engineer finds the
//! cycle without other tools.
//!
//! Everything in it is bounded: lists by the numbers here, texts by
//! [`bounds`]. What that cuts is said in [`Evidence::left_out`].

mod bounds;
mod cycle;
mod name;
mod places;
mod recorder;
mod tasks;
mod text_tree;

pub use name::{incident, is_document};
pub(crate) use recorder::{JudgedTick, Recorder};
