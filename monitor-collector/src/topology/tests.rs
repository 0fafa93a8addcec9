//! Tests of whole rounds on made-up nodes.

pub mod node;
mod properties;
mod relays;
mod rounds;
