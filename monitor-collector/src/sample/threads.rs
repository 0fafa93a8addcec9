//! What one thread does, by its directory in /proc.

use std::{fs, io::Read as _, path::Path};

use compact_str::CompactString;
use monitor_model::observation::ServerThread;

/// Tells of a blocked thread what it sleeps in, and whether that is a lock. To
/// be asked only while another thread of its server is throttled: else it does
/// not matter.
pub fn asks_what_it_sleeps_in(thread: &mut ServerThread, dir: &Path) {
    thread.blocked_in = sleeps_in(dir);
    thread.behind_throttled = thread.blocked_in.as_deref().is_some_and(is_lock);
}

/// The function that a thread sleeps in. From wchan; up to 5.15 that is empty on most
/// kernels (x86 with the ORC unwinder), and the stack's uppermost function, which is the
/// same, is taken.
pub fn sleeps_in(dir: &Path) -> Option<CompactString> {
    let wchan = fs::read_to_string(dir.join("wchan")).unwrap_or_default();
    if !matches!(wchan.as_str(), "" | "0") {
        return Some(wchan.into());
    }
    let stack = fs::read_to_string(dir.join("stack")).ok()?;
    frames(&stack).next().map(Into::into)
}

/// Functions that wait for a lock, and those that take an inode's lock to write
/// to the file. wchan leaves out what is in the kernel's sections for the
/// scheduler and for locks; where the first are in there, which differs from
/// kernel to kernel, it shows the second.
const LOCKS: [&str; 16] = [
    "down_read",
    "down_write",
    "mutex_lock",
    "schedule_preempt_disabled",
    "btrfs_buffered_write",
    "btrfs_file_write_iter",
    "btrfs_inode_lock",
    "ext4_buffered_write_iter",
    "ext4_dio_write_iter",
    "ext4_file_write_iter",
    "f2fs_file_write_iter",
    "generic_file_write_iter",
    "nfsd_commit",
    "nfsd_vfs_write",
    "xfs_ilock",
    "xfs_ilock_iocb",
];
/// Beginnings of more of them, of many variants.
const LOCK_PREFIXES: [&str; 4] = ["rwsem_down_", "__down_read", "__down_write", "__mutex_lock"];

/// Whether a thread that sleeps in this function waits for a lock. What is not
/// known is none: `folio_wait_bit_common` and `io_schedule` wait for a page.
pub(super) fn is_lock(wchan: &str) -> bool {
    // Without what the compiler adds: `.isra.0`.
    let function = wchan.split('.').next().unwrap_or(wchan);
    LOCKS.contains(&function)
        || LOCK_PREFIXES
            .iter()
            .any(|prefix| function.starts_with(prefix))
}

/// The functions of /proc/PID/stack, innermost first, without offsets and
/// modules: `[<0>] down_write+0x1d/0x40 [nfs]`.
///
/// What fexit adds is left out: a function that is probed so begins with a call
/// of a trampoline, which calls the rest of it.
pub fn frames(stack: &str) -> impl Iterator<Item = &str> {
    let functions = stack.lines().filter_map(|line| {
        let (_, function) = line.split_once("] ")?;
        function.split('+').next()
    });
    let (mut callee, mut through_trampoline) = ("", false);
    functions.filter(move |function| {
        if function.starts_with("bpf_trampoline_") {
            through_trampoline = true;
            return false;
        }
        let again = through_trampoline && *function == callee;
        (callee, through_trampoline) = (function, false);
        !again
    })
}

/// `PF_LOCAL_THROTTLE`, include/linux/sched.h; `PF_LESS_THROTTLE` before 5.8.
const PF_LOCAL_THROTTLE: u32 = 0x0010_0000;

/// What the kernel tells of a thread in its stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStat {
    /// The state letter.
    pub state: char,
    /// Whether it is exempt from local dirty throttling; `None`: not known.
    pub exempt: Option<bool>,
}

/// The state letter; `None`: it has ended. `dir` is `/proc/PID/task/TID`: the
/// stat of a process adds up the times of all its threads.
pub fn read_state(dir: &Path) -> Option<char> {
    read_stat(dir).map(|stat| stat.state)
}

/// The same with the thread's flags.
pub fn read_stat(dir: &Path) -> Option<ThreadStat> {
    // Both stand behind the name, which has 16 bytes, and the flags behind six
    // numbers of at most 11 characters.
    let mut text = [0; 128];
    let length = fs::File::open(dir.join("stat"))
        .and_then(|mut stat| stat.read(&mut text))
        .ok()?;
    let text = String::from_utf8_lossy(text.get(..length)?);
    Some(ThreadStat {
        state: state(&text)?,
        exempt: flags(&text).map(|flags| flags & PF_LOCAL_THROTTLE != 0),
    })
}

/// Field 9 of /proc/PID/stat, if it was read to its end.
fn flags(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let (flags, _) = rest.splitn(7, ' ').nth(6)?.split_once(' ')?;
    flags.parse().ok()
}

/// The state letter of /proc/PID/stat: behind the last parenthesis, since a
/// name may contain any.
pub fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{ThreadStat, flags, frames, is_lock, read_stat, sleeps_in, state};

    #[test]
    fn the_flags_are_field_nine_and_a_number_that_was_cut_is_none() {
        let stat = |flags: &str| format!("201 (a) b) S 1 201 201 0 -1 {flags}");
        let ganesha = stat("1077936384 7 0 0");
        assert_eq!(flags(&ganesha), Some(0x4040_0100));
        assert_eq!(flags(&stat("1077936384")), None, "the rest may be missing");
        assert_eq!(flags(&stat("x 1")), None);
        assert_eq!(flags("201 (a) S 1 2"), None);
    }

    #[test]
    fn a_thread_is_exempt_by_its_flag() {
        let root = tempfile::tempdir().unwrap();
        let told = |flags: u32| {
            let stat = format!(
                "4194304 (sixteen-bytes-xy) D 4194303 4194303 4194303 34816 -1 {flags} 1 0"
            );
            fs::write(root.path().join("stat"), stat).unwrap();
            read_stat(root.path())
        };
        let of = |exempt| Some(ThreadStat { state: 'D', exempt });
        assert_eq!(told(0x4000_0140), of(Some(false)));
        assert_eq!(told(0x4018_0140), of(Some(true)));
        fs::write(root.path().join("stat"), "1 (a) D").unwrap();
        assert_eq!(read_stat(root.path()), of(None));
        fs::remove_file(root.path().join("stat")).unwrap();
        assert_eq!(read_stat(root.path()), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_state() {
        assert_eq!(state("12 (a) D) S 2 0"), Some('S'));
        assert_eq!(state("12 nonsense"), None);
    }

    #[test]
    fn locks_are_told_from_other_sleeps_by_name() {
        for lock in [
            "rwsem_down_write_slowpath",
            "rwsem_down_read_slowpath",
            "__mutex_lock.constprop.0",
            "ext4_buffered_write_iter",
            "btrfs_inode_lock",
            "xfs_ilock",
        ] {
            assert!(is_lock(lock), "{lock}");
        }
        for other in [
            "folio_wait_bit_common",
            "io_schedule",
            "jbd2_log_wait_commit",
            "xfs_ilock_data",
            "",
        ] {
            assert!(!is_lock(other), "{other}");
        }
    }

    #[test]
    fn the_functions_of_a_stack_are_read_without_offset_and_module() {
        let stack = "[<0>] rwsem_down_write_slowpath+0x23c/0x4b0\n[<0>] ext4_buffered_write_iter+0x33/0x140 [ext4]\n";
        assert_eq!(
            frames(stack).collect::<Vec<_>>(),
            ["rwsem_down_write_slowpath", "ext4_buffered_write_iter"]
        );
        assert_eq!(frames("").count(), 0);
    }

    #[test]
    fn the_daemons_own_trampoline_is_not_part_of_a_stack() {
        let stack = "[<0>] balance_dirty_pages+0x2ff/0xce0\n[<0>] bpf_trampoline_6442504437+0x5c/0xb3\n\
                     [<0>] balance_dirty_pages+0x5/0xce0\n[<0>] generic_perform_write+0x1/0x2\n";
        let told: Vec<_> = frames(stack).collect();
        assert_eq!(told, ["balance_dirty_pages", "generic_perform_write"]);
        // A function that calls itself does so.
        let stack = "[<0>] walk+0x1/0x2\n[<0>] walk+0x1/0x2\n";
        assert_eq!(frames(stack).count(), 2);
    }

    #[test]
    fn where_wchan_tells_nothing_the_stack_does() {
        let root = tempfile::tempdir().unwrap();
        let thread = root.path().join("7");
        fs::create_dir_all(&thread).unwrap();
        fs::write(thread.join("wchan"), "0").unwrap();
        assert_eq!(sleeps_in(&thread), None);
        fs::write(thread.join("stack"), "[<0>] down_write+0x1d/0x40\n").unwrap();
        assert_eq!(sleeps_in(&thread).as_deref(), Some("down_write"));
    }
}
