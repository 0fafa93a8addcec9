//! Related conditions, played second by second.

mod across;
mod clients;
mod devices;
mod hung;
mod limit_held;
mod livelock;
mod memory;
mod robustness;
mod scene;
mod silent;
