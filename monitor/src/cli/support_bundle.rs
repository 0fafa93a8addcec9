//! `support-bundle`: writes the data for a bug report into one file, without secrets.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use flate2::{Compression, write::GzEncoder};
use monitor_collector::host::local_path::refuse_nfs;
use serde::Serialize;
use serde_json::Value;

use super::{
    check,
    daemon::{self, Access, AccessArgs, DaemonClient},
    exit, facts,
    flags::{ConfigArgs, KernelArgs, SERVICE},
    start,
};

/// The paths of the API that are read.
const ASKED: [&str; 9] = [
    "bdis", "guard", "history", "loops", "node", "probes", "stalls", "tasks", "verdicts",
];

/// Maximum number of evidence documents, the newest.
const MAX_EVIDENCE: usize = 8;

/// Timeout for one answer of the daemon.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum bytes of a file of this node.
const MAX_BYTES: u64 = 1 << 20;

/// Files below procfs to copy: settings and totals, nothing about stored data.
const PROC_FILES: [&str; 9] = [
    "version",
    "meminfo",
    "vmstat",
    "sys/vm/dirty_background_bytes",
    "sys/vm/dirty_background_ratio",
    "sys/vm/dirty_bytes",
    "sys/vm/dirty_ratio",
    "sys/kernel/hung_task_timeout_secs",
    "fs/nfsd/threads",
];

/// Arguments of `support-bundle`.
#[derive(Debug, Args)]
pub struct SupportBundleArgs {
    /// File to write, a new one; `-` for stdout. By default it is named after the host and the time,
    /// in the current directory.
    #[arg(short, long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The running daemon to ask.
    #[arg(long, value_name = "URL", default_value = daemon::DEFAULT, value_parser = daemon::url)]
    pub url: String,
    /// How to log in to it.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Flags shared with `run`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// Writes the bundle.
///
/// # Errors
///
/// The file cannot be written.
pub fn support_bundle(args: &SupportBundleArgs) -> anyhow::Result<ExitCode> {
    // First, so that a mistake in it leaves no file behind.
    let access = args.access.access()?;
    let now = SystemTime::now();
    let host = start::node_name();
    let root = format!("throttle-monitor-{}-{}", plain(&host), stamp(now));
    let (into, name): (Box<dyn Write>, String) = match args.output.as_deref() {
        Some(path) if path == Path::new("-") => (Box::new(io::stdout()), "stdout".to_owned()),
        given => {
            let path = given.map_or_else(|| format!("{root}.tar.gz").into(), Path::to_owned);
            refuse_nfs(&args.kernel.procfs, &path).context("give another with -o")?;
            (Box::new(new_file(&path)?), path.display().to_string())
        }
    };
    let mut bundle = Bundle::new(into, root, now);
    bundle.collect(args, &access);
    let missing = bundle.missing.len();
    bundle
        .finish()
        .with_context(|| format!("cannot write {name}"))?;
    eprintln!(
        "{name}: written. Look through it before you send it: it names hosts, mounts and processes."
    );
    if missing > 0 {
        eprintln!("Missing parts: {missing}. README.txt in it says which and why.");
        return Ok(ExitCode::from(exit::DEGRADED));
    }
    Ok(ExitCode::SUCCESS)
}

fn new_file(path: &Path) -> anyhow::Result<fs::File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| {
        format!(
            "cannot create {}: give the name of a new file with -o",
            path.display()
        )
    })
}

/// A name that is safe as part of a file name.
fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if name.is_empty() {
        "node".to_owned()
    } else {
        name
    }
}

/// `20251009T085320Z`.
fn stamp(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace(['-', ':'], "")
}

/// The file in progress. Read errors are noted in it, and do not stop it.
struct Bundle {
    tar: tar::Builder<GzEncoder<Box<dyn Write>>>,
    root: String,
    seconds: u64,
    written: Vec<String>,
    missing: Vec<String>,
    /// Files that this node does not have, which is not an error.
    absent: Vec<String>,
    /// An error of the output itself.
    failed: Option<io::Error>,
}

impl Bundle {
    fn new(into: Box<dyn Write>, root: String, now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            tar: tar::Builder::new(GzEncoder::new(into, Compression::default())),
            root,
            seconds: since.map_or(0, |since| since.as_secs()),
            written: Vec::new(),
            missing: Vec::new(),
            absent: Vec::new(),
            failed: None,
        }
    }

    fn collect(&mut self, args: &SupportBundleArgs, access: &Access) {
        let daemon = DaemonClient::new(&args.url, PATIENCE, access);
        if self.daemon(&daemon) {
            self.evidence(&daemon);
        }
        let (found, attached) = check::look(&args.kernel);
        self.json("check.json", &found);
        match attached {
            Some(attached) => self.json("facts.json", &facts::of(attached)),
            None => self.lacks("facts.json", "nothing can be attached: see check.json"),
        }
        for file in PROC_FILES {
            self.copy(&args.kernel.procfs.join(file), &format!("node/{file}"));
        }
        self.copy(Path::new("/etc/os-release"), "node/os-release");
        match &args.config.config {
            Some(path) => self.copy(path, "config.toml"),
            None => self.absent.push(SERVICE.to_owned()),
        }
    }

    /// Whether the daemon answers.
    fn daemon(&mut self, daemon: &DaemonClient) -> bool {
        match daemon.text("/metrics") {
            Ok(text) => self.file("daemon/metrics.txt", text.as_bytes()),
            Err(error) => {
                self.lacks("daemon/", &format!("{error:#}"));
                return false;
            }
        }
        for path in ASKED {
            self.answer(daemon, path, &format!("daemon/{path}.json"));
        }
        true
    }

    fn answer(&mut self, daemon: &DaemonClient, path: &str, name: &str) -> Option<Value> {
        match daemon.get::<Value>(path) {
            Ok(answer) => {
                self.json(name, &answer);
                Some(answer)
            }
            Err(error) => {
                self.lacks(name, &format!("{error:#}"));
                None
            }
        }
    }

    fn evidence(&mut self, daemon: &DaemonClient) {
        let Ok(verdicts) = daemon.get::<Value>("verdicts") else {
            return;
        };
        let kept = verdicts["evidence"].as_array();
        let ids = kept.into_iter().flatten().rev();
        let ids = ids.filter_map(|one| one["id"].as_str());
        // The answer is untrusted and becomes a file name.
        for id in ids.take(MAX_EVIDENCE).filter(|id| plain(id) == *id) {
            self.answer(
                daemon,
                &format!("evidence/{id}"),
                &format!("evidence/{id}.json"),
            );
        }
    }

    fn copy(&mut self, path: &Path, name: &str) {
        match read(path) {
            Ok(bytes) => self.file(name, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.absent.push(path.display().to_string());
            }
            Err(error) => self.lacks(name, &format!("{}: {error}", path.display())),
        }
    }

    fn json(&mut self, name: &str, document: &impl Serialize) {
        match serde_json::to_vec_pretty(document) {
            Ok(bytes) => self.file(name, &bytes),
            Err(error) => self.lacks(name, &error.to_string()),
        }
    }

    fn lacks(&mut self, name: &str, why: &str) {
        self.missing.push(format!("{name}: {why}"));
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.seconds);
        let path = format!("{}/{name}", self.root);
        self.failed = self.tar.append_data(&mut header, path, bytes).err();
        self.written.push(name.to_owned());
    }

    fn finish(mut self) -> io::Result<()> {
        let mut readme = format!(
            "throttle-monitor {} ({}), for a bug report\n\nContents:\n",
            env!("CARGO_PKG_VERSION"),
            env!("THROTTLE_MONITOR_REVISION")
        );
        for name in &self.written {
            let _ = writeln!(readme, "  {name}");
        }
        for (heading, lines) in [
            ("Missing", &self.missing),
            ("Not on this node", &self.absent),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(readme, "\n{heading}:");
            }
            for line in lines {
                let _ = writeln!(readme, "  {}", line.replace(char::is_control, " "));
            }
        }
        self.file("README.txt", readme.as_bytes());
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.tar.into_inner()?.finish()?.flush()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES), &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_lists_what_is_in_it_and_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle.tar.gz");
        let file = new_file(&path).unwrap();
        let mut bundle = Bundle::new(Box::new(file), "root".to_owned(), SystemTime::now());
        bundle.json("check.json", &serde_json::json!({"a": 1}));
        let gone = DaemonClient::new("http://127.0.0.1:1", PATIENCE, &Access::default());
        assert!(!bundle.daemon(&gone));
        bundle.copy(Path::new("/nowhere/at/all"), "node/all");
        bundle.finish().unwrap();

        let bytes = fs::read(&path).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut files = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).unwrap();
            files.push((name, text));
        }
        let names: Vec<&str> = files.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["root/check.json", "root/README.txt"]);
        let readme = &files[1].1;
        for part in [
            "  check.json\n",
            "  daemon/: http://127.0.0.1:1",
            "\nNot on this node:\n  /nowhere/at/all\n",
        ] {
            assert!(readme.contains(part), "{readme}");
        }
        assert!(new_file(&path).is_err(), "a file is never written over");
    }

    #[test]
    fn the_names_of_hosts_and_times_are_fit_for_files() {
        assert_eq!(plain("a/../b c"), "a_.._b_c");
        assert_eq!(plain(""), "node");
        assert_eq!(stamp(SystemTime::UNIX_EPOCH), "19700101T000000Z");
    }
}
