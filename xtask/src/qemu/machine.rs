//! The command line of one QEMU.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use guest::Plan;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Signal, set_parent_process_death_signal},
};

use crate::scenario::{Disk, FORWARDED, Scenario};

/// The kernel calibrates the TSC against another timer at boot. In an emulated guest on a busy host
/// it once measured 101 MHz instead of 2596. The clock then ran 25 times too fast, until RCU
/// reported a stall. The HPET needs no calibration.
const CLOCK: &str = "clocksource=hpet tsc=unstable";

/// Two processors, and no device that a guest does not request.
const MACHINE: &[&str] = &[
    "-M",
    "q35",
    "-smp",
    "2",
    "-nic",
    "none",
    "-display",
    "none",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
];

/// One guest of a scenario.
pub struct Machine<'a> {
    /// The prefix of its log files.
    pub prefix: String,
    /// 0 for the judged guest.
    pub number: usize,
    /// Whether the daemon is in its image.
    pub daemon: bool,
    /// Its plan.
    pub plan: &'a Plan,
    megabytes: u32,
    disks: &'a [Disk],
    qemu: &'a [&'a str],
    forward: Option<u16>,
    cmdline: &'a str,
}

impl<'a> Machine<'a> {
    /// The judged guest, and its peers.
    pub fn of(scenario: &'a Scenario) -> Vec<Self> {
        let judged = Self {
            prefix: String::new(),
            number: 0,
            daemon: true,
            plan: &scenario.plan,
            megabytes: scenario.megabytes,
            disks: &scenario.disks,
            qemu: scenario.qemu,
            forward: scenario.forward,
            cmdline: scenario.cmdline,
        };
        let beside = scenario.peers.iter().zip(1..).map(|(peer, number)| Self {
            prefix: match number {
                1 => "peer-".to_owned(),
                more => format!("peer{more}-"),
            },
            number,
            daemon: peer.daemon,
            plan: &peer.plan,
            megabytes: peer.megabytes,
            disks: &peer.disks,
            qemu: &[],
            forward: peer.forward,
            cmdline: "",
        });
        std::iter::once(judged).chain(beside).collect()
    }

    /// Starts it. `wires` lead to the other guests' network cards.
    pub fn start(&self, files: &Start<'_>, wires: &[UnixStream]) -> Result<Child> {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(MACHINE)
            .args(processor(files.image))
            .args(["-m", &format!("{}M", self.megabytes)])
            .args(self.qemu)
            .arg("-kernel")
            .arg(files.image)
            .arg("-initrd")
            .arg(&files.initrd)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 rdinit=/init panic=-1 {CLOCK} {}",
                self.cmdline
            ));
        for path in [files.console, files.told] {
            command
                .arg("-serial")
                .arg(format!("file:{}", path.display()));
        }
        for (number, disk) in self.disks.iter().enumerate() {
            let name = if disk.shared {
                format!("shared{number}")
            } else {
                format!("{}disk{number}", self.prefix)
            };
            command
                .arg("-drive")
                .arg(drive(&files.scratch.join(name), *disk)?);
        }
        let wires = wires.iter().map(UnixStream::try_clone);
        let wires = wires.collect::<io::Result<Vec<_>>>()?;
        for (number, wire) in wires.iter().enumerate() {
            command.arg("-netdev").arg(format!(
                "stream,id=wire{number},server=off,addr.type=fd,addr.str={}",
                wire.as_raw_fd()
            ));
        }
        let card = match wires.len() {
            0 => None,
            1 => Some("wire0"),
            _ => Some("hub"),
        };
        if card == Some("hub") {
            for number in 0..wires.len() {
                command.arg("-netdev").arg(format!(
                    "hubport,id=port{number},hubid=0,netdev=wire{number}"
                ));
            }
            command.args(["-netdev", "hubport,id=hub,hubid=0"]);
        }
        if let Some(card) = card {
            command
                .arg("-device")
                // It is not a boot device, so it needs no ROM, which is in another package.
                .arg(format!(
                    "virtio-net-pci,netdev={card},romfile=,mac=52:54:00:00:07:{:02x}",
                    self.number + 1
                ));
        }
        if let Some(port) = self.forward {
            command
                .arg("-netdev")
                .arg(format!(
                    "user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:{port}-{FORWARDED}"
                ))
                .args(["-device", "virtio-net-pci,netdev=host,romfile="]);
        }
        let words = File::create(files.words)?;
        // SAFETY: between fork and exec there are only two system calls.
        unsafe {
            command.pre_exec(move || {
                for wire in &wires {
                    fcntl_setfd(wire.as_fd(), FdFlags::empty())?;
                }
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
            });
        }
        command
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words)
            .spawn()
            .context("qemu-system-x86_64 cannot be started: ./dev installs it")
    }
}

/// The files of one start.
pub struct Start<'a> {
    pub image: &'a Path,
    pub initrd: PathBuf,
    /// The directory for disks.
    pub scratch: &'a Path,
    pub console: &'a Path,
    pub told: &'a Path,
    /// The file for QEMU's own messages.
    pub words: &'a Path,
}

/// Uses hardware virtualization only if a test boot succeeds. Inside a container or another guest,
/// the device file alone proves nothing.
fn processor(image: &Path) -> &'static [&'static str] {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        let device = Path::new("/dev/kvm");
        File::options().read(true).write(true).open(device).is_ok() && kvm_boots(image)
    });
    if *works { KVM } else { TCG }
}

const KVM: &[&str] = &["-accel", "kvm", "-cpu", "host"];
const TCG: &[&str] = &["-accel", "tcg", "-cpu", "Nehalem,+rdrand"];

/// Boots a kernel without a root. With a working KVM it reaches its panic and QEMU ends. A broken
/// one refuses a register at once, or stops in the middle.
fn kvm_boots(image: &Path) -> bool {
    let Ok(mut child) = Command::new("qemu-system-x86_64")
        .args(MACHINE)
        .args(KVM)
        .args(["-m", "320M", "-append", "panic=-1", "-kernel"])
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return false;
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if let Ok(Some(status)) = child.try_wait() {
            return status.success();
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn drive(path: &Path, disk: Disk) -> Result<String> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?
        .set_len(4 << 30)
        .context("making a disk of 4 GiB, sparse")?;
    let mut words = format!("file={},format=raw,if=virtio,cache=unsafe", path.display());
    if disk.shared {
        // Both use the host's page cache, so one reads what the other has written.
        words.push_str(",file.locking=off");
    }
    if let Some(rate) = disk.bytes_per_second {
        words = format!("{words},throttling.bps-write={rate}");
    }
    Ok(words)
}
