//! Block devices that a server on this node, or on another one, provides.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::{BlockExport, BlockServer, BlockStep, BlockWrites, DAEMON};
use rustix::mount::{MountFlags, mount};

use super::{command, ganesha, processes};
use crate::tell;

/// The name of the exported target.
const TARGET: &str = "iqn.2026-01.test:disk";
/// The name of this node as a client.
const NODE: &str = "iqn.2026-01.test:node";

/// Where configfs is mounted.
const CONFIGFS: &str = "/sys/kernel/config";
/// The two ends of `tcm_loop`.
const LOOPBACK: [&str; 2] = ["naa.6001405a1b2c3d4e", "naa.6001405a1b2c3d4f"];

/// How long to wait for a server or a device.
const PATIENCE: Duration = Duration::from_secs(30);

/// Execute the step.
pub fn play(step: &BlockStep) -> Result<()> {
    match step {
        BlockStep::Serve(export) => serve(export),
        BlockStep::Attach { server, address } => attach(*server, address),
    }
}

fn serve(export: &BlockExport) -> Result<()> {
    fs::File::create(&export.file)
        .and_then(|file| file.set_len(export.megabytes << 20))
        .with_context(|| format!("making {}", export.file))?;
    match export.server {
        BlockServer::QemuNbd => qemu_nbd(export, &["-c", "/dev/nbd0"]),
        BlockServer::QemuNbdTcp => qemu_nbd(export, &["-t", "-b", "0.0.0.0"]),
        BlockServer::NbdServer => nbd_server(export),
        BlockServer::Nbdkit => nbdkit(export),
        BlockServer::Lio => lio(export).and_then(|store| loopback(&store)),
        BlockServer::LioIscsi => lio(export).and_then(|store| iscsi(&store)),
        BlockServer::Tgtd => tgtd(export),
    }
}

fn qemu_nbd(export: &BlockExport, more: &[&str]) -> Result<()> {
    // Its sockets are there.
    fs::create_dir_all("/var/lock")?;
    let cache = match export.writes {
        BlockWrites::Cached => "--cache=writeback",
        BlockWrites::Synced => "--cache=writethrough",
        BlockWrites::Direct => "--cache=none",
    };
    let words = [&["qemu-nbd", "-f", "raw", cache][..], more, &[&export.file]].concat();
    let child = start(export, &words)?;
    if export.server == BlockServer::QemuNbd {
        has_size(export.server)?;
        return tell_server("qemu-nbd");
    }
    listens(child, export.server)?;
    tell_server("qemu-nbd")
}

fn nbdkit(export: &BlockExport) -> Result<()> {
    let child = start(export, &["nbdkit", "-f", "file", &export.file])?;
    listens(child, export.server)?;
    tell_server("nbdkit")
}

fn nbd_server(export: &BlockExport) -> Result<()> {
    let file = &export.file;
    let sync = export.writes == BlockWrites::Synced;
    fs::write(
        "/etc/nbd.conf",
        format!("[generic]\n[disk]\nexportname = {file}\nsync = {sync}\n"),
    )?;
    // It serves each client in a process of its own, but not with `-d`.
    start(export, &["nbd-server", "-C", "/etc/nbd.conf"])?.wait()?;
    reaches(export.server)?;
    tell_server("nbd-server")
}

fn tgtd(export: &BlockExport) -> Result<()> {
    fs::create_dir_all("/run/tgtd")?;
    start(export, &["tgtd", "-f"])?;
    let manage = |words: &[&str]| command("tgtadm", &[&["--lld", "iscsi"], words].concat());
    let begin = Instant::now();
    let target = [
        "--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET,
    ];
    while let Err(error) = manage(&target) {
        if begin.elapsed() > PATIENCE {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(200));
    }
    let unit = ["--op", "new", "--mode", "logicalunit", "--tid", "1"];
    let flags = match export.writes {
        BlockWrites::Cached => &[][..],
        BlockWrites::Synced => &["--bsoflags", "sync"],
        BlockWrites::Direct => &["--bsoflags", "direct"],
    };
    manage(&[&unit[..], &["--lun", "1", "-b", &export.file], flags].concat())?;
    manage(&[
        "--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL",
    ])?;
    tell_server("tgtd")
}

/// The path of a new backstore on this file.
fn lio(export: &BlockExport) -> Result<String> {
    if !Path::new(&format!("{CONFIGFS}/target")).exists() {
        mount("none", CONFIGFS, "configfs", MountFlags::empty(), None)
            .context("mounting configfs")?;
    }
    let store = format!("{CONFIGFS}/target/core/fileio_0/disk");
    fs::create_dir_all(&store).with_context(|| store.clone())?;
    let size = export.megabytes << 20;
    let how = match export.writes {
        BlockWrites::Cached => ",fd_buffered_io=1",
        // Any value but 1 is refused: without the word, the file is open with O_DSYNC.
        BlockWrites::Synced => "",
        BlockWrites::Direct => ",fd_async_io=1",
    };
    let control = format!("fd_dev_name={},fd_dev_size={size}{how}", export.file);
    fs::write(format!("{store}/control"), control).context("the backstore")?;
    fs::write(format!("{store}/enable"), "1").context("enabling the backstore")?;
    Ok(store)
}

/// Attach the backstore in the kernel.
fn loopback(store: &str) -> Result<()> {
    let [wwn, nexus] = LOOPBACK;
    let group = format!("{CONFIGFS}/target/loopback/{wwn}/tpgt_1");
    fs::create_dir_all(&group).with_context(|| group.clone())?;
    fs::write(format!("{group}/nexus"), nexus).context("the nexus")?;
    unit(&group, store)
}

/// Export the backstore to any client.
fn iscsi(store: &str) -> Result<()> {
    let group = format!("{CONFIGFS}/target/iscsi/{TARGET}/tpgt_1");
    fs::create_dir_all(&group).with_context(|| group.clone())?;
    unit(&group, store)?;
    for (name, value) in [
        ("authentication", "0"),
        ("generate_node_acls", "1"),
        ("demo_mode_write_protect", "0"),
        ("cache_dynamic_acls", "1"),
    ] {
        fs::write(format!("{group}/attrib/{name}"), value).context(name)?;
    }
    let portal = format!("{group}/np/0.0.0.0:{}", BlockServer::LioIscsi.port());
    fs::create_dir(&portal).context(portal)?;
    fs::write(format!("{group}/enable"), "1").context("enabling the target")
}

fn unit(group: &str, store: &str) -> Result<()> {
    let unit = format!("{group}/lun/lun_0");
    fs::create_dir_all(&unit).with_context(|| unit.clone())?;
    symlink(store, format!("{unit}/disk")).context(unit)
}

/// Start a server, with the exemption if it is to have one.
fn start(export: &BlockExport, words: &[&str]) -> Result<Child> {
    let prefix = [DAEMON, "io-flusher", "--"];
    let words = if export.exempt {
        [&prefix[..], words].concat()
    } else {
        words.to_vec()
    };
    let (program, arguments) = words.split_first().context("no program")?;
    Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {program}"))
}

fn listens(mut child: Child, server: BlockServer) -> Result<()> {
    reaches(server).with_context(|| match child.try_wait() {
        Ok(Some(status)) => format!("it ended with {status}; its words are in the console log"),
        _ => "it still runs".to_owned(),
    })
}

fn reaches(server: BlockServer) -> Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", server.port())).is_err() {
        if begin.elapsed() > PATIENCE {
            bail!("nothing listens on port {}", server.port());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn tell_server(name: &str) -> Result<()> {
    let server = processes(name).into_iter().next();
    let server =
        server.with_context(|| format!("{name} ended; its words are in the console log"))?;
    tell::event(ganesha::server(server.as_raw_pid().unsigned_abs())?);
    Ok(())
}

fn attach(server: BlockServer, address: &str) -> Result<()> {
    let (device, port) = (server.device(), server.port().to_string());
    match server {
        BlockServer::QemuNbd | BlockServer::Lio => {}
        BlockServer::QemuNbdTcp | BlockServer::Nbdkit => {
            command("nbd-client", &[address, &port, device])?;
        }
        BlockServer::NbdServer => {
            command("nbd-client", &["-N", "disk", address, &port, device])?;
        }
        BlockServer::LioIscsi | BlockServer::Tgtd => {
            let own = ["-i", NODE, "-t", TARGET, "-g", "1"];
            command(
                "iscsistart",
                &[&own[..], &["-a", address, "-p", &port]].concat(),
            )?;
        }
    }
    has_size(server)
}

/// An NBD device exists before it is attached, with a size of zero.
fn has_size(server: BlockServer) -> Result<()> {
    let device = server.device();
    let name = device.trim_start_matches("/dev/");
    let size = || {
        let text = fs::read_to_string(format!("/sys/block/{name}/size"));
        text.is_ok_and(|text| text.trim() != "0") && Path::new(device).exists()
    };
    let begin = Instant::now();
    while !size() {
        if begin.elapsed() > PATIENCE {
            bail!("{device} was not attached; the server's words are in the console log");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
