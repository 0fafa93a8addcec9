//! Runs the guests of one scenario.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use guest::{Event, Fact, Step};

use crate::{
    Files, initramfs,
    kernels::{Kernel, Unpacked},
    scenario::Scenario,
};

mod machine;

use machine::{Machine, Start};

/// The kernel's message about a processor that makes no progress.
pub const STALL: &str = "rcu: INFO:";

/// The kernel's last message if memory is exhausted and there is no process to kill.
pub const NOBODY_TO_KILL: &str = "System is deadlocked on memory";

/// Kernel messages that make a run worthless. Hung tasks are not among them: in a livelock they are
/// expected.
const FATAL: &[&str] = &[
    "Kernel panic",
    "Oops:",
    "BUG: ",
    STALL,
    "general protection fault",
];

/// The result of running the guests.
pub struct Outcome {
    /// All facts of the judged guest.
    pub facts: Vec<Fact>,
    /// All facts of each of its peers, by that peer's clock.
    pub peers: Vec<Vec<Fact>>,
    /// The problem that the host observed.
    pub trouble: Option<String>,
    /// The duration.
    pub took: Duration,
    /// The average load, in percent of one host processor.
    pub busy: u64,
    /// Console and facts.
    pub logs: PathBuf,
}

impl Outcome {
    /// An outcome from the facts of an earlier play.
    pub fn told(facts: Vec<Fact>, peers: Vec<Vec<Fact>>, logs: &Path) -> Self {
        Self {
            facts,
            peers,
            trouble: None,
            took: Duration::ZERO,
            busy: 0,
            logs: logs.to_owned(),
        }
    }

    /// All facts of its first peer.
    pub fn peer(&self) -> &[Fact] {
        self.peers.first().map_or(&[], Vec::as_slice)
    }
}

/// Boots, and watches until the judged guest's plan is over, a kernel panics, or time is up. `each`
/// receives the facts at once, with the number of the guest: 0 is the judged one.
pub fn play(
    kernel: Kernel,
    scenario: &Scenario,
    base: &[u8],
    files: &Files,
    each: &mut dyn FnMut(usize, &Fact),
) -> Result<Outcome> {
    let logs = files.logs.join(format!("{kernel}-{}", scenario.name));
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let scratch = tempfile::tempdir_in(&files.logs).context("making a temporary directory")?;
    let image = Unpacked::find(kernel, &files.cache)?.image;
    let start = Instant::now();
    let mut cables = cables(scenario.peers.len())?.into_iter();
    let mut guests = Vec::new();
    for machine in Machine::of(scenario) {
        let ends = cables.next().unwrap_or_default();
        let log = |name: &str| logs.join(format!("{}{name}", machine.prefix));
        let (console, told) = (log("console.log"), log("facts.jsonl"));
        for path in [&console, &told] {
            fs::write(path, "")?;
        }
        let initrd = scratch.path().join(format!("{}initrd", machine.prefix));
        let daemon = files.daemon.as_deref().filter(|_| machine.daemon);
        let overlay = initramfs::overlay(machine.plan, daemon)?;
        fs::write(&initrd, [base, &overlay].concat())?;
        let files = Start {
            image: &image,
            initrd,
            scratch: scratch.path(),
            console: &console,
            told: &told,
            words: &log("qemu.log"),
        };
        guests.push(Guest {
            child: machine.start(&files, &ends)?,
            console: Tail::open(&console)?,
            told: Tail::open(&told)?,
            facts: Vec::new(),
            over: false,
            logs: logs.clone(),
            death: serde_json::to_string(&Step::Die)?,
            machine,
        });
    }
    // The initramfs and the disks are unlinked once every QEMU has them open, so that nothing is
    // left behind.
    let mut scratch = Some(scratch);
    let trouble = loop {
        let mut trouble = None;
        for guest in &mut guests {
            trouble = trouble.or(guest.look(each)?);
        }
        if trouble.is_some() || guests.first().is_none_or(|judged| judged.over) {
            break trouble;
        }
        if guests.iter().all(|guest| !guest.facts.is_empty()) {
            scratch = None;
        }
        if start.elapsed() > Duration::from_secs(scenario.seconds) {
            break Some(format!("not over after {} s", scenario.seconds));
        }
        thread::sleep(Duration::from_millis(100));
    };
    drop(scratch);
    let cpu: u64 = guests.iter().map(|guest| cpu_ms(&guest.child)).sum();
    let mut facts = guests
        .iter_mut()
        .map(|guest| std::mem::take(&mut guest.facts));
    Ok(Outcome {
        facts: facts.next().unwrap_or_default(),
        peers: facts.collect(),
        trouble,
        took: start.elapsed(),
        busy: cpu * 100
            / u64::try_from(start.elapsed().as_millis())
                .unwrap_or(1)
                .max(1),
        logs,
    })
}

/// The cables of each guest: one from each peer to the judged guest, which is their hub. A pair of
/// sockets serves as a cable. It has no port and no name, and ends with the guests.
fn cables(peers: usize) -> Result<Vec<Vec<UnixStream>>> {
    let mut all = vec![Vec::new()];
    for _ in 0..peers {
        let (hub, end) = UnixStream::pair().context("making a cable")?;
        all.iter_mut()
            .take(1)
            .for_each(|ends| ends.extend(hub.try_clone()));
        all.push(vec![end]);
    }
    Ok(all)
}

/// The processor time of a running child.
fn cpu_ms(child: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    // They follow the name, which may contain anything: `utime` and `stime` are the 12th and 13th
    // word, in hundredths of a second.
    let words = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks = words
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok());
    ticks.sum::<u64>() * 10
}

/// A running QEMU. It ends with this value and with the thread that started it.
struct Guest<'a> {
    machine: Machine<'a>,
    child: Child,
    console: Tail,
    told: Tail,
    facts: Vec<Fact>,
    /// Its plan is over, or it ended as planned.
    over: bool,
    /// The directory of its files.
    logs: PathBuf,
    /// The message before a planned end.
    death: String,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest<'_> {
    /// Appends a part of a file from the guest, beside its logs.
    fn keep(&self, name: &str, offset: u64, content: &str) -> Result<()> {
        let name = Path::new(name)
            .file_name()
            .context("a file without a name")?;
        let path = self
            .logs
            .join(format!("{}{}", self.machine.prefix, name.display()));
        let content = BASE64.decode(content.as_bytes()).context("not in base64")?;
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(offset == 0)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&content)?;
        Ok(())
    }

    /// Reads new output; returns the problem, if any.
    fn look(&mut self, each: &mut dyn FnMut(usize, &Fact)) -> Result<Option<String>> {
        // Check this first, so that its last output is not missed.
        let gone = self.child.try_wait()?;
        for line in self.told.lines()? {
            // The end of the guest may truncate a line, which is not a fact.
            if let Ok(fact) = serde_json::from_str::<Fact>(&line) {
                if let Event::File {
                    name,
                    offset,
                    content,
                } = &fact.event
                {
                    self.keep(name, *offset, content)?;
                    continue;
                }
                each(self.machine.number, &fact);
                // A sample may follow the end.
                self.over |= match &fact.event {
                    Event::End => true,
                    Event::Step(words) => *words == self.death,
                    _ => false,
                };
                self.facts.push(fact);
            }
        }
        let prefix = &self.machine.prefix;
        let fatal = self
            .console
            .lines()?
            .into_iter()
            .find(|line| FATAL.iter().any(|word| line.contains(word)));
        if let Some(line) = fatal {
            return Ok(Some(format!(
                "the kernel broke down: {}: see {prefix}console.log",
                line.trim()
            )));
        }
        Ok(gone.filter(|_| !self.over).map(|status| {
            format!(
                "QEMU ended before the plan did ({status}): \
                     see {prefix}console.log and {prefix}qemu.log"
            )
        }))
    }
}

/// Reads lines as they are appended to a file.
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
