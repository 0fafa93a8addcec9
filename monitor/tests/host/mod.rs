//! What the tests on this kernel share: the daemon as a process, a small ext4
//! on a loop device, an independent count of a tracepoint. Everything that is
//! made is taken away again when it is dropped.

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

/// A running daemon.
pub struct Daemon {
    child: Child,
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

    /// Ends it by SIGTERM and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An ext4 on a loop device.
pub struct LoopDisk {
    dir: tempfile::TempDir,
    /// Its BDI's name.
    pub bdi: String,
}

impl LoopDisk {
    /// Makes and mounts it.
    pub fn new(megabytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("mnt"));
        fs::File::create(&image)
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
        fs::create_dir(&at).unwrap();
        sh("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        sh(
            "mount",
            &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()],
        );
        let bdi = sh("mountpoint", &["-d", at.to_str().unwrap()]);
        Self { dir, bdi }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// A file of /proc/sys with another value for a while.
pub struct Sysctl {
    path: PathBuf,
    before: String,
}

impl Sysctl {
    /// Writes the value. `restore` is the file to write back: `dirty_bytes`
    /// and `dirty_ratio` are two views of one setting, and the one that was
    /// not in force reads as zero, which cannot be written.
    pub fn set(path: &str, value: &str, other: &str) -> Self {
        let now = fs::read_to_string(path).unwrap();
        let (restore, before) = if now.trim() == "0" {
            (other, fs::read_to_string(other).unwrap())
        } else {
            (path, now)
        };
        fs::write(path, value).unwrap();
        Self {
            path: restore.into(),
            before,
        }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.before);
    }
}

/// The kernel's own count of the pauses on one BDI: an instance of tracefs.
pub struct Trace {
    mount: tempfile::TempDir,
    instance: PathBuf,
}

impl Trace {
    /// Starts to count.
    pub fn balance_dirty_pages(bdi: &str) -> Self {
        let mount = tempfile::tempdir().unwrap();
        sh(
            "mount",
            &["-t", "tracefs", "tracefs", mount.path().to_str().unwrap()],
        );
        let instance = mount
            .path()
            .join(format!("instances/throttle-monitor-{}", std::process::id()));
        fs::create_dir(&instance).unwrap();
        let event = instance.join("events/writeback/balance_dirty_pages");
        // With no pause, the kernel lets the task go.
        let filter = format!("bdi == \"{bdi}\" && pause > 0");
        fs::write(event.join("filter"), filter).unwrap();
        fs::write(instance.join("buffer_size_kb"), "8192").unwrap();
        fs::write(event.join("enable"), "1").unwrap();
        Self { mount, instance }
    }

    /// Events so far, whether or not the trace buffer still holds them.
    pub fn events(&self) -> u64 {
        let cpus = fs::read_dir(self.instance.join("per_cpu")).unwrap();
        cpus.map(|cpu| Self::of_cpu(&cpu.unwrap().path())).sum()
    }

    /// The pauses that the trace buffer holds, as the kernel announced them, each with the
    /// time that its call had lasted until then.
    #[allow(dead_code, reason = "not every test binary asks")]
    pub fn pauses(&self) -> Vec<(Duration, Duration)> {
        let text = fs::read_to_string(self.instance.join("trace")).unwrap();
        let pauses = text.lines().filter_map(|line| {
            let field = |name: &str| {
                let (_, rest) = line.split_once(name)?;
                rest.split(' ')
                    .next()?
                    .parse()
                    .ok()
                    .map(Duration::from_millis)
            };
            Some((field(" pause=")?, field(" paused=")?))
        });
        pauses.collect()
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

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::write(self.instance.join("events/enable"), "0");
        let _ = fs::remove_dir(&self.instance);
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}
