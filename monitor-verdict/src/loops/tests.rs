//! Loops found in made-up observations.

mod calls;
mod containers;
mod exempt;
mod host;
mod life;
mod proof;
mod risk;
mod server;
