//! Containers of this kernel, as root: cgroups named as the kubelet names them, a
//! UTS namespace with a pod's name. `./dev test` runs this, `cargo test` leaves it
//! out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use throttle_monitor::sample::{Lookup, ProcessPlace, Wanted};

const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
const ID: &str = "3f4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a";

/// A process with a host name of its own, in a container's cgroup.
struct Pod {
    process: Child,
    cgroups: Vec<PathBuf>,
    files: PathBuf,
}

impl Pod {
    fn new(name: &str, outer: &str) -> Self {
        // As the kubelet mounts what a container says of its end.
        let script = format!(
            "hostname {name} && mkdir -p /dev/shm/{outer}/pods/{UID}/containers/nginx && \
             touch /dev/shm/{outer}/pods/{UID}/containers/nginx/6e05ba3d /dev/shm/{outer}/end && \
             mount --bind /dev/shm/{outer}/pods/{UID}/containers/nginx/6e05ba3d /dev/shm/{outer}/end && \
             exec sleep 600"
        );
        let process = Command::new("unshare")
            .args(["--uts", "--mount", "sh", "-c", &script])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pod = UID.replace('-', "_");
        let names = [
            format!("{outer}.slice"),
            format!("{outer}-burstable-pod{pod}.slice"),
            format!("cri-containerd-{ID}.scope"),
        ];
        let mut path = hierarchy();
        let mut cgroups = Vec::new();
        for name in names {
            path.push(name);
            fs::create_dir(&path).unwrap();
            cgroups.insert(0, path.clone());
        }
        fs::write(path.join("cgroup.procs"), process.id().to_string()).unwrap();
        let files = Path::new("/dev/shm").join(outer);
        Self {
            process,
            cgroups,
            files,
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.files);
        for cgroup in &self.cgroups {
            let start = Instant::now();
            while fs::remove_dir(cgroup).is_err() && start.elapsed() < Duration::from_secs(5) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Where cgroups can be made: version 2, else the first of version 1 that has no
/// conditions.
fn hierarchy() -> PathBuf {
    let places =
        ["", "unified", "pids", "systemd"].map(|name| Path::new("/sys/fs/cgroup").join(name));
    let is_one = |place: &PathBuf| place.join("cgroup.procs").exists();
    places.into_iter().find(is_one).expect("a cgroup hierarchy")
}

fn places(lookup: &mut Lookup, processes: &[u32]) -> Vec<ProcessPlace> {
    lookup.ask(&Wanted {
        processes: processes.iter().copied().collect(),
        ..Wanted::default()
    });
    let start = Instant::now();
    loop {
        let places = lookup.latest().processes.clone();
        if places.len() == processes.len() {
            return places;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{places:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs root, cgroups and namespaces"]
fn a_process_that_waits_is_named_with_its_container_its_pod_and_the_pod_s_name() {
    let pod = Pod::new("web-0", "throttlemonitortest");
    let start = Instant::now();
    // Once it has set its name.
    while fs::read_to_string(format!("/proc/{}/comm", pod.process.id())).unwrap() != "sleep\n" {
        assert!(start.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(20));
    }
    let mut lookup = Lookup::start("/proc".into(), "/sys".into(), Vec::new()).unwrap();
    let own = std::process::id();
    let before = rustix::system::uname().nodename().to_owned();
    let found = places(&mut lookup, &[pod.process.id(), own, u32::MAX]);
    let of = |tgid| found.iter().find(|place| place.tgid == tgid).unwrap();
    let container = of(pod.process.id())
        .container
        .as_ref()
        .expect("a container");
    assert_eq!(container.id, ID);
    assert_eq!(container.runtime, "containerd");
    assert_eq!(container.pod_uid, UID);
    assert_eq!(container.hostname, "web-0");
    assert_eq!(container.name, "nginx");
    assert_eq!(container.words(), "container nginx of pod web-0");
    assert_eq!(of(u32::MAX).container, None, "nobody has that number");
    assert_eq!(rustix::system::uname().nodename(), &*before, "it came back");
}
