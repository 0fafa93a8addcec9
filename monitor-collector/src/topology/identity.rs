//! Which process has an id: `/proc/PID/stat` (`do_task_stat`, fs/proc/array.c). It takes no lock that
//! a stuck process may hold.

use std::fs;

use compact_str::CompactString;

use super::namespaces::Namespaces;

/// Its number of fields between the name and the start time, and the parent's place among them.
const STARTED: usize = 19;
const PARENT: usize = 1;
/// `kthreadd`, the parent of the kernel's threads.
const KTHREADD: u32 = 2;

/// A process, and not another one that has its id later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub tgid: u32,
    /// Its name. It executes another program if that is another one.
    pub name: CompactString,
    /// When it started, in clock ticks since the boot.
    pub started: u64,
    /// Whether it is a thread of the kernel.
    pub of_kernel: bool,
}

impl Identity {
    /// Reads it; `None`: the process has ended.
    pub fn read(spaces: &Namespaces, tgid: u32) -> Option<Self> {
        let stat = fs::read(spaces.process(tgid).join("stat")).ok()?;
        Self::parse(tgid, &String::from_utf8_lossy(&stat))
    }

    /// Whether it still runs, and executes the same program.
    pub fn holds(&self, spaces: &Namespaces) -> bool {
        Self::read(spaces, self.tgid).as_ref() == Some(self)
    }

    /// The name may contain any character.
    fn parse(tgid: u32, stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        let field = |at| rest.split_ascii_whitespace().nth(at);
        Some(Self {
            tgid,
            name: name.into(),
            started: field(STARTED)?.parse().ok()?,
            of_kernel: field(PARENT)?.parse() == Ok(KTHREADD),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn a_process_has_a_name_of_any_characters_and_a_start_time() {
        let stat = "201 (a) b (c) S 1 201 201 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8765 1 2";
        let read = Identity::parse(201, stat).unwrap();
        assert_eq!((&*read.name, read.started), ("a) b (c", 8765));
        assert!(!read.of_kernel);
        let stat = "90 (knbd0-recv) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 0 -20 1 0 77 0 0";
        assert!(Identity::parse(90, stat).unwrap().of_kernel);
    }

    #[test]
    fn an_incomplete_text_is_not_parsed() {
        for no in ["", "201 (a", "201 (a) ", "201 (a) S 1 2 3"] {
            assert_eq!(Identity::parse(201, no), None, "{no}");
        }
    }
}
