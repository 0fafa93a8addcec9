//! The keys, for the help and for the documentation.

/// The keys, for the help.
pub const KEYS: [(&str, &str); 15] = [
    (
        "up, down, k, j",
        "select a row; page up, page down, home, g",
    ),
    ("tab", "the other table: tasks, backing devices"),
    (
        "enter",
        "what is selected, closely: a task's waits and kernel stack",
    ),
    (
        "/",
        "only tasks with this text in name, id, cause, class, BDI or container",
    ),
    ("s", "sort tasks by the next of what follows"),
    (
        "r a d w",
        "sort by: time in the last tick (recent), age, delay in all, waits",
    ),
    ("space", "freeze, and go on"),
    ("n, p", "the next loop, the one before; also right and left"),
    ("c", "the loop's cycle, as its evidence draws it"),
    (
        "m",
        "measures: what to type, how to take it back, what is in vain",
    ),
    ("e", "what happened lately"),
    ("i", "inputs: which signals come in, what was lost"),
    ("esc", "back; without a page: no filter"),
    ("ctrl-l", "draw the screen anew"),
    ("q, ctrl-c", "quit"),
];
