//! Pods: the namespaces of a container, as far as NFS is concerned.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::{
    fs::{Mode, OFlags, open},
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{Pid, PidfdFlags, pidfd_open},
    system::sethostname,
    thread::{
        LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
        move_into_thread_name_spaces, unshare_unsafe,
    },
};

use super::command;

/// All pods, by name. A process holds each, like the pause container of Kubernetes, so that a
/// search for mount namespaces finds it under /proc.
#[derive(Default)]
pub struct Pods(BTreeMap<String, Child>);

impl Pods {
    /// Make one.
    pub fn make(&mut self, name: &str) -> Result<()> {
        command("ip", &["netns", "add", name])?;
        command("ip", &["-n", name, "link", "set", "lo", "up"])?;
        let mut child = Command::new("/proc/self/exe")
            .args(["pod", name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a pod")?;
        let mut word = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut word)?;
        }
        if word.is_empty() {
            bail!("the pod {name} ended; its words are in the console log");
        }
        self.0.insert(name.to_owned(), child);
        Ok(())
    }

    /// Runs a function in a pod. Programs that it starts stay there; nfsd's threads stay in the
    /// kernel.
    pub fn inside<T: Send>(
        &self,
        pod: Option<&str>,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let Some(name) = pod else { return work() };
        let child = self.0.get(name);
        let child = child.with_context(|| format!("there is no pod {name}"))?;
        // Namespaces belong to a thread, and its children inherit them.
        let there = || {
            enter(child).with_context(|| format!("entering the pod {name}"))?;
            work()
        };
        thread::scope(|scope| scope.spawn(there).join())
            .map_err(|_| anyhow!("a thread in the pod {name} panicked"))?
    }

    /// The process that holds a pod.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.0.get(name).map(Child::id)
    }

    /// A process in each, and this one.
    pub fn pids(&self) -> Vec<u32> {
        let own = [std::process::id()];
        own.into_iter()
            .chain(self.0.values().map(Child::id))
            .collect()
    }
}

fn enter(child: &Child) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let process = pidfd_open(pid.context("no such process")?, PidfdFlags::empty())?;
    // SAFETY: only the file-system attributes of this thread are unshared, which the kernel
    // requires to change its mount namespace. No file descriptor is affected.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    move_into_thread_name_spaces(
        process.as_fd(),
        ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
    )?;
    Ok(())
}

/// The process that holds a pod. Returns only with an error.
pub fn be_pod(name: &str) -> Result<()> {
    let netns = format!("/run/netns/{name}");
    let file = open(&netns, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context(netns)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .context("entering the network namespace")?;
    // SAFETY: no file descriptor is affected, and there is no other thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWUTS) }
        .context("mount and host-name namespaces")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .context("making mounts private")?;
    // A server's programs keep their state here, and rpcbind its socket.
    for at in ["/run", "/var/lib/nfs"] {
        fs::create_dir_all(at)?;
        mount("pod", at, "tmpfs", MountFlags::empty(), None)
            .with_context(|| format!("mounting a tmpfs on {at}"))?;
    }
    // An NFSv4 server considers two clients of one name a restarted one.
    sethostname(name.as_bytes()).context("setting the host name")?;
    println!("ready");
    loop {
        thread::park();
    }
}
