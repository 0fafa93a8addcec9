//! Loops found in made-up observations.

mod calls;
mod containers;
mod danger;
mod host;
mod life;
mod proof;
mod server;
