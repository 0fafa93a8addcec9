//! SMB servers, and the kernel's client.

use std::{
    ffi::CString,
    fs,
    io::Write as _,
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::{DAEMON, SmbServer};
use rustix::mount::{MountFlags, mount};

use super::super::{disk::tell_mounted, ganesha};
use crate::tell;

/// Users without a password are guests.
const SAMBA: &str = "
[global]
    server role = standalone server
    map to guest = Bad User
    load printers = no
    disable spoolss = yes
    server min protocol = SMB3_11
";

const KSMBD: &str = "
[global]
    server string = ksmbd
    netbios name = KSMBD
    map to guest = bad user
    guest account = nobody
    smb2 leases = yes
";

const SHARE: &str = "
[x]
    path = PATH
    guest ok = yes
    read only = no
    force user = root
";

/// Starts it, and waits until it listens.
pub fn start(path: &str, kind: SmbServer, options: &[String]) -> Result<()> {
    add_nobody()?;
    let mut share = SHARE.replace("PATH", path);
    for line in options {
        share = format!("{share}    {line}\n");
    }
    let mut child = match kind {
        SmbServer::Samba | SmbServer::SambaExempt => samba(&share, kind)?,
        SmbServer::Ksmbd => ksmbd(&share)?,
    };
    let start = Instant::now();
    while TcpStream::connect("127.0.0.1:445").is_err() {
        // The one of ksmbd continues in the background.
        let ended = child.try_wait()?.filter(|status| !status.success());
        if let Some(status) = ended {
            bail!("the SMB server ended with {status}; its words are in the console log");
        }
        if start.elapsed() > Duration::from_mins(1) {
            bail!("the SMB server does not listen");
        }
        thread::sleep(Duration::from_millis(100));
    }
    if kind != SmbServer::Ksmbd {
        // The process of each connection inherits the flags.
        tell::event(ganesha::server(child.id())?);
    }
    Ok(())
}

fn samba(share: &str, kind: SmbServer) -> Result<Child> {
    const PROGRAM: &str = "/usr/sbin/smbd";
    for at in [
        "/etc/samba",
        "/run/samba",
        "/var/cache/samba",
        "/var/lib/samba/private",
        "/var/log/samba",
    ] {
        fs::create_dir_all(at)?;
    }
    fs::write("/etc/samba/smb.conf", format!("{SAMBA}{share}"))?;
    let mut command = match kind {
        SmbServer::SambaExempt => {
            let mut wrapped = Command::new(DAEMON);
            wrapped.args(["io-flusher", "--", PROGRAM]);
            wrapped
        }
        _ => Command::new(PROGRAM),
    };
    command
        .args(["--foreground", "--no-process-group"])
        .args(["--debug-stdout", "--debuglevel=1"])
        .stdin(Stdio::null())
        .spawn()
        .context("starting smbd")
}

/// The server is in the kernel; this process answers its questions.
fn ksmbd(share: &str) -> Result<Child> {
    fs::create_dir_all("/etc/ksmbd")?;
    fs::write("/etc/ksmbd/ksmbd.conf", format!("{KSMBD}{share}"))?;
    fs::write("/etc/ksmbd/ksmbdpwd.db", "")?;
    Command::new("/usr/sbin/ksmbd.mountd")
        .arg("--nodetach")
        .stdin(Stdio::null())
        .spawn()
        .context("starting ksmbd.mountd")
}

/// Adds the account of guests.
fn add_nobody() -> Result<()> {
    for (path, line) in [
        ("/etc/passwd", "nobody:x:65534:65534::/:/bin/false\n"),
        ("/etc/group", "nogroup:x:65534:\n"),
    ] {
        let mut file = fs::File::options().append(true).create(true).open(path)?;
        file.write_all(line.as_bytes()).context(path)?;
    }
    Ok(())
}

/// Uses mount(2) directly. The server does not know the user, so it is a guest.
pub fn mount_share(server: &str, at: &str) -> Result<()> {
    let source = format!("//{server}/x");
    let options = CString::new(format!(
        "ip={server},unc=\\\\{server}\\x,vers=3.1.1,username=unknown,password=none"
    ))?;
    tell_mounted(at, &source, || {
        mount(&source, at, "cifs", MountFlags::NOATIME, Some(&*options))
            .with_context(|| format!("mounting {source} on {at}"))
    })
}
