//! NFS calls without an answer: debugfs `sunrpc/rpc_clnt/ID/tasks`, which lists
//! what an RPC client has under way (`tasks_show`, net/sunrpc/debugfs.c).
//!
//! Most mounts of a node are idle, and one file costs some 20 us: a tick reads
//! those that had open calls or sent some since the tick before, and some of the
//! others in turn. A call that waits for a connection is never sent.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path};

use compact_str::CompactString;
use monitor_model::observation::{OpenCalls, RpcClient};

use crate::host::pseudofs;

/// RPC clients that one tick reads.
const MAX_READS: usize = 16;
/// Of these, clients that seem idle.
const IDLE_READS: usize = 4;
/// Bytes of one client's list, some twenty calls, the oldest first. For each line the kernel
/// looks two functions up among all symbols of their modules: a list of the hundreds of
/// WRITEs that wait for a dead server took 0.6 s of an emulated processor.
const ROOM: usize = 2048;

/// Procedures that a server may take its time for, and that do not wait for an
/// answer: `NULL` asks whether the server is there at all.
const PATIENT: [&str; 8] = [
    "NULL",
    "COPY",
    "CLONE",
    "ALLOCATE",
    "DEALLOCATE",
    "ZERO_RANGE",
    "LOCK",
    "LOCKT",
];

/// Reads and remembers them.
pub struct OpenCallsReader {
    /// debugfs' root directory; `None`: it is unavailable.
    debugfs: Option<OwnedFd>,
    clients: BTreeMap<u32, Client>,
    /// The last idle client that was read.
    last_idle: u32,
}

/// One RPC client at its last look.
#[derive(Default)]
struct Client {
    calls: u64,
    /// Since when each open call is seen, by its task's number.
    open: BTreeMap<u32, Call>,
    /// Whether there are more than were read.
    more: bool,
}

#[derive(Clone)]
struct Call {
    since_ns: u64,
    procedure: CompactString,
}

impl OpenCallsReader {
    /// Opens debugfs, wherever it is.
    pub fn new(sysfs: &Path) -> Self {
        Self {
            debugfs: pseudofs::debugfs(sysfs).ok(),
            clients: BTreeMap::new(),
            last_idle: 0,
        }
    }

    /// Fills in what is known of these RPC clients.
    pub fn read(&mut self, now_ns: u64, clients: &mut [RpcClient]) {
        let Some(debugfs) = &self.debugfs else {
            return;
        };
        self.clients
            .retain(|id, _| clients.iter().any(|client| client.id == *id));
        let known = &self.clients;
        let active = |client: &&RpcClient| {
            let before = known.get(&client.id);
            before.is_none_or(|before| before.calls != client.calls || !before.open.is_empty())
        };
        let (active, idle): (Vec<_>, Vec<_>) = clients.iter().partition(active);
        let next = idle.partition_point(|client| client.id <= self.last_idle);
        let turn: Vec<u32> = idle
            .iter()
            .cycle()
            .skip(next)
            .map(|c| c.id)
            .take(IDLE_READS.min(idle.len()))
            .collect();
        self.last_idle = turn.last().copied().unwrap_or(self.last_idle);
        let mut active: Vec<_> = active.iter().map(|c| (c.last_call_ns, c.id)).collect();
        active.sort_unstable_by(|a, b| b.cmp(a));
        let active = active.into_iter().map(|(_, id)| id);
        let due: Vec<u32> = turn.into_iter().chain(active).take(MAX_READS).collect();
        for client in clients {
            if due.contains(&client.id) {
                let path = format!("sunrpc/rpc_clnt/{:x}/tasks", client.id);
                let mut room = [0; ROOM];
                let Ok((text, more)) = pseudofs::first_lines(debugfs, path, &mut room) else {
                    self.clients.remove(&client.id);
                    continue;
                };
                let known = self.clients.entry(client.id).or_default();
                (known.calls, known.more) = (client.calls, more);
                known.look(now_ns, &text);
            }
            let known = self.clients.get(&client.id);
            client.open = known.map(Client::calls);
        }
    }
}

impl Client {
    fn look(&mut self, now_ns: u64, text: &str) {
        let before = std::mem::take(&mut self.open);
        for (task, procedure) in text.lines().filter_map(call) {
            let call = before.get(&task).filter(|call| call.procedure == procedure);
            let call = call.cloned().unwrap_or_else(|| Call {
                since_ns: now_ns,
                procedure: procedure.into(),
            });
            self.open.insert(task, call);
        }
    }

    fn calls(&self) -> OpenCalls {
        let oldest = self.open.values().min_by_key(|call| call.since_ns);
        OpenCalls {
            count: u32::try_from(self.open.len()).unwrap_or(u32::MAX),
            since_ns: oldest.map_or(0, |call| call.since_ns),
            procedure: oldest
                .map(|call| call.procedure.clone())
                .unwrap_or_default(),
            more: self.more,
        }
    }
}

/// A task's number and its procedure, if it waits for an NFS server:
///
/// `   72 0801      0 0x4 0xf9a3d0c1    14432 nfs41_call_sync_ops [nfsv4] nfsv4 GETATTR a:call_status [sunrpc] q:xprt_pending`
fn call(line: &str) -> Option<(u32, &str)> {
    let mut words = line.split_ascii_whitespace();
    let task = words.next()?.parse().ok()?;
    let mut words = words.skip(5).skip_while(|word| !is_nfs(word));
    let procedure = words.nth(1)?;
    // The server answered that it wants to be asked later.
    let later = words.any(|word| word == "q:delayq");
    (!later && !PATIENT.contains(&procedure)).then_some((task, procedure))
}

/// The program and its version; the operations' names have no such word.
fn is_nfs(word: &str) -> bool {
    let version = word.strip_prefix("nfsv");
    version.is_some_and(|version| version.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use monitor_model::observation::RpcClient;

    use super::{IDLE_READS, OpenCallsReader, call};

    const GETATTR: &str = "   72 0801      0 0x4 0xf9a3d0c1    14432 nfs4_call_sync_ops [nfsv4] nfsv4 GETATTR \
                           a:call_status [sunrpc] q:xprt_pending\n";
    const WRITE: &str = "   73 0001      0 0x4 0xf9a3d0c2    14432 nfs_pgio_common_ops [nfs] nfsv3 WRITE \
                         a:call_status [sunrpc] q:xprt_pending\n";

    #[test]
    fn a_call_is_read_as_the_kernel_prints_its_task() {
        assert_eq!(call(GETATTR), Some((72, "GETATTR")));
        assert_eq!(call(WRITE), Some((73, "WRITE")));
        // Built in, and to a server that said "later".
        let later = "5 0801 0 0x4 0x1 0 nfs4_open_ops nfsv4 OPEN a:rpc_exit_task q:delayq";
        assert_eq!(call(later), None);
        let copies =
            "5 0801 0 0x4 0x1 0 nfs4_call_sync_ops nfsv4 COPY a:call_status q:xprt_pending";
        assert_eq!(call(copies), None);
        for other in [
            "",
            "x",
            "5 1 2 3 4 5 nlmclnt_lock_ops nlmv4 LOCK a:x q:y",
            "5 1 2 3 4 5 6 nfsv4",
        ] {
            assert_eq!(call(other), None, "{other}");
        }
    }

    fn client(id: u32, calls: u64) -> RpcClient {
        RpcClient {
            id,
            calls,
            ..RpcClient::default()
        }
    }

    struct Debugfs(tempfile::TempDir);

    impl Debugfs {
        fn new() -> Self {
            let sysfs = tempfile::tempdir().unwrap();
            fs::create_dir_all(sysfs.path().join("kernel/debug/bdi")).unwrap();
            Self(sysfs)
        }

        fn tasks(&self, id: u32, text: &str) {
            let dir = format!("kernel/debug/sunrpc/rpc_clnt/{id:x}");
            let dir = self.0.path().join(dir);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("tasks"), text).unwrap();
        }
    }

    #[test]
    fn a_call_is_open_since_it_was_first_seen() {
        let debugfs = Debugfs::new();
        let mut reader = OpenCallsReader::new(debugfs.0.path());
        let mut open = |now_ns, calls| {
            let mut clients = [client(29, calls)];
            reader.read(now_ns, &mut clients);
            let [client] = clients;
            client
                .open
                .map(|open| (open.count, open.since_ns, open.procedure.to_string()))
        };
        assert_eq!(open(1, 3), None, "it has no such file");
        debugfs.tasks(29, "");
        assert_eq!(open(2, 3), Some((0, 0, String::new())));
        debugfs.tasks(29, GETATTR);
        assert_eq!(open(3, 4), Some((1, 3, "GETATTR".to_owned())));
        debugfs.tasks(29, &format!("{GETATTR}{WRITE}"));
        assert_eq!(open(4, 5), Some((2, 3, "GETATTR".to_owned())));
        debugfs.tasks(29, WRITE);
        assert_eq!(open(5, 5), Some((1, 4, "WRITE".to_owned())));
    }

    #[test]
    fn of_hundreds_of_calls_the_oldest_are_read_and_that_there_are_more_is_known() {
        let debugfs = Debugfs::new();
        let mut reader = OpenCallsReader::new(debugfs.0.path());
        let line = |task: u32| WRITE.replace("   73", &format!("{task:5}"));
        let list = |from: u32| (from..from + 600).map(line).collect::<String>();
        let mut open = |now_ns| {
            let mut clients = [client(29, now_ns)];
            reader.read(now_ns, &mut clients);
            let [client] = clients;
            client.open.unwrap()
        };
        debugfs.tasks(29, &list(1));
        let first = open(1);
        assert!(first.more && (10..50).contains(&first.count), "{first:?}");
        debugfs.tasks(29, &list(2));
        assert_eq!(open(2).since_ns, 1, "only the first was answered");
        debugfs.tasks(29, &list(500));
        assert_eq!(open(3).since_ns, 3, "all that were followed were");
        debugfs.tasks(29, WRITE);
        assert!(!open(4).more);
    }

    #[test]
    fn of_many_clients_those_at_work_are_read_and_the_others_in_turn() {
        let debugfs = Debugfs::new();
        let mut reader = OpenCallsReader::new(debugfs.0.path());
        for id in 0..200 {
            debugfs.tasks(id, "");
        }
        let mut clients: Vec<_> = (0..200).map(|id| client(id, 1)).collect();
        for now_ns in 0..20 {
            reader.read(now_ns, &mut clients);
        }
        assert!(clients.iter().all(|client| client.open.is_some()));
        // A call that waits for the connection is not sent.
        debugfs.tasks(150, GETATTR);
        let mut seen = 0;
        for now_ns in 20..20 + 200 / IDLE_READS as u64 {
            reader.read(now_ns, &mut clients);
            seen += usize::from(
                clients[150]
                    .open
                    .as_ref()
                    .is_some_and(|open| open.count == 1),
            );
        }
        assert!(seen > 0);
        debugfs.tasks(7, GETATTR);
        clients[7].calls += 1;
        reader.read(300, &mut clients);
        assert_eq!(clients[7].open.as_ref().unwrap().count, 1);
    }
}
