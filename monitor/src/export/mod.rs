//! Stub.
/// Stub.
pub mod log {
    /// x
    #[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
    pub enum LogFormat {
        /// logfmt
        Logfmt,
        /// json
        Json,
    }
}
