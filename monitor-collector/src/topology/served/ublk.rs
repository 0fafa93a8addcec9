//! ublk: `/dev/ublkb0`, whose driver is a process. The kernel lets only one file of its character
//! device `/dev/ublkc0` be open (`ublk_ch_open`, `drivers/block/ublk_drv.c`), so the process that has
//! that open is the server. sysfs does not name it.

use std::fs;

use compact_str::{CompactString, format_compact};
use monitor_model::observation::ClientKind;

use super::remembered::{Fact, OpenFile, Remembered};
use super::{Device, Kind, MAX_DEVICES, NodeFiles, Place};
use crate::host::text::numbered;
use crate::topology::fds::links;
use crate::topology::namespaces::{Namespaces, is_gone};

/// Maximum number of file descriptors in one search.
const MAX_FDS: usize = 262_144;

/// Block devices with a driver in user space.
pub struct Ublk;

/// The processes found so far, by the name of their device.
pub type Servers = Remembered<CompactString, u32>;

/// An open character device: the number of that, the process and its file descriptor.
type Holder = (CompactString, u32, u32);

impl Kind for Ublk {
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let block = node.sysfs.join("block");
        let names = numbered(&block, "ublkb", MAX_DEVICES);
        let keys: Vec<_> = names.iter().map(|name| (name.clone(), 0)).collect();
        if node.memory.ublk.check(node.spaces, &keys) {
            find(&mut node.memory.ublk, node.spaces, &names);
        }
        let mut devices = Vec::new();
        for name in names {
            let Some(process) = node.memory.ublk.get(&name) else {
                let number = name.trim_start_matches("ublkb");
                node.warnings.note(&format_args!(
                    "The server of /dev/{name} is unknown: not exactly one process has /dev/ublkc{number} open, or not all processes can be read."
                ));
                continue;
            };
            if let Ok(bdi) = fs::read_to_string(block.join(&name).join("dev")) {
                devices.push(Device {
                    bdi: bdi.trim_end().into(),
                    kind: ClientKind::Ublk,
                    name: format_compact!("/dev/{name}"),
                    server: Place::Process(*process),
                    target: None,
                });
            }
        }
        devices
    }
}

/// Finds the servers of these devices, of those that have none.
fn find(servers: &mut Servers, spaces: &Namespaces, names: &[CompactString]) {
    let (holders, is_whole) = holders(spaces);
    for name in names.iter().filter(|_| is_whole) {
        let number = name.trim_start_matches("ublkb");
        let mut own = holders.iter().filter(|(of, ..)| of == number);
        // Children may have inherited the file.
        if let (Some((_, process, fd)), None) = (own.next(), own.next())
            && servers.get(name).is_none()
            && let Some(file) = OpenFile::read(spaces, *process, *fd)
        {
            servers.put(name.clone(), *process, vec![Fact::Open(file)]);
        }
    }
}

/// The processes that have a character device open, each once for each, and whether all processes
/// were read.
fn holders(spaces: &Namespaces) -> (Vec<Holder>, bool) {
    let (mut budget, mut is_whole) = (MAX_FDS, spaces.denied == 0);
    let mut found: Vec<Holder> = Vec::new();
    for &pid in spaces.nets.values().flatten() {
        let read = links(&spaces.process(pid), &mut budget, |fd, link| {
            let number = link.strip_prefix(b"/dev/ublkc");
            if let Some(number) = number.and_then(|number| std::str::from_utf8(number).ok())
                && found.len() < MAX_DEVICES
                && !found.iter().any(|(of, by, _)| of == number && *by == pid)
            {
                found.push((number.into(), pid, fd));
            }
        });
        is_whole &= read.is_ok() || read.is_err_and(|error| is_gone(&error));
    }
    (found, is_whole && budget > 0)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use monitor_model::observation::Proof;

    use crate::topology::LookupRequest;
    use crate::topology::tests::node::Node;

    fn node() -> Node {
        let node = Node::new();
        node.sysfs("block/ublkb0/dev", "259:0\n");
        for pid in [70, 80] {
            node.process(pid, "ublk", 20, 30);
            node.append(pid, "status", &format!("Tgid:\t{pid}"));
        }
        node
    }

    fn opens(node: &Node, pid: u32, path: &str) {
        symlink(path, node.path(&format!("proc/{pid}/fd/9"))).unwrap();
    }

    /// The servers, and what was not found.
    fn told(node: &Node) -> (Vec<String>, String) {
        let topology = node.reader(&[]).round(&LookupRequest::default());
        assert!(topology.served.iter().all(|one| one.proof == Proof::Kernel));
        let words = topology.served.iter();
        let words = words.map(|one| format!("{} {} {:?}", one.bdi, one.name, one.server.tgid));
        (words.collect(), topology.incomplete.join(" "))
    }

    #[test]
    fn the_process_with_the_character_device_is_the_server() {
        let node = node();
        opens(&node, 70, "/dev/ublkc0");
        opens(&node, 80, "/dev/ublkc01");
        assert_eq!(told(&node).0, ["259:0 /dev/ublkb0 Some(70)"]);
    }

    #[test]
    fn a_known_server_stays_until_it_closes_the_device_or_ends() {
        let node = node();
        opens(&node, 70, "/dev/ublkc0");
        let mut reader = node.reader(&[]);
        let mut server = || {
            let topology = reader.round(&LookupRequest::default());
            topology.served.first().and_then(|one| one.server.tgid)
        };
        assert_eq!(server(), Some(70));
        // Its child.
        opens(&node, 80, "/dev/ublkc0");
        assert_eq!(server(), Some(70));
        // Another process has its id.
        node.started(70, "ublk", 1, 9000);
        assert_eq!(server(), None);
        fs::remove_file(node.path("proc/70/fd/9")).unwrap();
        // Searches become rarer: the devices are the same.
        assert_eq!(
            [(); 6].map(|()| server()).iter().flatten().next(),
            Some(&80)
        );
    }

    #[test]
    fn with_two_or_none_that_have_it_open_the_server_is_unknown() {
        let node = node();
        assert!(
            told(&node)
                .1
                .contains("The server of /dev/ublkb0 is unknown")
        );
        opens(&node, 70, "/dev/ublkc0");
        opens(&node, 80, "/dev/ublkc0");
        let (servers, said) = told(&node);
        assert!(servers.is_empty() && said.contains("/dev/ublkb0"), "{said}");
    }
}
