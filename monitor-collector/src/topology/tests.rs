//! Whole rounds on made-up nodes.

pub mod node;
mod properties;
mod rounds;
