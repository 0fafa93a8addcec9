//! What stands at the end of each command's `--help`, and in its manual page in
//! sections of their own: exit status, files, environment.
//!
//! A heading ends in a colon and begins its line; what belongs to it is indented
//! by two, and two spaces part a word from what is said of it. [`Section`] reads
//! that again for `man`.

/// Of the program.
pub const PROGRAM: &str = "\
Exit status:
  0  done
  1  done, but degraded or not in full
  2  could not be done: the last line on stderr says why
  3  a livelock was found (top --once, replay)
  78  the command line or the configuration is wrong (EX_CONFIG)

Files:
  /etc/throttle-monitor/config.toml  configuration of the service: every key,
      commented out, at its default
  /var/lib/throttle-monitor  where the service may write evidence and recordings
  /usr/share/doc/throttle-monitor  everything else to read, runbooks among it

  These are the places of the packages. The program itself knows none of them.";

/// Of `run`.
pub const RUN: &str = "\
Exit status:
  0  stopped by SIGTERM or SIGINT
  2  cannot start: the last line on stderr says why and what to do
  78  the command line or the configuration is wrong

Files:
  /etc/throttle-monitor/config.toml  what the service gives to --config.file
  /var/lib/throttle-monitor  where the service may write: --evidence.dir and
      --record.dir take a directory in there
  /proc, /sys  all that it reads; never a path on NFS

Environment:
  NOTIFY_SOCKET  set by systemd: READY=1 after the first look at the kernel
  WATCHDOG_USEC  set by systemd: a sign of life after each later one";

/// Of `check`.
pub const CHECK: &str = "\
Exit status:
  0  everything that this kernel has is attached
  1  degraded: a signal or a privilege is missing, or not everything could be
      looked into; what that loses is printed
  2  cannot monitor
  78  the command line or the configuration is wrong";

/// Of `guard`.
pub const GUARD: &str = "\
Exit status:
  0  done; undo: all is as it was, or nothing was changed
  1  undo: somebody else has set something since, and it stays so; what
      it is, is printed
  2  cannot: the last line on stderr says why
  78  the command line or the configuration is wrong

Files:
  /run/throttle-monitor/guard.json  what was changed, and what it was before
  /proc/sys/vm/dirty_bytes, /proc/sys/vm/dirty_ratio  the dirty limit
  /proc/sys/vm/dirty_background_bytes, /proc/sys/vm/dirty_background_ratio  from
      where on the kernel writes
  /sys/class/bdi/*/strict_limit, /sys/class/bdi/*/max_ratio,
      /sys/class/bdi/*/max_ratio_fine  limits of a BDI; nothing else is ever
      written";

/// Of `io-flusher`.
pub const IO_FLUSHER: &str = "\
Exit status:
  1  the kernel refused the exemption, without --try: COMMAND was not started
  78  the command line or the configuration is wrong
  126  COMMAND cannot be executed
  127  there is no COMMAND
  otherwise  that of COMMAND, which has taken the place of this process

Effects:
  PF_LOCAL_THROTTLE  in the flags of each thread (/proc/PID/task/TID/stat, field
      9, bit 0x00100000): it waits only for dirty pages of what it writes to
  PF_MEMALLOC_NOIO  set by the same call: its allocations of memory start no I/O
  Threads and processes that COMMAND starts inherit both.

Examples:
  throttle-monitor io-flusher -- ganesha.nfsd -F  nfs-ganesha 3 to 5, which does
      not ask for the exemption itself
  throttle-monitor io-flusher --try -- qemu-nbd -c /dev/nbd0 image  with the
      exemption if it is available";

/// Of `top`.
pub const TOP: &str = "\
Exit status:
  0  ended by a key or a signal; with --once: no livelock
  2  cannot: no daemon answers and it may not look on its own; with --once, too,
      if the daemon is not ready, so that nobody can tell
  3  with --once: a livelock or a deadlock at this moment
  78  the command line or the configuration is wrong

Keys:
  ?  shows all of them
  q, ctrl-c  quit
  /  only tasks with a text in their name, id, cause, class, BDI or container
  s  sort tasks: time in the last tick, age of the wait, time in all, waits
  space  freeze and go on
  enter  the selected task with its kernel stack, or the selected BDI
  c, m, e, i  the cycle; measures, what to type; what happened; what comes in
  n, p  next and previous loop

Examples:
  throttle-monitor top  the daemon on this node, or without one on its own
  ssh -L 9746:127.0.0.1:9746 NODE  then `throttle-monitor top` here shows NODE
  throttle-monitor top --once | head -20  one view, no escape codes
  throttle-monitor top --format json  a line for each tick

Thresholds:
  --thresholds.*  as of `run`; they count where it looks on its own

Environment:
  NO_COLOR  set to anything: no colours, unless --color always
  TERM  unset or dumb: as --once";

/// Of `explain`.
pub const EXPLAIN: &str = "\
Exit status:
  0  told
  2  the daemon at --url does not answer, or does not know the loop
  78  the command line is wrong: no such word";

/// Of `record`.
pub const RECORD: &str = "\
Exit status:
  0  recorded
  2  cannot record
  78  the command line or the configuration is wrong";

/// Of `replay`.
pub const REPLAY: &str = "\
Exit status:
  0  read whole; no livelock; or, with --serve, ended before its end
  3  read whole; livelock found
  2  unreadable; what could be read was printed first
  78  the command line or the configuration is wrong";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Exit status:
  0  printed
  78  the command line is wrong: no such shell

Files:
  /usr/share/bash-completion/completions/throttle-monitor  for bash
  /usr/share/zsh/vendor-completions/_throttle-monitor  for zsh, on Debian
  /usr/share/zsh/site-functions/_throttle-monitor  for zsh, elsewhere
  /usr/share/fish/vendor_completions.d/throttle-monitor.fish  for fish";

/// Of `man`.
pub const MAN: &str = "\
Exit status:
  0  written
  2  cannot write
  78  the command line or the configuration is wrong

Files:
  /usr/share/man/man1  where the packages have the pages";

/// One heading with what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// Without its colon.
    pub heading: String,
    /// In order.
    pub items: Vec<Item>,
}

/// What stands below a heading.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A word, and what is said of it.
    Entry(String, String),
    /// A sentence.
    Text(String),
}

impl Section {
    /// Those of an ending.
    pub fn of(ending: &str) -> Vec<Self> {
        let mut sections: Vec<Self> = Vec::new();
        for line in ending.lines() {
            match (line.strip_prefix("  "), sections.last_mut()) {
                (Some(line), Some(section)) => section.line(line),
                (None, _) if line.ends_with(':') => sections.push(Self {
                    heading: line.trim_end_matches(':').to_owned(),
                    items: Vec::new(),
                }),
                _ => {}
            }
        }
        sections
    }

    /// A line without the first two spaces.
    fn line(&mut self, line: &str) {
        let begins = !line.starts_with(' ');
        match (begins, line.split_once("  "), self.items.last_mut()) {
            (true, Some((word, said)), _) => {
                let entry = Item::Entry(word.to_owned(), said.trim_start().to_owned());
                self.items.push(entry);
            }
            (false, _, Some(Item::Entry(_, said) | Item::Text(said))) => {
                said.push(' ');
                said.push_str(line.trim_start());
            }
            _ => self.items.push(Item::Text(line.trim_start().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_read_as_headings_with_words_and_sentences() {
        let sections =
            Section::of("Exit status:\n  0  fine\n      still\n\nFiles:\n  All of them.");
        let [status, files] = sections.as_slice() else {
            panic!("{sections:?}");
        };
        let fine = Item::Entry("0".to_owned(), "fine still".to_owned());
        assert_eq!(
            (status.heading.as_str(), &status.items[..]),
            ("Exit status", &[fine][..])
        );
        assert_eq!(files.items, [Item::Text("All of them.".to_owned())]);
    }

    #[test]
    fn docs_metrics_has_every_exit_status_of_every_command() {
        let docs = include_str!("../../../docs/metrics.md");
        let (_, section) = docs.split_once("## Exit codes").unwrap();
        for (command, ending) in [
            ("run", RUN),
            ("check", CHECK),
            ("guard", GUARD),
            ("io-flusher", IO_FLUSHER),
            ("top", TOP),
            ("explain", EXPLAIN),
            ("record", RECORD),
            ("replay", REPLAY),
            ("completions", COMPLETIONS),
            ("man", MAN),
        ] {
            let row = section.lines().find(|line| {
                let first = line.trim_start_matches('|').split('|').next();
                first.is_some_and(|cell| cell.contains(&format!("`{command}`")))
            });
            let row = row.unwrap_or_else(|| panic!("no row for {command}"));
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let mut sections = Section::of(ending).into_iter();
            let status = sections.find(|one| one.heading == "Exit status").unwrap();
            for item in status.items {
                let Item::Entry(code, _) = item else { continue };
                // The cell of a small one; others stand in the text below the table.
                let told = code.parse::<usize>().ok().and_then(|at| cells.get(at + 2));
                let is_told = told.map_or_else(
                    || section.contains(&format!(" {code} ")),
                    |cell| !cell.is_empty(),
                );
                assert!(is_told, "exit status {code} of {command}");
            }
        }
    }

    #[test]
    fn every_ending_has_headings_only_that_say_something_and_fits_a_terminal() {
        for ending in [
            PROGRAM,
            RUN,
            CHECK,
            IO_FLUSHER,
            TOP,
            EXPLAIN,
            RECORD,
            REPLAY,
            COMPLETIONS,
            MAN,
        ] {
            let sections = Section::of(ending);
            assert!(
                sections.iter().any(|one| one.heading == "Exit status"),
                "{ending}"
            );
            assert!(sections.iter().all(|one| !one.items.is_empty()), "{ending}");
            let long = ending.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None);
        }
    }
}
