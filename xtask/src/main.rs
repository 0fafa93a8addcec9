//! Development helpers.
fn main() {}
