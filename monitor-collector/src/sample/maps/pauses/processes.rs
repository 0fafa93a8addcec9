//! Whose pauses they are: names out of `/proc`, and which processes are userspace NFS
//! servers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use monitor_common::{COMM_LEN, Class};

/// Processes of which it is remembered that they are not NFS servers.
const MAX_PROCESSES: usize = 4096;
/// For so long an answer of `/proc` is believed: a process may execute another program, and
/// its number may become another process's.
pub const BELIEVED_NS: u64 = 3_000_000_000;

/// What `/proc` tells of processes.
pub struct Processes {
    procfs: PathBuf,
    servers: Vec<String>,
    /// Those that are not, and when that was read.
    others: BTreeMap<u32, u64>,
    found: bool,
}

impl Processes {
    pub fn new(procfs: &Path, servers: &[String]) -> Self {
        // The kernel keeps 15 bytes of a name.
        let cut = |name: &String| name.chars().take(COMM_LEN - 1).collect();
        Self {
            procfs: procfs.into(),
            servers: servers.iter().map(cut).collect(),
            others: BTreeMap::new(),
            found: false,
        }
    }

    /// Whether another's process can be looked at.
    pub fn can_be_told(&self) -> bool {
        self.name("1").is_some()
    }

    /// Whether one of these processes is a server, if none was seen so far: whoever looks for
    /// servers knows them before they pause.
    pub fn look_for_server(&mut self, processes: impl IntoIterator<Item = u32>, now_ns: u64) {
        for tgid in processes {
            if self.found {
                break;
            }
            self.others.remove(&tgid);
            self.class(tgid, now_ns);
        }
    }

    /// Whether a server was seen.
    pub const fn server_found(&self) -> bool {
        self.found
    }

    /// The name of a thread that it was not asked for; of one that is gone its process's,
    /// and a question mark where that is gone too.
    pub fn comm(&self, tid: u32, process: u32) -> [u8; COMM_LEN] {
        let name = self
            .name(&format!("{process}/task/{tid}"))
            .or_else(|| self.name(&process.to_string()));
        let name = name.as_deref().map_or("?", str::trim_end);
        let mut comm = [0; COMM_LEN];
        for (to, from) in comm[..COMM_LEN - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        comm
    }

    pub fn class(&mut self, tgid: u32, now_ns: u64) -> Class {
        let read_ns = self.others.get(&tgid);
        if read_ns.is_some_and(|&read_ns| now_ns.saturating_sub(read_ns) < BELIEVED_NS) {
            return Class::User;
        }
        // Of a process that is gone nothing is remembered: the next one may be a server.
        let Some(name) = self.name(&tgid.to_string()) else {
            return Class::User;
        };
        let name = name.trim_end();
        if self.servers.iter().any(|server| server == name) {
            self.found = true;
            return Class::Server;
        }
        if self.others.len() >= MAX_PROCESSES && !self.others.contains_key(&tgid) {
            self.others.clear();
        }
        self.others.insert(tgid, now_ns);
        Class::User
    }

    fn name(&self, process: &str) -> Option<String> {
        fs::read_to_string(self.procfs.join(process).join("comm")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up `/proc`.
    fn comm(procfs: &Path, process: &str, name: &str) {
        let process = procfs.join(process);
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("comm"), format!("{name}\n")).unwrap();
    }

    #[test]
    fn a_servers_process_is_told_by_its_name_and_where_none_can_be_read_it_is_said() {
        let procfs = tempfile::tempdir().unwrap();
        let mut processes = Processes::new(procfs.path(), &["ganesha.nfsd".to_owned()]);
        assert!(!processes.can_be_told());
        for (process, name) in [("1", "systemd"), ("7", "dd"), ("8", "ganesha.nfsd")] {
            comm(procfs.path(), process, name);
        }
        assert!(processes.can_be_told());
        assert_eq!(processes.class(7, 1), Class::User);
        assert_eq!(processes.class(9, 1), Class::User);
        assert!(!processes.server_found());
        assert_eq!(processes.class(8, 1), Class::Server);
        assert!(processes.server_found());
    }

    /// A shell of whom it was read that it is not a server.
    fn shell(procfs: &Path) -> Processes {
        comm(procfs, "7", "sh");
        let mut processes = Processes::new(procfs, &["ganesha.nfsd".to_owned()]);
        assert_eq!(processes.class(7, 1), Class::User);
        processes
    }

    #[test]
    fn a_shell_that_executes_a_server_is_one_some_seconds_later() {
        let procfs = tempfile::tempdir().unwrap();
        let mut processes = shell(procfs.path());
        comm(procfs.path(), "7", "ganesha.nfsd");
        assert_eq!(processes.class(7, BELIEVED_NS), Class::User);
        assert_eq!(processes.class(7, BELIEVED_NS + 1), Class::Server);
        assert!(processes.server_found());
    }

    #[test]
    fn a_number_that_was_anothers_or_nobodys_is_read_again() {
        let procfs = tempfile::tempdir().unwrap();
        let mut processes = shell(procfs.path());
        assert_eq!(processes.class(8, 1), Class::User);
        // It has ended before its pause was looked at, and a server has its number at once.
        comm(procfs.path(), "8", "ganesha.nfsd");
        assert_eq!(processes.class(8, 2), Class::Server);
        // And the other way round.
        comm(procfs.path(), "8", "dd");
        assert_eq!(processes.class(8, 3), Class::User);
        fs::remove_dir_all(procfs.path().join("7")).unwrap();
        assert_eq!(processes.class(7, BELIEVED_NS + 1), Class::User);
        comm(procfs.path(), "7", "ganesha.nfsd");
        assert_eq!(processes.class(7, BELIEVED_NS + 2), Class::Server);
    }

    #[test]
    fn a_server_that_others_know_is_one_at_once_unless_it_is_gone() {
        let procfs = tempfile::tempdir().unwrap();
        let mut processes = shell(procfs.path());
        processes.look_for_server([7, 9], 2);
        assert!(!processes.server_found(), "what was known is old");
        comm(procfs.path(), "7", "ganesha.nfsd");
        processes.look_for_server([9, 7], 3);
        assert!(processes.server_found());
        assert_eq!(processes.class(7, 3), Class::Server);
    }

    #[test]
    fn a_threads_name_is_its_own_else_its_processs_else_a_question_mark() {
        let procfs = tempfile::tempdir().unwrap();
        comm(procfs.path(), "7", "writer");
        comm(procfs.path(), "7/task/8", "a-name-of-fifteen-or-more");
        let processes = Processes::new(procfs.path(), &[]);
        let name = |tid, process| {
            let comm = processes.comm(tid, process).to_vec();
            String::from_utf8(comm)
                .unwrap()
                .trim_end_matches('\0')
                .to_owned()
        };
        assert_eq!(name(8, 7), "a-name-of-fifte");
        assert_eq!(name(9, 7), "writer");
        assert_eq!(name(10, 10), "?");
    }
}
