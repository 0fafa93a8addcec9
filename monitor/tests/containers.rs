//! Containers of this kernel, as root: cgroups named as the kubelet names them, a
//! UTS namespace with a pod's name. `./dev test` runs this, `cargo test` leaves it
//! out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "host/undo.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod undo;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use monitor_collector::topology::{HostPaths, Lookup, LookupRequest};
use monitor_model::observation::ProcessPlace;
use undo::{Undo, skip};

const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
const ID: &str = "3f4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a";

/// A process with a host name of its own, in a container's cgroup.
struct Pod {
    process: Child,
    cgroups: Vec<PathBuf>,
    files: tempfile::TempDir,
    undo: Undo,
}

impl Pod {
    /// `None`, and says so, where no cgroup can be made.
    fn new(name: &str, outer: &str) -> Option<Self> {
        let hierarchy = hierarchy()?;
        // As the kubelet mounts what a container says of its end.
        let files = tempfile::tempdir().unwrap();
        let at = files.path().display();
        let script = format!(
            "hostname {name} && mkdir -p {at}/pods/{UID}/containers/nginx && \
             touch {at}/pods/{UID}/containers/nginx/6e05ba3d {at}/end && \
             mkdir -p {at}/logs/shop_web-0-long_{UID}/nginx && \
             mount --bind {at}/pods/{UID}/containers/nginx/6e05ba3d {at}/end && \
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
        let mut path = hierarchy;
        let mut cgroups = Vec::new();
        for name in names {
            path.push(name);
            fs::create_dir(&path).unwrap();
            cgroups.insert(0, path.clone());
        }
        let undo = Undo::shell(
            "kill -KILL $1; rmdir \"$2\" \"$3\" \"$4\"",
            &[
                &process.id().to_string(),
                cgroups[0].to_str().unwrap(),
                cgroups[1].to_str().unwrap(),
                cgroups[2].to_str().unwrap(),
            ],
        );
        fs::write(path.join("cgroup.procs"), process.id().to_string()).unwrap();
        Some(Self {
            process,
            cgroups,
            files,
            undo,
        })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.undo.forget();
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
fn hierarchy() -> Option<PathBuf> {
    let places =
        ["", "unified", "pids", "systemd"].map(|name| Path::new("/sys/fs/cgroup").join(name));
    let is_one = |place: &PathBuf| {
        // A container's is mounted to be read.
        let writable = || rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok();
        place.join("cgroup.procs").exists() && writable()
    };
    let found = places.into_iter().find(is_one);
    if found.is_none() {
        skip("no cgroup hierarchy in which one can be made");
    }
    found
}

fn places(lookup: &mut Lookup, processes: &[u32]) -> Vec<ProcessPlace> {
    lookup.ask(&LookupRequest {
        processes: processes.iter().copied().collect(),
        ..LookupRequest::default()
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
fn a_process_that_waits_is_named_with_its_container_its_pod_and_its_namespace() {
    // Another run of this test has another name.
    let outer = format!("throttlemonitortest{}", std::process::id());
    let Some(pod) = Pod::new("web-0", &outer) else {
        return;
    };
    let start = Instant::now();
    // Once it has set its name.
    while fs::read_to_string(format!("/proc/{}/comm", pod.process.id())).unwrap() != "sleep\n" {
        assert!(start.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(20));
    }
    let paths = HostPaths {
        pod_logs: pod.files.path().join("logs"),
        ..HostPaths::default()
    };
    let mut lookup = Lookup::start(paths, Vec::new()).unwrap();
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
    assert_eq!(
        (&*container.namespace, &*container.pod),
        ("shop", "web-0-long")
    );
    assert_eq!(container.words(), "container nginx of pod shop/web-0-long");
    assert_eq!(of(u32::MAX).container, None, "nobody has that number");
    assert_eq!(rustix::system::uname().nodename(), &*before, "it came back");
}
