//! What a test changes on the machine is put back, also when the test is killed.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

/// Runs a command when it is dropped, or when this process ends in whichever way. A shell
/// waits for the end of a pipe that only this process holds open.
pub struct Undo(Option<Child>);

impl Undo {
    /// What is to be run; again for up to 30 s while it fails, for what is in use for a
    /// moment.
    pub fn new(program: &str, args: &[&str]) -> Self {
        // What interrupts the test from the terminal must not interrupt this.
        let script = "trap '' HUP INT TERM; read -r _ && exit; n=0; \
                      until \"$@\" || [ $n = 60 ]; do n=$((n + 1)); sleep 0.5; done";
        let shell = Command::new("sh")
            .args(["-c", script, "undo", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(Some(shell))
    }

    /// The same for a line of shell, with its `$1` and so on.
    pub fn shell(line: &str, args: &[&str]) -> Self {
        Self::new("sh", &[&["-c", line, "sh"], args].concat())
    }

    /// There is nothing to be undone any more.
    pub fn forget(&mut self) {
        if let Some(mut shell) = self.0.take() {
            let _ = shell.stdin.take().map(|mut pipe| pipe.write_all(b"\n"));
            let _ = shell.wait();
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(mut shell) = self.0.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

/// Says why a test can show nothing on this machine. Past the test's capture, so that it
/// is seen.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}");
}

/// Whether the capabilities of these numbers are among those that this process may hand on.
pub fn has_capabilities(bits: &[u32]) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let set = u64::from_str_radix(set.unwrap().trim(), 16).unwrap();
    bits.iter().all(|bit| set & (1 << bit) != 0)
}
