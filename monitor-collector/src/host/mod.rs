//! This process on this host: its privileges, its memory, and the files that it may touch.

pub mod boot;
pub mod clock;
pub mod hardening;
pub mod local_path;
pub mod mountinfo;
pub mod privileges;
pub mod pseudofs;
pub mod smb_stats;
pub mod text;
