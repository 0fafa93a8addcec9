//! Whole rounds on made-up nodes.

mod node;
mod properties;
mod rounds;
