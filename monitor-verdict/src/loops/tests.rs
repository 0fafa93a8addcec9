//! Loops found in made-up observations.

mod containers;
mod danger;
mod host;
mod life;
mod proof;
mod server;
