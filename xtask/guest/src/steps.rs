//! Executes the steps of a plan.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::{DAEMON, Event, Load, Step};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Signal, kill_process},
};

use crate::{counters, http, tell, watch::Shared};

mod block;
mod carry;
mod client;
mod congestion;
mod cpuset;
mod daemon;
mod disk;
mod files;
mod ganesha;
mod memcg;
mod modules;
mod net;
mod pair;
mod pod;
mod server;
mod stacks;
mod trace;
mod wait;
mod ways;
mod writers;

pub use ganesha::say_whether_exempt;
use pod::Pods;
pub use pod::be_pod;
use writers::Writers;

/// How long to wait for an answer of the daemon.
const PATIENCE: Duration = Duration::from_mins(2);

/// Plays steps, and keeps what they started.
pub struct Player {
    shared: Arc<Shared>,
    daemon: Option<Child>,
    pods: Pods,
    writers: Writers,
}

impl Player {
    /// A player before its first step.
    pub fn new(shared: Arc<Shared>) -> Self {
        if !Path::new(DAEMON).exists() {
            tell::event(Event::NoDaemon);
        }
        Self {
            shared,
            daemon: None,
            pods: Pods::default(),
            writers: Writers::default(),
        }
    }

    /// Executes one step.
    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    pub fn play(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Modprobe(modules) => {
                let mut arguments = vec!["-a"];
                arguments.extend(modules.iter().map(String::as_str));
                command("modprobe", &arguments)
            }
            Step::Set { path, value } => ways::set(path, value),
            Step::SetIfThere { path, value } => ways::set_if_there(path, value),
            Step::Values => told(Event::Values(ways::values())),
            Step::Changed => told(Event::Changed(ways::values())),
            Step::SetBack { path, is, value } => ways::set_back(path, is, value),
            Step::HelpedOut => told(Event::HelpedOut),
            Step::Signal { name, number } => ways::signal(name, *number),
            Step::StepClock(seconds) => ways::step_clock(*seconds),
            Step::RealTime(name) => ways::real_time(name),
            Step::Begin { pod, words } => self.pods.inside(pod.as_deref(), || ways::begin(words)),
            Step::Run(lines) => run(lines),
            Step::Pod(name) => self.pods.make(name),
            Step::Disk { kind, device, at } => disk::mount_new(*kind, device, at),
            Step::Hog { megabytes } => hog(*megabytes),
            Step::Serve {
                pod,
                threads,
                exports,
                v3,
            } => self
                .pods
                .inside(pod.as_deref(), || server::start(*threads, exports, *v3)),
            Step::Ganesha { pod, path, kind } => self
                .pods
                .inside(pod.as_deref(), || ganesha::start(path, *kind)),
            Step::LoopDevice {
                file,
                megabytes,
                at,
            } => disk::loop_device(file, *megabytes, at),
            Step::Block(step) => block::play(step),
            Step::Stacks => stacks::report(),
            Step::Files(step) => files::play(step, &self.pods),
            Step::Mount {
                pod,
                server,
                path,
                at,
                version,
                options,
            } => self.pods.inside(pod.as_deref(), || {
                client::mount_nfs(server, path, at, version, options)
            }),
            Step::Daemon { args } => self.start_daemon(args),
            Step::Start(load) => self.start(load),
            Step::Written => self.writers.wait(),
            Step::Count => told(Event::Counted(counters::of_nfs(&self.pods.pids()))),
            Step::Cpuset { mems, threads } => cpuset::enter(mems, threads),
            Step::LeaveCpuset => cpuset::leave(),
            Step::MemoryCgroup { name, megabytes } => memcg::enter(name, *megabytes),
            Step::LeaveMemoryCgroup { victim } => memcg::leave(victim),
            Step::Trace { event, task } => trace::begin(event, task),
            Step::Traced => trace::report(),
            Step::Watch { seconds, until } => {
                self.watch(Duration::from_secs(*seconds), until);
                Ok(())
            }
            Step::Check { args, uid } => check(args, *uid),
            Step::Probes => probes(),
            Step::Fetch { path, lines } => fetch(path, lines),
            Step::Evidence => evidence(),
            Step::Reach(address) => net::reach(address),
            Step::Hear(port) => net::hear(*port),
            Step::Gone(address) => net::gone(address),
            Step::Die => pair::die(),
            Step::TakeOver {
                pod,
                device,
                make,
                address,
                interface,
            } => self.pods.inside(pod.as_deref(), || {
                pair::take_over(device, *make, address, interface)
            }),
            Step::StopWriters => writers::stop(),
            Step::Umount(at) => unmount(at.as_str(), UnmountFlags::empty())
                .with_context(|| format!("unmounting {at}")),
            Step::StopServer => server::stop(),
            Step::StopDaemon => self.stop_daemon(),
            Step::KillDaemon => self.kill_daemon(),
            Step::Phase(_) => Ok(()),
            Step::ManyMounts { server, count } => client::many(server, *count),
            Step::Unload { modules, seconds } => {
                modules::unload(modules, Duration::from_secs(*seconds));
                Ok(())
            }
            Step::BpfObjects => modules::bpf_objects(),
            Step::Statfs(path) => daemon::statfs(path),
            Step::SecondDaemon(port) => daemon::second(*port),
            Step::WatchCongestion(at) => congestion::watch(at),
            Step::Carry { dir, newest } => carry::send(dir, *newest),
            Step::Blocked => match &self.daemon {
                Some(child) => daemon::blocked(child.id()),
                None => Ok(()),
            },
        }
    }

    fn start(&mut self, load: &Load) -> Result<()> {
        match load {
            Load::Endless {
                dir,
                writers,
                megabytes,
                way,
            } => writers::start_endless(dir, *writers, *megabytes, *way),
            Load::Direct {
                pod,
                dir,
                megabytes_per_second,
            } => self.pods.inside(pod.as_deref(), || {
                writers::start_direct(dir, *megabytes_per_second)
            }),
            Load::Read {
                dir,
                readers,
                megabytes,
                megabytes_per_second,
            } => writers::start_readers(dir, *readers, *megabytes, *megabytes_per_second),
            Load::Fill => writers::fill(),
            Load::Gobble {
                processes,
                megabytes,
                again,
            } => {
                writers::gobble(*processes, *megabytes, *again);
                Ok(())
            }
            Load::AtLeisure { pod, dir, seconds } => {
                self.writers
                    .start(&self.pods, pod.as_deref(), dir, *seconds)
            }
        }
    }

    fn stop_daemon(&mut self) -> Result<()> {
        self.shared.ready.store(false, Relaxed);
        self.daemon.take().map_or(Ok(()), daemon::stop)
    }

    fn kill_daemon(&mut self) -> Result<()> {
        self.shared.ready.store(false, Relaxed);
        let Some(mut child) = self.daemon.take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn start_daemon(&mut self, args: &[String]) -> Result<()> {
        if !Path::new(DAEMON).exists() {
            return Ok(());
        }
        let child = Command::new(DAEMON)
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .context(DAEMON)?;
        self.daemon = Some(child);
        let start = Instant::now();
        loop {
            if self.daemon_died() {
                bail!("the daemon ended before it was ready; its words are in the console log");
            }
            match http::get("/-/ready") {
                Ok(_) => break,
                Err(error) if start.elapsed() > Duration::from_mins(1) => {
                    bail!("the daemon was not ready within a minute: {error:#}")
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
        tell::event(Event::Ready);
        self.shared.ready.store(true, Relaxed);
        Ok(())
    }

    fn daemon_died(&mut self) -> bool {
        let status = self.daemon.as_mut().and_then(|child| child.try_wait().ok());
        let Some(Some(status)) = status else {
            return false;
        };
        self.daemon = None;
        tell::event(Event::DaemonDied {
            status: status.to_string(),
        });
        true
    }
}

/// Runs a program to its end; an error includes its output.
pub fn command(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn run(lines: &[String]) -> Result<()> {
    for line in lines {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty line")?;
        command(program, &words.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The living processes of this name.
fn processes(name: &str) -> Vec<Pid> {
    let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is = |pid: &str| {
        // `PID (NAME) STATE …`; a zombie is gone, and only its parent has not noticed.
        let stat = stat(pid);
        stat.contains(&format!(" ({name}) ")) && !stat.contains(&format!(" ({name}) Z "))
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|pid| is(pid))
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

fn kill(process: Pid) {
    // It may have just ended.
    let _ = kill_process(process, Signal::KILL);
}

fn hog(megabytes: u64) -> Result<()> {
    fs::create_dir_all("/hog")?;
    mount(
        "hog",
        "/hog",
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=100%"),
    )?;
    let chunk = vec![1; 1 << 20];
    let mut file = fs::File::create("/hog/file")?;
    for _ in 0..megabytes {
        std::io::Write::write_all(&mut file, &chunk).context("filling /hog/file")?;
    }
    Ok(())
}

fn check(args: &[String], uid: Option<u32>) -> Result<()> {
    if !Path::new(DAEMON).exists() {
        return Ok(());
    }
    let mut program = Command::new(DAEMON);
    program.args(args).stdin(Stdio::null());
    if let Some(uid) = uid {
        std::os::unix::process::CommandExt::uid(&mut program, uid);
        std::os::unix::process::CommandExt::gid(&mut program, uid);
    }
    let output = daemon::timed(&args.join(" "), &mut program)?;
    let user = uid.map_or_else(String::new, |uid| format!(" (uid {uid})"));
    tell::event(Event::Output {
        what: format!("{}{user}", args.join(" ")),
        code: output.status.code(),
        text: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    });
    Ok(())
}

fn fetch(path: &str, lines: &[String]) -> Result<()> {
    if !Path::new(DAEMON).exists() {
        return Ok(());
    }
    let start = Instant::now();
    // Without memory an answer takes long; its duration is reported.
    let body = loop {
        match http::get(path) {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(500)),
            answer => break answer?,
        }
    };
    let wanted =
        |line: &&str| lines.is_empty() || lines.iter().any(|begin| line.starts_with(begin));
    tell::event(Event::Served {
        path: path.to_owned(),
        ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        text: body.lines().filter(wanted).collect::<Vec<_>>().join("\n"),
    });
    Ok(())
}

fn evidence() -> Result<()> {
    if !Path::new(DAEMON).exists() {
        return Ok(());
    }
    let verdicts: serde_json::Value = serde_json::from_str(&http::get("/api/v1/verdicts")?)?;
    let newest = verdicts["evidence"].as_array().and_then(|all| all.last());
    match newest.and_then(|one| one["id"].as_str()) {
        Some(id) => fetch(&format!("/api/v1/evidence/{id}"), &[]),
        None => Ok(()),
    }
}

fn probes() -> Result<()> {
    if !Path::new(DAEMON).exists() {
        return Ok(());
    }
    let body = http::get("/api/v1/probes")?;
    tell::event(Event::Probes(serde_json::from_str(&body)?));
    Ok(())
}

/// Reports it.
#[allow(
    clippy::unnecessary_wraps,
    reason = "a step that cannot fail, beside those that can"
)]
fn told(event: Event) -> Result<()> {
    tell::event(event);
    Ok(())
}
