//! What the tests on this kernel share: the daemon as a process, a small ext4
//! on a loop device, an independent count of a tracepoint. Everything that is
//! made is taken away again when it is dropped, or when the test is killed.
//!
//! The machine may be any: tracefs mounted or not, /tmp in memory, another run of the same
//! tests beside this one. What it lacks makes a test say so and end.

#[allow(dead_code, reason = "not every test needs all of it")]
mod undo;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_throttle-monitor");

/// Runs a command that must succeed, and gives its output.
pub fn sh(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[allow(unused_imports, reason = "not every test needs it")]
pub use undo::has_capabilities;
pub use undo::{Undo, skip};

/// The machine's settings are those of one test, in whichever process, until this is
/// dropped.
pub struct Alone(#[expect(dead_code, reason = "the lock ends with it")] fs::File);

impl Alone {
    /// Waits for its turn.
    pub fn new() -> Self {
        // One place for all: not in a directory that TMPDIR names.
        let path = "/tmp/throttle-monitor-tests.lock";
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        file.lock().unwrap();
        Self(file)
    }
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    undo: Undo,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts it on a free port and waits until it says which.
    pub fn start(args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--web.listen-address", "127.0.0.1:0"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().to_string();
        let undo = Undo::shell("kill -KILL $1; true", &[&pid]);
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let address = lines
            .find_map(|line| {
                Some(
                    line.split_once("message=listening address=")?
                        .1
                        .split(' ')
                        .next()?
                        .to_owned(),
                )
            })
            .expect("the daemon ended before it listened");
        // Read on, so that the daemon's log never blocks.
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines {
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        let daemon = Self {
            child,
            undo,
            address,
            log,
        };
        for _ in 0..100 {
            if daemon.get("/-/ready").0 == 200 {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("not ready: {}", daemon.get("/-/ready").1);
    }

    /// The status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    /// The sum of a metric's series that have all these labels.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('{'))
            })
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged after it listened.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The address that it listens on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends it a signal; a minimal Debian has no program `kill`.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it by SIGTERM and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its number is anybody's from now on.
        self.undo.forget();
    }
}

/// A directory on a disk: pages of a tmpfs are never dirty.
fn on_disk() -> Option<tempfile::TempDir> {
    let places = [
        Path::new(env!("CARGO_TARGET_TMPDIR")),
        Path::new("/var/tmp"),
        &std::env::temp_dir(),
    ];
    let dirs = places.into_iter().filter_map(|place| {
        const TMPFS: i64 = 0x0102_1994;
        const RAMFS: i64 = 0x8584_58f6;
        let kind = rustix::fs::statfs(place).ok()?.f_type;
        (![TMPFS, RAMFS].contains(&kind)).then(|| tempfile::tempdir_in(place).ok())?
    });
    dirs.into_iter().next()
}

/// An ext4 on a loop device.
pub struct LoopDisk {
    // Before the directory, which is emptied when it goes.
    _undo: Undo,
    dir: tempfile::TempDir,
    /// Its BDI's name.
    pub bdi: String,
}

impl LoopDisk {
    /// Makes and mounts it; `None`, and says so, where that is not possible.
    pub fn new(megabytes: u64) -> Option<Self> {
        let Some(dir) = on_disk() else {
            skip("no directory on a disk: loop devices lie on files that are never dirty");
            return None;
        };
        let (image, at) = (dir.path().join("image"), dir.path().join("mnt"));
        fs::File::create(&image)
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
        fs::create_dir(&at).unwrap();
        sh("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let undo = Undo::shell(
            "! mountpoint -q \"$1\" || umount \"$1\" && rm -rf \"$2\"",
            &[at.to_str().unwrap(), dir.path().to_str().unwrap()],
        );
        let mount = Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &at])
            .output();
        let mount = mount.unwrap();
        if !mount.status.success() {
            let why = String::from_utf8_lossy(&mount.stderr);
            let known = !Path::new("/dev/loop-control").exists()
                || why.contains("failed to setup loop device");
            assert!(known, "{why}");
            skip(&format!("no loop device here: {}", why.trim()));
            return None;
        }
        let bdi = sh("mountpoint", &["-d", at.to_str().unwrap()]);
        Some(Self {
            _undo: undo,
            dir,
            bdi,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

/// A file of /proc/sys with another value for a while, in which no other test changes one.
pub struct Sysctl {
    _undo: Undo,
    // After that: the next test finds the old value.
    _alone: Alone,
}

impl Sysctl {
    /// Writes the value. `restore` is the file to write back: `dirty_bytes`
    /// and `dirty_ratio` are two views of one setting, and the one that was
    /// not in force reads as zero, which cannot be written.
    /// `None`, and says so, where it cannot be written.
    pub fn set(path: &str, value: &str, other: &str) -> Option<Self> {
        let alone = Alone::new();
        let now = fs::read_to_string(path).unwrap();
        let (restore, before) = if now.trim() == "0" {
            (other, fs::read_to_string(other).unwrap())
        } else {
            (path, now)
        };
        let undo = Undo::shell("echo \"$1\" >\"$2\"", &[before.trim(), restore]);
        if let Err(error) = fs::write(path, value) {
            skip(&format!("{path} cannot be written: {error}"));
            return None;
        }
        Some(Self {
            _undo: undo,
            _alone: alone,
        })
    }
}

/// A pause, as the kernel announced it.
pub struct Pause {
    /// Its task: name and id.
    pub task: String,
    /// When it began.
    pub at: Duration,
    pub announced: Duration,
    /// What its call had lasted until then.
    pub before: Duration,
}

impl Pause {
    /// `dd-4711 [001] .....  12.345678: balance_dirty_pages: bdi ... pause=8 ... paused=76 ...`
    fn parse(line: &str) -> Option<Self> {
        let (head, fields) = line.split_once(": balance_dirty_pages: ")?;
        let (task, _) = head.trim_start().split_once(" [")?;
        let at: f64 = head.rsplit(' ').next()?.parse().ok()?;
        let field = |name: &str| {
            let (_, rest) = fields.split_once(name)?;
            let number = rest.split(' ').next()?.parse().ok()?;
            Some(Duration::from_millis(number))
        };
        Some(Self {
            task: task.trim_end().to_owned(),
            at: Duration::from_secs_f64(at),
            announced: field(" pause=")?,
            before: field(" paused=")?,
        })
    }
}

/// The kernel's own count of the pauses on one BDI: an instance of tracefs.
pub struct Trace {
    instance: PathBuf,
    // Before the mount's.
    _made: Undo,
    _mounted: Option<Undo>,
    _mount: tempfile::TempDir,
}

impl Trace {
    /// Starts to count.
    pub fn balance_dirty_pages(bdi: &str) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let own = mount.path().to_str().unwrap();
        let there = Path::new("/sys/kernel/tracing");
        // Beside the machine's own, where it has one, a second mount is of the same files.
        let (root, mounted) = if there.join("instances").exists() {
            (there, None)
        } else {
            sh("mount", &["-t", "tracefs", "tracefs", own]);
            (mount.path(), Some(Undo::new("umount", &[own])))
        };
        let instance = root.join(format!("instances/throttle-monitor-{}", std::process::id()));
        fs::create_dir(&instance).unwrap();
        let made = Undo::shell(
            "echo 0 >\"$1/events/enable\"; rmdir \"$1\"",
            &[instance.to_str().unwrap()],
        );
        let event = instance.join("events/writeback/balance_dirty_pages");
        // With no pause, the kernel lets the task go.
        let filter = format!("bdi == \"{bdi}\" && pause > 0");
        fs::write(event.join("filter"), filter).unwrap();
        fs::write(instance.join("buffer_size_kb"), "8192").unwrap();
        fs::write(event.join("enable"), "1").unwrap();
        Self {
            instance,
            _made: made,
            _mounted: mounted,
            _mount: mount,
        }
    }

    /// Events so far, whether or not the trace buffer still holds them.
    pub fn events(&self) -> u64 {
        let cpus = fs::read_dir(self.instance.join("per_cpu")).unwrap();
        cpus.map(|cpu| Self::of_cpu(&cpu.unwrap().path())).sum()
    }

    /// The pauses that the trace buffer holds, in the order of time.
    #[allow(dead_code, reason = "not every test binary asks")]
    pub fn pauses(&self) -> Vec<Pause> {
        let text = fs::read_to_string(self.instance.join("trace")).unwrap();
        text.lines().filter_map(Pause::parse).collect()
    }

    fn of_cpu(cpu: &Path) -> u64 {
        let stats = fs::read_to_string(cpu.join("stats")).unwrap();
        let counted = |line: &&str| line.starts_with("entries:") || line.starts_with("overrun:");
        stats
            .lines()
            .filter(counted)
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}
