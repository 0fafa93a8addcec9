//! Whose pauses they are: names out of `/proc`, and which processes are userspace NFS
//! servers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use monitor_common::{COMM_LEN, Class};

/// Processes of which it is remembered that they are no NFS servers.
const MAX_PROCESSES: usize = 4096;

/// What `/proc` tells of processes.
pub struct Processes {
    procfs: PathBuf,
    servers: Vec<String>,
    /// Those that are none.
    others: BTreeSet<u32>,
    found: bool,
}

impl Processes {
    pub fn new(procfs: &Path, servers: &[String]) -> Self {
        // The kernel keeps 15 bytes of a name.
        let cut = |name: &String| name.chars().take(COMM_LEN - 1).collect();
        Self {
            procfs: procfs.into(),
            servers: servers.iter().map(cut).collect(),
            others: BTreeSet::new(),
            found: false,
        }
    }

    /// Whether another's process can be looked at.
    pub fn can_be_told(&self) -> bool {
        self.name("1").is_some()
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

    pub fn class(&mut self, tgid: u32) -> Class {
        if self.others.contains(&tgid) {
            return Class::User;
        }
        let name = self.name(&tgid.to_string());
        let name = name.as_deref().map(str::trim_end);
        if name.is_some_and(|name| self.servers.iter().any(|server| server == name)) {
            self.found = true;
            return Class::NfsServer;
        }
        if self.others.len() >= MAX_PROCESSES {
            self.others.clear();
        }
        self.others.insert(tgid);
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
        assert_eq!(processes.class(7), Class::User);
        assert_eq!(processes.class(9), Class::User);
        assert!(!processes.server_found());
        assert_eq!(processes.class(8), Class::NfsServer);
        assert!(processes.server_found());
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
