//! The end of each command's `--help`: exit status, files, environment. The manual pages and the
//! table in docs/metrics.md use the same data.

use textwrap::{Options, WordSplitter, fill};

use self::Item::{Entry, Text};

/// Maximum width of `--help`, columns.
const WIDTH: usize = 80;

/// The exit code of every command for wrong arguments.
const BAD_CONFIGURATION: Item = Entry(
    "78",
    "the command line or the configuration is wrong (EX_CONFIG)",
);

/// The content below a heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A term and its meaning.
    Entry(&'static str, &'static str),
    /// A sentence.
    Text(&'static str),
}

/// A heading with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Without a colon.
    pub heading: &'static str,
    /// In order.
    pub items: Vec<Item>,
}

/// The end of one command's help.
struct HelpEnding {
    command: &'static str,
    /// The exit codes, without 78, which every command has.
    exits: &'static [(&'static str, &'static str)],
    sections: &'static [(&'static str, &'static [Item])],
}

/// The program's own first, with an empty name.
const ENDINGS: [HelpEnding; 12] = [
    HelpEnding {
        command: "",
        exits: &[
            ("0", "done"),
            ("1", "done, with something degraded or left over"),
            ("2", "could not be done: the last line on stderr says why"),
            ("3", "a livelock was found (top --once, replay)"),
        ],
        sections: &[(
            "Files",
            &[
                Entry(
                    "/etc/throttle-monitor/config.toml",
                    "configuration of the service; check and support-bundle read it, too",
                ),
                Entry(
                    "/var/lib/throttle-monitor",
                    "where the service may write evidence and recordings",
                ),
                Entry(
                    "/usr/share/doc/throttle-monitor",
                    "documentation, with the runbooks",
                ),
            ],
        )],
    },
    HelpEnding {
        command: "run",
        exits: &[
            ("0", "stopped by SIGTERM or SIGINT"),
            (
                "2",
                "cannot start: the last line on stderr says why and what to do",
            ),
        ],
        sections: &[
            (
                "Files",
                &[
                    Entry(
                        "/etc/throttle-monitor/config.toml",
                        "what the service gives to --config.file",
                    ),
                    Entry(
                        "/var/lib/throttle-monitor",
                        "where the service may write: --evidence.dir and --record.dir take a \
                         directory in there",
                    ),
                    Entry("/proc, /sys", "all that it reads; never a path on NFS"),
                ],
            ),
            (
                "Signals",
                &[
                    Entry("SIGTERM, SIGINT", "stop"),
                    Entry(
                        "SIGHUP",
                        "reload --config.file: thresholds, names, the log's level and the guard's \
                         mode; the log names keys that need a restart",
                    ),
                ],
            ),
            (
                "Environment",
                &[
                    Entry(
                        "NOTIFY_SOCKET",
                        "set by systemd: READY=1 after the first tick, RELOADING=1 at a reload",
                    ),
                    Entry(
                        "WATCHDOG_USEC",
                        "set by systemd: a keep-alive after each later tick",
                    ),
                ],
            ),
        ],
    },
    HelpEnding {
        command: "check",
        exits: &[
            ("0", "everything that this kernel offers is attached"),
            (
                "1",
                "degraded: a signal or a privilege is missing, or a part of the node could not be \
                 read; the output says what that costs",
            ),
            ("2", "cannot monitor"),
        ],
        sections: &[
            (
                "With --format npd",
                &[
                    Entry("0", "no loop is at risk, and livelocks would be found"),
                    Entry(
                        "1",
                        "a loop is at risk of a livelock, or monitoring is degraded",
                    ),
                    Entry("2", "unknown: cannot monitor, or 78 otherwise"),
                ],
            ),
            (
                "Files",
                &[Entry(
                    "/etc/throttle-monitor/config.toml",
                    "read if it exists and --config.file names no other",
                )],
            ),
        ],
    },
    HelpEnding {
        command: "guard",
        exits: &[
            ("0", "done; undo: everything is as it was"),
            (
                "1",
                "undo: a value that something else has set since stays; it is printed",
            ),
            ("2", "cannot: the last line on stderr says why"),
        ],
        sections: &[(
            "Files",
            &[
                Entry(
                    "/run/throttle-monitor/guard.json",
                    "what was changed, and its value before",
                ),
                Entry(
                    "/proc/sys/vm/dirty_bytes, /proc/sys/vm/dirty_ratio",
                    "the dirty limit",
                ),
                Entry(
                    "/proc/sys/vm/dirty_background_bytes, /proc/sys/vm/dirty_background_ratio",
                    "where background writeback begins",
                ),
                Entry(
                    "/sys/class/bdi/*/{strict_limit,max_ratio,max_ratio_fine}",
                    "limits of a BDI; nothing else is ever written",
                ),
            ],
        )],
    },
    HelpEnding {
        command: "io-flusher",
        exits: &[
            (
                "1",
                "the kernel refused the exemption, without --try: COMMAND was not started",
            ),
            ("126", "COMMAND cannot be executed"),
            ("127", "COMMAND does not exist"),
            (
                "otherwise",
                "that of COMMAND, which takes the place of this process",
            ),
        ],
        sections: &[
            (
                "Effects",
                &[
                    Entry(
                        "PF_LOCAL_THROTTLE",
                        "in the flags of each thread (/proc/PID/task/TID/stat, field 9, bit \
                         0x00100000): it waits only for dirty pages of the device that it writes to",
                    ),
                    Entry(
                        "PF_MEMALLOC_NOIO",
                        "set by the same call: its memory allocations start no I/O",
                    ),
                    Text("Threads and processes that COMMAND starts inherit both."),
                ],
            ),
            (
                "Examples",
                &[
                    Entry(
                        "throttle-monitor io-flusher -- ganesha.nfsd -F",
                        "nfs-ganesha 3 to 5, which does not ask for the exemption itself",
                    ),
                    Entry(
                        "throttle-monitor io-flusher --try -- qemu-nbd -c /dev/nbd0 image",
                        "with the exemption if it is available",
                    ),
                ],
            ),
        ],
    },
    HelpEnding {
        command: "top",
        exits: &[
            ("0", "ended by a key or a signal; with --once: no livelock"),
            (
                "2",
                "cannot: no daemon answers and this process may not monitor itself; with --once \
                 also: the daemon is not ready",
            ),
            ("3", "with --once: a livelock or a deadlock at this moment"),
        ],
        sections: &[
            (
                "Keys",
                &[
                    Entry("?", "show all of them"),
                    Entry("q, ctrl-c", "quit"),
                    Entry(
                        "/",
                        "show only tasks with a text in their name, id, cause, class, BDI or container",
                    ),
                    Entry(
                        "s",
                        "sort tasks: time in the last tick, age of the wait, total time, waits",
                    ),
                    Entry("space", "freeze and continue"),
                    Entry(
                        "enter",
                        "the selected task with its kernel stack, or the selected BDI",
                    ),
                    Entry("c, m, e, i", "the cycle; mitigations; events; signals"),
                    Entry("n, p", "next and previous loop"),
                ],
            ),
            (
                "Examples",
                &[
                    Entry(
                        "throttle-monitor top",
                        "the daemon on this node; if there is none, monitor in this process",
                    ),
                    Entry(
                        "ssh -L 9746:127.0.0.1:9746 NODE",
                        "then `throttle-monitor top` here shows NODE",
                    ),
                    Entry(
                        "throttle-monitor top --once | head -20",
                        "one view, no escape codes",
                    ),
                    Entry("throttle-monitor top --format json", "one line per tick"),
                ],
            ),
            (
                "Thresholds",
                &[Entry(
                    "--thresholds.*",
                    "as of `run`; used when it monitors in this process",
                )],
            ),
            (
                "Environment",
                &[
                    Entry(
                        "NO_COLOR",
                        "set to anything: no colours, unless --color always",
                    ),
                    Entry("TERM", "unset or dumb: as --once"),
                ],
            ),
        ],
    },
    HelpEnding {
        command: "explain",
        exits: &[
            ("0", "printed"),
            (
                "2",
                "the daemon at --url does not answer, or does not know the loop",
            ),
        ],
        sections: &[],
    },
    HelpEnding {
        command: "record",
        exits: &[("0", "recorded"), ("2", "cannot record")],
        sections: &[],
    },
    HelpEnding {
        command: "replay",
        exits: &[
            (
                "0",
                "read to its end, no livelock; or stopped earlier with --serve",
            ),
            ("2", "unreadable; what could be read is printed first"),
            ("3", "read to its end, livelock found"),
        ],
        sections: &[],
    },
    HelpEnding {
        command: "support-bundle",
        exits: &[
            ("0", "written, complete"),
            ("1", "written; README.txt in it lists what is missing"),
            ("2", "cannot write the file"),
        ],
        sections: &[
            (
                "Contents",
                &[Text(
                    "check, facts of the kernel, memory settings, the configuration, and from the daemon: \
                     metrics, loops, BDIs, tasks, waits, verdicts and the last evidence. It holds names \
                     of hosts, mounts and processes; it holds no passwords, keys, command lines or \
                     contents of files that are served.",
                )],
            ),
            (
                "Files",
                &[Entry(
                    "/etc/throttle-monitor/config.toml",
                    "read if it exists and --config.file names no other",
                )],
            ),
            (
                "Examples",
                &[Entry(
                    "sudo throttle-monitor support-bundle -o bundle.tar.gz",
                    "then attach bundle.tar.gz to the report",
                )],
            ),
        ],
    },
    HelpEnding {
        command: "completions",
        exits: &[("0", "printed")],
        sections: &[(
            "Files",
            &[
                Entry(
                    "/usr/share/bash-completion/completions/throttle-monitor",
                    "for bash",
                ),
                Entry(
                    "/usr/share/zsh/vendor-completions/_throttle-monitor",
                    "for zsh, on Debian",
                ),
                Entry(
                    "/usr/share/zsh/site-functions/_throttle-monitor",
                    "for zsh, elsewhere",
                ),
                Entry(
                    "/usr/share/fish/vendor_completions.d/throttle-monitor.fish",
                    "for fish",
                ),
            ],
        )],
    },
    HelpEnding {
        command: "man",
        exits: &[("0", "written"), ("2", "cannot write")],
        sections: &[(
            "Files",
            &[Entry(
                "/usr/share/man/man1",
                "where the packages install the pages",
            )],
        )],
    },
];

/// The sections of a command; the program itself has an empty name.
pub fn sections(command: &str) -> Vec<Section> {
    let Some(ending) = ENDINGS.iter().find(|one| one.command == command) else {
        return Vec::new();
    };
    let exits = ending.exits.iter().map(|(code, said)| Entry(code, said));
    // Codes of COMMAND come last.
    let (small, other): (Vec<Item>, Vec<Item>) =
        exits.partition(|item| matches!(item, Entry(code, _) if code.len() == 1));
    let status = Section {
        heading: "Exit status",
        items: [small, vec![BAD_CONFIGURATION], other].concat(),
    };
    let rest = ending.sections.iter().map(|&(heading, items)| Section {
        heading,
        items: items.to_vec(),
    });
    std::iter::once(status).chain(rest).collect()
}

/// The end of a command's `--help`.
pub fn text(command: &str) -> String {
    let mut paragraphs = Vec::new();
    for section in sections(command) {
        let mut text = format!("{}:", section.heading);
        for item in section.items {
            let (line, indent) = match item {
                Entry(word, said) => (format!("{word}  {said}"), "      "),
                Text(said) => (said.to_owned(), "  "),
            };
            let options = Options::new(WIDTH)
                .initial_indent("  ")
                .subsequent_indent(indent)
                .break_words(false)
                .word_splitter(WordSplitter::NoHyphenation);
            text.push('\n');
            text.push_str(&fill(&line, options));
        }
        paragraphs.push(text);
    }
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::{args::Cli, generated};

    #[test]
    fn every_command_that_is_not_hidden_has_an_ending_and_no_other_has() {
        let program = Cli::command();
        let shown = program.get_subcommands().filter(|one| !one.is_hide_set());
        let mut shown: Vec<&str> = shown.map(clap::Command::get_name).collect();
        let mut known: Vec<&str> = ENDINGS.iter().skip(1).map(|one| one.command).collect();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, shown);
        for command in program.get_subcommands().filter(|one| !one.is_hide_set()) {
            let ending = command.get_after_long_help().map(ToString::to_string);
            assert_eq!(ending.as_deref(), Some(&*text(command.get_name())));
        }
    }

    #[test]
    fn docs_metrics_has_every_exit_status_of_every_command() {
        let mut table = String::from("| command | exit code | meaning |\n|---|---|---|\n");
        for ending in &ENDINGS {
            let command = match ending.command {
                "" => "every command".to_owned(),
                name => format!("`{name}`"),
            };
            for (code, said) in ending.exits {
                let _ = writeln!(table, "| {command} | {code} | {said} |");
            }
            if ending.command.is_empty() {
                let Entry(code, said) = BAD_CONFIGURATION else {
                    unreachable!("it is an entry")
                };
                let _ = writeln!(table, "| {command} | {code} | {said} |");
            }
        }
        generated::hold("metrics.md", &[("exit-codes", table)]);
    }

    #[test]
    fn an_ending_is_wrapped_behind_its_words_and_fits_a_terminal() {
        for ending in &ENDINGS {
            let text = text(ending.command);
            assert!(text.starts_with("Exit status:\n  "), "{text}");
            let long = text.lines().find(|line| line.chars().count() > WIDTH);
            assert_eq!(long, None);
        }
        assert!(text("check").contains("\n  1  degraded: a signal or a privilege is missing, "));
        assert!(
            text("check").contains("\n      not be read;"),
            "{}",
            text("check")
        );
    }
}
