//! What the help says.

/// The keys.
pub const KEYS: [(&str, &str); 15] = [
    (
        "up, down, k, j",
        "select a row; page up, page down, home, g",
    ),
    ("tab", "the other table: tasks, backing devices"),
    (
        "enter",
        "details of the selection: a task's waits and kernel stack",
    ),
    (
        "/",
        "show only tasks with this text in name, id, cause, class, BDI or container",
    ),
    ("s", "sort tasks by the next of these"),
    (
        "r a d w",
        "sort by: time in the last tick (recent), age, delay in all, waits",
    ),
    ("space", "freeze and continue"),
    ("n, p", "next and previous loop; also right and left"),
    ("c", "the loop's cycle, as its evidence draws it"),
    (
        "m",
        "mitigations: commands, their undo, what is ineffective",
    ),
    ("e", "recent events"),
    ("i", "inputs: attached signals, lost records"),
    ("esc", "back; without a page: clear the filter"),
    ("ctrl-l", "redraw the screen"),
    ("q, ctrl-c", "quit"),
];

/// What stands on the screen.
pub const SHOWN: [&str; 5] = [
    "IN 1 s: time that the kernel made the task wait within the last tick. AGE: how long the wait lasts that it is in. \
     TOTAL, WAITS: finished waits since the daemon started.",
    "DIRTY, WRITEBACK: bytes of the device's pages. SHARE: the BDI share, its part of the node limit. USED: both of them against that.",
    "Node limit: the dirty pages from which on the kernel makes every writer wait, as /proc/vmstat tells it.",
    "T throttled, B blocked (a lock, or the disk), r running, . idle: the server's threads, a letter each, or to scale.",
    "ACKED: bytes a second that the server acknowledged to the client, a tick a column.",
];
