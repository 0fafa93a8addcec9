//! One guest, from start to end.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use guest::{Event, Fact};
use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::{
    Files, initramfs,
    kernels::{Kernel, Unpacked},
    scenario::{Disk, Scenario},
};

/// The kernel measures the TSC against another timer while it boots. Emulated,
/// on a busy host, it was seen to find 101 MHz for 2596: its clock then ran 25
/// times too fast, until RCU called it a stall. The HPET needs no measuring.
const CLOCK: &str = "clocksource=hpet tsc=unstable";

/// Lines of the kernel's log that make a run worthless. Hung tasks are not
/// among them: in a livelock they are the point.
const FATAL: &[&str] = &[
    "Kernel panic",
    "Oops:",
    "BUG: ",
    "rcu: INFO:",
    "general protection fault",
];

/// Two processors, and nothing that a guest does not ask for.
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

/// What came of a guest.
pub struct Outcome {
    /// All that it told.
    pub facts: Vec<Fact>,
    /// What the host saw go wrong.
    pub trouble: Option<String>,
    /// From start to end.
    pub took: Duration,
    /// Console and facts.
    pub logs: PathBuf,
}

/// Boot, and watch until the plan is over, the kernel panics, or time is up.
pub fn play(
    kernel: Kernel,
    scenario: &Scenario,
    base: &[u8],
    files: &Files,
    each: &mut dyn FnMut(&Fact),
) -> Result<Outcome> {
    let logs = files.logs.join(format!("{kernel}-{}", scenario.name));
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let console = logs.join("console.log");
    let told = logs.join("facts.jsonl");
    for path in [&console, &told] {
        fs::write(path, "")?;
    }
    let scratch = tempfile::tempdir_in(&files.logs).context("making a temporary directory")?;
    let initrd = scratch.path().join("initrd");
    let overlay = initramfs::overlay(&scenario.plan, files.daemon.as_deref())?;
    fs::write(&initrd, [base, &overlay].concat())?;

    let image = Unpacked::find(kernel, &files.cache)?.image;
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(MACHINE)
        .args(processor(&image))
        .args(["-m", &format!("{}M", scenario.megabytes)])
        .args(scenario.qemu)
        .arg("-kernel")
        .arg(&image)
        .arg("-initrd")
        .arg(&initrd)
        .arg("-append")
        .arg(format!(
            "console=ttyS0 rdinit=/init panic=-1 {CLOCK} {}",
            scenario.cmdline
        ));
    for path in [&console, &told] {
        command
            .arg("-serial")
            .arg(format!("file:{}", path.display()));
    }
    for (number, disk) in scenario.disks.iter().enumerate() {
        command
            .arg("-drive")
            .arg(drive(&scratch.path().join(format!("disk{number}")), *disk)?);
    }
    let words = File::create(logs.join("qemu.log"))?;
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(words.try_clone()?)
        .stderr(words)
        .spawn()
        .context("qemu-system-x86_64 cannot be started: ./dev installs it")?;
    Guest {
        child,
        scratch: Some(scratch),
        facts: Vec::new(),
    }
    .watch(
        scenario,
        logs,
        &mut Tail::open(&console)?,
        &mut Tail::open(&told)?,
        each,
    )
}

/// Hardware virtualisation is taken only if it works when tried: a device file
/// alone says nothing, as inside a container or another guest.
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

/// Boot a kernel with no root: it gets to its panic and QEMU ends, or KVM is
/// no good. Some refuse a register at once, others stop in the middle.
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
    File::create(path)?
        .set_len(4 << 30)
        .context("making a disk of 4 GiB, sparse")?;
    let mut words = format!("file={},format=raw,if=virtio,cache=unsafe", path.display());
    if let Some(rate) = disk.bytes_per_second {
        words = format!("{words},throttling.bps-write={rate}");
    }
    Ok(words)
}

/// A running QEMU; it outlives neither this value nor the thread that started it.
struct Guest {
    child: Child,
    /// The initramfs and the disks. Their names go as soon as QEMU has them open, so
    /// that nothing is left behind however this ends.
    scratch: Option<TempDir>,
    facts: Vec<Fact>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest {
    fn watch(
        mut self,
        scenario: &Scenario,
        logs: PathBuf,
        console: &mut Tail,
        told: &mut Tail,
        each: &mut dyn FnMut(&Fact),
    ) -> Result<Outcome> {
        let start = Instant::now();
        // A sample may still come behind the end.
        let mut over = false;
        let trouble = loop {
            let gone = self.child.try_wait()?;
            for line in told.lines()? {
                // A line cut short by the end of the guest is no fact.
                if let Ok(fact) = serde_json::from_str::<Fact>(&line) {
                    self.scratch = None;
                    each(&fact);
                    over |= matches!(fact.event, Event::End);
                    self.facts.push(fact);
                }
            }
            let fatal = console
                .lines()?
                .into_iter()
                .find(|line| FATAL.iter().any(|word| line.contains(word)));
            if let Some(line) = fatal {
                break Some(format!("the kernel broke down: {}", line.trim()));
            }
            if over {
                break None;
            }
            if let Some(status) = gone {
                break Some(format!(
                    "QEMU ended before the plan did ({status}): see console.log and qemu.log"
                ));
            }
            if start.elapsed() > Duration::from_secs(scenario.seconds) {
                break Some(format!("not over after {} s", scenario.seconds));
            }
            thread::sleep(Duration::from_millis(100));
        };
        Ok(Outcome {
            facts: std::mem::take(&mut self.facts),
            trouble,
            took: start.elapsed(),
            logs,
        })
    }
}

/// Reads the lines that were added to a file.
struct Tail {
    file: File,
    rest: String,
    at: u64,
}

impl Tail {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            rest: String::new(),
            at: 0,
        })
    }

    fn lines(&mut self) -> Result<Vec<String>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.at))?;
        self.at += self.file.read_to_end(&mut bytes)? as u64;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let mut lines = Vec::new();
        while let Some((line, rest)) = self.rest.split_once('\n') {
            lines.push(line.to_owned());
            self.rest = rest.to_owned();
        }
        Ok(lines)
    }
}
