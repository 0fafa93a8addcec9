//! Shared words.
#![no_std]
