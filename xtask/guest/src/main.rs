//! PID 1 of a guest: plays the plan, reports its observations, switches off.

mod counters;
mod http;
mod load;
mod steps;
mod tell;
mod watch;

use std::{fs, process};

use anyhow::{Context as _, Result, bail};
use guest::{Event, PLAN, Plan};
use rustix::{
    mm::{MlockAllFlags, mlockall},
    mount::{MountFlags, UnmountFlags, mount},
    system::{RebootCommand, reboot, uname},
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<_> = arguments.iter().skip(1).map(String::as_str).collect();
    let other = match words.as_slice() {
        ["writer", path, megabytes, way] => {
            load::write_forever(path, megabytes.parse().unwrap_or(1), way);
        }
        ["write-direct", path, rate] => {
            load::write_direct_forever(path, rate.parse().unwrap_or(1)).map_err(Into::into)
        }
        ["write-at-leisure", directory, seconds] => {
            load::write_at_leisure(directory, seconds.parse().unwrap_or(1)).map_err(Into::into)
        }
        ["statfs", path] => rustix::fs::statfs(*path).map(drop).map_err(Into::into),
        ["reader", path, megabytes, rate] => load::read_forever(
            path,
            megabytes.parse().unwrap_or(1),
            rate.parse().unwrap_or(1),
        )
        .map_err(Into::into),
        ["filler", path] => load::fill(path).map_err(Into::into),
        ["gobbler", megabytes] => load::gobble(megabytes.parse().unwrap_or(1)).map_err(Into::into),
        ["pod", name] => steps::be_pod(name),
        ["exempt"] => steps::say_whether_exempt(),
        // Tasks that a plan starts without waiting for them.
        ["sync"] => {
            rustix::fs::sync();
            Ok(())
        }
        ["umount-force", path] => {
            rustix::mount::unmount(*path, UnmountFlags::FORCE).map_err(Into::into)
        }
        ["put", path, value] => fs::write(path, value).map_err(Into::into),
        _ => live_as_first(),
    };
    if let Err(error) = other {
        eprintln!("{}: {error:#}", words.join(" "));
        process::exit(1);
    }
}

fn live_as_first() -> Result<()> {
    if process::id() != 1 {
        bail!("this is the first process of a test guest; on its own it does nothing");
    }
    if let Err(error) = live() {
        tell::event(Event::Failed(format!("{error:#}")));
    }
    tell::event(Event::End);
    // Not a regular shutdown: writers in a livelock never end, and a sync would wait for them. The
    // host kills QEMU at `End` in any case.
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}

fn live() -> Result<()> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("debugfs", "/sys/kernel/debug"),
        ("tmpfs", "/run"),
    ] {
        fs::create_dir_all(at)?;
        mount(kind, at, kind, MountFlags::empty(), None)
            .with_context(|| format!("mounting {kind} on {at}"))?;
    }
    tell::open()?;
    // The sampler must run without free memory. Only touched pages are locked: the stacks of
    // threads are large and mostly unused.
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .context("locking memory")?;
    // All children inherit it, except the writers. If the server's programs or the daemon were
    // killed for lack of memory, there would be nothing to watch. Not -1000: the kernel panics
    // without a process to kill.
    fs::write("/proc/self/oom_score_adj", "-998").context("sparing this process")?;
    tell::event(Event::Booted {
        kernel: uname().release().to_string_lossy().into_owned(),
    });
    let plan: Plan = serde_json::from_slice(&fs::read(PLAN).context(PLAN)?).context(PLAN)?;
    steps::command("ip", &["link", "set", "lo", "up"])?;
    let shared = watch::start();
    let mut player = steps::Player::new(shared);
    for step in &plan.steps {
        let words = serde_json::to_string(step)?;
        tell::event(Event::Step(words.clone()));
        player.play(step).with_context(|| format!("step {words}"))?;
    }
    Ok(())
}
