//! The program: see the library.

fn main() -> std::process::ExitCode {
    throttle_monitor::cli::main()
}
