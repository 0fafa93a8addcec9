//! What is served.

/// The paths besides the one of the metrics, each with what it shows.
pub(super) const PATHS: [(&str, &str); 15] = [
    ("/", "this page"),
    ("/-/healthy", "whether the process runs"),
    (
        "/-/ready",
        "whether the probes are attached and the last tick is recent",
    ),
    ("/api/v1/bdis", "backing devices: pages, limits, congestion"),
    (
        "/api/v1/events",
        "changes of loops and verdicts, as server-sent events",
    ),
    (
        "/api/v1/guard",
        "the guard: its mode, settings in force, actions (--guard.mode)",
    ),
    (
        "/api/v1/history",
        "the four conditions of each loop over the last ten minutes",
    ),
    (
        "/api/v1/loops",
        "Backing devices that this node serves to itself, their risk, and what to do",
    ),
    (
        "/api/v1/node",
        "the node at a glance: what this page and top show",
    ),
    ("/api/v1/probes", "how each signal is attached, and why"),
    (
        "/api/v1/recordings",
        "recordings of the last minutes and of those before a livelock",
    ),
    (
        "/api/v1/stalls",
        "waits that last, and recent ones over the threshold",
    ),
    (
        "/api/v1/tasks",
        "tasks and their waits (?limit=, ?sort=, ?match=; /api/v1/tasks/TID)",
    ),
    (
        "/api/v1/verdicts",
        "loops, their state, what changed when, and the evidence (/api/v1/evidence/ID; as a page /verdicts/ID)",
    ),
    (
        "/runbooks/",
        "what to do about each alert, with the loops of this node filled in",
    ),
];
