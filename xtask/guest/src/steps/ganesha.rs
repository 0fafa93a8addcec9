//! nfs-ganesha, a userspace NFS server, on a local file system.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use guest::{DAEMON, Event, Ganesha};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::tell;

const NAME: &str = "ganesha.nfsd";

/// `PF_LOCAL_THROTTLE`, include/linux/sched.h.
const LOCAL_THROTTLE: u64 = 0x0010_0000;

/// NFSv4 only, because NFSv3 needs an rpcbind.
const CONFIG: &str = "
NFS_CORE_PARAM {
    Protocols = 4;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    MORE
}
NFSv4 {
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = /var/lib/nfs/ganesha;
    Only_Numeric_Owners = true;
    UseGetpwnam = true;
}
EXPORT {
    Export_Id = 1;
    Path = PATH;
    Pseudo = /;
    Protocols = 4;
    Access_Type = RW;
    Squash = None;
    SecType = sys;
    FSAL { Name = VFS; }
}
";

/// Start it, and wait until it listens.
pub fn start(path: &str, kind: Ganesha) -> Result<()> {
    fs::create_dir_all("/var/lib/nfs/ganesha")?;
    fs::create_dir_all("/etc/ganesha")?;
    // It searches this file for file systems.
    if !Path::new("/etc/mtab").exists() {
        symlink("/proc/self/mounts", "/etc/mtab")?;
    }
    let config = "/etc/ganesha/ganesha.conf";
    let more = match kind {
        Ganesha::SixRefused => "allow_set_io_flusher_fail = true;",
        _ => "",
    };
    let text = CONFIG.replace("PATH", path).replace("MORE", more);
    fs::write(config, text)?;
    let mut child = spawn(config, kind)?;
    let start = Instant::now();
    while TcpStream::connect("127.0.0.1:2049").is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("{NAME} ended with {status}; its words are in the console log");
        }
        if start.elapsed() > Duration::from_secs(30) {
            bail!("{NAME} does not listen");
        }
        thread::sleep(Duration::from_millis(100));
    }
    tell::event(server(child.id())?);
    Ok(())
}

fn spawn(config: &str, kind: Ganesha) -> Result<Child> {
    let program = format!("/usr/sbin/{NAME}");
    let mut command = match kind {
        Ganesha::FourExempt => {
            let mut wrapped = Command::new(DAEMON);
            wrapped.args(["io-flusher", "--"]).arg(program);
            wrapped
        }
        _ => Command::new(program),
    };
    command
        .args(["-F", "-f", config, "-L", "STDERR", "-N", "NIV_EVENT"])
        .args(["-p", "/run/ganesha.pid"])
        .stdin(Stdio::null());
    let spawn = move || {
        if kind == Ganesha::SixRefused {
            // This affects this thread and its children.
            remove_capability_from_bounding_set(CapabilitySet::SYS_RESOURCE)?;
        }
        command.spawn().context("starting ganesha.nfsd")
    };
    thread::scope(|scope| scope.spawn(spawn).join())
        .map_err(|_| anyhow!("the thread that starts {NAME} panicked"))?
}

/// The server's threads, and the kernel's flags of them.
pub fn server(pid: u32) -> Result<Event> {
    let process = format!("/proc/{pid}");
    let name = fs::read_to_string(format!("{process}/comm"))?;
    let mut threads = Vec::new();
    for thread in fs::read_dir(format!("{process}/task"))? {
        // The dbus thread ends if dbus is missing.
        threads.extend(is_exempt(&thread?.path()).ok());
    }
    Ok(Event::Server {
        name: name.trim_end().to_owned(),
        threads: threads.len(),
        exempt: threads.iter().filter(|exempt| **exempt).count(),
    })
}

fn is_exempt(thread: &Path) -> Result<bool> {
    let stat = fs::read_to_string(thread.join("stat"))?;
    // The name may contain anything; after it, the flags are the seventh word.
    let words = stat.rsplit(") ").next().unwrap_or_default();
    let flags: u64 = words.split(' ').nth(6).unwrap_or_default().parse()?;
    Ok(flags & LOCAL_THROTTLE != 0)
}

/// Ends with 0 if the kernel has exempted this process, and with 3 otherwise.
pub fn say_whether_exempt() -> Result<()> {
    if is_exempt(Path::new("/proc/self"))? {
        return Ok(());
    }
    std::process::exit(3)
}
