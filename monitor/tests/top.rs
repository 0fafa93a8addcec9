//! `top`: what it draws of real recordings, and what it does in a real terminal
//! with a real daemon's HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "top/drawing.rs"]
mod drawing;
#[path = "top/hostile.rs"]
mod hostile;
#[path = "top/http.rs"]
mod http;
#[path = "top/keys.rs"]
mod keys;
#[path = "top/live.rs"]
mod live;
#[path = "top/pty.rs"]
mod pty;
#[path = "top/scene.rs"]
mod scene;
