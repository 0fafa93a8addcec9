//! Loops found in made-up observations.

mod calls;
mod containers;
mod risk;
mod exempt;
mod host;
mod life;
mod proof;
mod server;
