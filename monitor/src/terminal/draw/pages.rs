//! What may lie over the screen, in full.

use monitor_model::{loops::Loop, mitigation::Measure, observation::State};
use monitor_verdict::evidence;
use monitor_verdict::text::{bytes, percent};
use ratatui::text::Line;

use super::bdis::{congested, used};
use super::health::lossy;
use super::loops;
use crate::publish::node::{BdiNow, LoopNow, Node};
use crate::publish::snapshot::SignalReport;
use crate::publish::tasks::Row;
use crate::terminal::data::Origin;
use crate::terminal::help::KEYS;
use crate::terminal::look::{Look, Tone};
use crate::terminal::view::{Page, View};
use crate::terminal::words;
use crate::terminal::words::{clock, span};

/// What stands over it.
pub fn title(page: &Page) -> String {
    match page {
        Page::Help => " KEYS".to_owned(),
        Page::Cycle => " CYCLE".to_owned(),
        Page::Measures => " MEASURES".to_owned(),
        Page::Events => " WHAT HAPPENED LATELY".to_owned(),
        Page::Inputs => " INPUTS".to_owned(),
        Page::Task(tid) => format!(" TASK {tid}"),
        Page::Bdi(bdi) => format!(" BDI {bdi}"),
    }
}

/// Lines as they are gathered.
struct Lines {
    all: Vec<Line<'static>>,
    width: usize,
    look: Look,
}

impl Lines {
    /// A paragraph, every line of it so far in.
    fn put(&mut self, tone: Tone, indent: usize, text: &str) {
        let room = self.width.saturating_sub(indent);
        for line in words::lines(text, room, self.look) {
            let line = " ".repeat(indent) + &line;
            self.all.push(Line::from(self.look.say(tone, line)));
        }
    }

    /// A line that keeps its own spaces: drawings and commands. What is too long
    /// goes on below.
    fn keep(&mut self, tone: Tone, indent: usize, text: &str) {
        let room = self.width.saturating_sub(indent).max(1);
        let text: Vec<char> = words::clean(text, self.look).chars().collect();
        for piece in text.chunks(room) {
            let line = " ".repeat(indent) + &piece.iter().collect::<String>();
            self.all.push(Line::from(self.look.say(tone, line)));
        }
    }

    fn gap(&mut self) {
        if !self.all.is_empty() {
            self.all.push(Line::default());
        }
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        self.put(Tone::Strong, 1, text);
    }
}

/// All lines of a page.
pub fn lines(view: &View, page: &Page, width: usize) -> Vec<Line<'static>> {
    let mut lines = Lines {
        all: Vec::new(),
        width,
        look: view.look,
    };
    let node = view.data().map(|data| &data.node);
    match (page, node) {
        (Page::Help, _) => help(&mut lines),
        (_, None) => lines.put(Tone::Plain, 1, "Nothing is known yet."),
        (Page::Cycle | Page::Measures, Some(_)) => match view.loop_at() {
            None => lines.put(Tone::Plain, 1, "No loop is known."),
            Some((_, one)) => {
                lines.all.extend(loops::heading(view, width));
                if *page == Page::Cycle {
                    cycle(&mut lines, one);
                } else {
                    measures(&mut lines, view, one);
                }
            }
        },
        (Page::Events, Some(node)) => events(&mut lines, node),
        (Page::Inputs, Some(node)) => inputs(&mut lines, node),
        (Page::Task(tid), Some(_)) => task(&mut lines, view, *tid),
        (Page::Bdi(bdi), Some(node)) => match node.bdis.iter().find(|one| one.bdi.bdi == *bdi) {
            Some(one) => device(&mut lines, one, node.unix_ms),
            None => lines.put(Tone::Plain, 1, "It is there no more."),
        },
    }
    lines.all
}

fn help(lines: &mut Lines) {
    for (keys, what) in KEYS {
        let text = format!(" {keys:<18}{what}");
        lines.keep(Tone::Plain, 0, &text);
    }
    lines.heading("What is shown");
    for text in [
        "IN 1 s: time that the kernel made the task wait within the last tick. AGE: how long the wait lasts that it is in. \
         TOTAL, WAITS: finished waits since the daemon started.",
        "DIRTY, WRITEBACK: bytes of the device's pages. SHARE: the BDI share, its part of the node's dirty limit. USED: both of them against that.",
        "T throttled, B blocked (a lock, or the disk), r running, . idle: the server's threads.",
        "ACKED: bytes a second that the server acknowledged to the client, a tick a column.",
    ] {
        lines.put(Tone::Plain, 1, text);
    }
}

fn cycle(lines: &mut Lines, one: &LoopNow) {
    lines.gap();
    let shown = if one.steps.is_empty() {
        one.cycle.clone()
    } else {
        evidence::lines(&one.steps, lines.width.saturating_sub(1))
    };
    for line in &shown {
        lines.keep(Tone::Plain, 1, line);
    }
    if shown.is_empty() {
        let words = "It is drawn from the evidence, which is made when a livelock is confirmed. What the conditions say now:";
        lines.put(Tone::Dim, 1, words);
    }
    lines.gap();
    for (name, condition) in one.verdict.conditions.all() {
        let holds = match condition.holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        lines.put(
            Tone::Plain,
            1,
            &format!("{name}: {holds}: {}", condition.why),
        );
    }
    for missing in &one.verdict.confidence.missing {
        lines.put(Tone::Dim, 1, &format!("missing: {missing}"));
    }
    if let Some(id) = &one.evidence {
        lines.put(Tone::Dim, 1, &format!("evidence: /api/v1/evidence/{id}"));
    }
}

fn measures(lines: &mut Lines, view: &View, one: &LoopNow) {
    for (at, measure) in one.measures.iter().enumerate() {
        lines.heading(&format!("{}. {}", at + 1, measure.what));
        typed(lines, measure);
    }
    if one.measures.is_empty() {
        lines.put(
            Tone::Plain,
            1,
            "None was measured for this signature, so none is offered.",
        );
    }
    let signature = one.verdict.signature.as_str();
    let words = "Lines too long for this screen are easier to copy from";
    let url = match &view.origin {
        Origin::Daemon(url) => format!(" --url {url}"),
        Origin::Own => format!(" --bdi {}", one.verdict.client_bdi),
    };
    lines.gap();
    lines.put(
        Tone::Dim,
        1,
        &format!("{words}: throttle-monitor explain {signature}{url}"),
    );
    if !one.in_vain.is_empty() {
        lines.heading("Does not help");
        for vain in &one.in_vain {
            lines.put(Tone::Dim, 3, &format!("{}: {}", vain.what, vain.seen));
        }
    }
    if let Some(found) = &one.found {
        lines.heading("Exempt from local dirty throttling");
        lines.put(Tone::Plain, 3, &found.exempt.words());
    }
    let threatened = |found: &&Loop| !found.risk.is_empty() || !found.recommendations.is_empty();
    if let Some(found) = one.found.as_ref().filter(threatened) {
        lines.heading("Why it is dangerous here");
        for text in found.risk.iter().chain(&found.recommendations) {
            lines.put(Tone::Plain, 3, text);
        }
    }
}

fn typed(lines: &mut Lines, measure: &Measure) {
    for command in &measure.commands {
        lines.keep(Tone::Strong, 3, command);
    }
    lines.put(Tone::Dim, 3, &format!("Seen: {}", measure.seen));
    if !measure.undo.is_empty() {
        lines.put(Tone::Plain, 3, "To take it back, when the load is gone:");
    }
    for command in &measure.undo {
        lines.keep(Tone::Strong, 5, command);
    }
}

fn events(lines: &mut Lines, node: &Node) {
    if node.lines.is_empty() {
        lines.put(
            Tone::Plain,
            1,
            "Nothing has happened since the daemon started.",
        );
    }
    for line in &node.lines {
        let signature = line
            .signature
            .map_or_else(String::new, |one| format!(" ({})", one.as_str()));
        let (at, of, what) = (clock(line.unix_ms), &line.of, &line.what);
        lines.put(
            Tone::Strong,
            1,
            &format!("{at} {} {of}: {what}{signature}", line.kind),
        );
        lines.put(Tone::Plain, 3, &line.why);
    }
}

fn inputs(lines: &mut Lines, node: &Node) {
    let lossy: Vec<&SignalReport> = lossy(node).collect();
    for one in &lossy {
        let by = match one.strategy.as_str() {
            "none" => String::new(),
            strategy => format!(" (by {strategy})"),
        };
        let words = format!("{}: {}{by}", one.signal, one.state.as_str());
        lines.put(Tone::Warn, 1, &words);
        let all = [("lost", &one.loses), ("why", &one.reason)];
        for (label, text) in all.into_iter().filter(|(_, text)| !text.is_empty()) {
            lines.put(Tone::Plain, 3, &format!("{label}: {text}"));
        }
    }
    // One remedy is for many.
    let mut remedies: Vec<&str> = lossy.iter().map(|one| one.remedy.as_str()).collect();
    remedies.sort_unstable();
    remedies.dedup();
    for remedy in remedies.into_iter().filter(|remedy| !remedy.is_empty()) {
        lines.put(Tone::Strong, 1, &format!("to do: {remedy}"));
    }
    let rest = node
        .signals
        .iter()
        .filter(|one| lossy.iter().all(|bad| bad.signal != one.signal));
    for one in rest {
        let (signal, state) = (&one.signal, one.state.as_str());
        let words = match (one.state, one.reason.as_str()) {
            (State::Attached, _) => format!("{signal}: {state} (by {})", one.strategy),
            (_, "") => format!("{signal}: {state}, nothing to see here"),
            (_, why) => format!("{signal}: {state}, {why}"),
        };
        lines.put(Tone::Dim, 1, &words);
    }
    for sentence in &node.incomplete {
        lines.put(Tone::Warn, 1, sentence);
    }
    let lost = node.lost;
    let words = format!(
        "lost since the start: {} records, {} keys of full maps, {} waits without an end, {} observations not recorded",
        lost.ringbuf, lost.map_full, lost.evicted, lost.recording
    );
    lines.gap();
    lines.put(Tone::Plain, 1, &words);
}

fn task(lines: &mut Lines, view: &View, tid: u32) {
    let detail = view.detail(tid);
    let shown = view.data().map_or(&[][..], |data| &data.rows.tasks);
    let known: Vec<&Row> = match detail {
        Some(detail) => detail.causes.iter().collect(),
        None => shown.iter().filter(|row| row.task.tid == tid).collect(),
    };
    if let Some(row) = known.first() {
        let task = &row.task;
        let (comm, process, class) = (&task.comm, task.tgid, task.class.as_str());
        lines.put(
            Tone::Strong,
            1,
            &format!("{comm}, thread {tid} of process {process}, class {class}"),
        );
        let container = row.container.as_ref();
        let container = container.map_or_else(
            || "in no container that is known".to_owned(),
            |one| format!("in {}", one.words()),
        );
        lines.put(Tone::Plain, 1, &container);
        lines.gap();
    }
    for row in &known {
        cause(lines, row);
    }
    lines.gap();
    match detail.map(|detail| &detail.stack) {
        None => lines.put(Tone::Dim, 1, "asking for its kernel stack"),
        Some(Some(frames)) => {
            lines.put(Tone::Strong, 1, "Kernel stack, innermost first");
            for frame in frames {
                lines.put(Tone::Plain, 3, frame);
            }
        }
        Some(None) if known.is_empty() => {
            lines.put(Tone::Plain, 1, "It is not known any more to have waited.");
        }
        Some(None) => lines.put(
            Tone::Dim,
            1,
            "No kernel stack was read: they are read, of a loop's server and of who waits with it, while the loop is or may be stuck.",
        ),
    }
}

fn cause(lines: &mut Lines, row: &Row) {
    let task = &row.task;
    let bdi = if task.bdi.is_empty() {
        String::new()
    } else {
        format!(" on {}", task.bdi)
    };
    let lasts = row.waiting_seconds.map_or_else(
        || "does not wait now".to_owned(),
        |age| format!("waits for {}", span(age)),
    );
    let text = format!(
        "{}{bdi}: {lasts}; {} within the last tick; {} finished waits, {} in all",
        task.cause.as_str(),
        span(row.throttled_seconds),
        task.waits,
        span(task.delay_ns as f64 / 1e9),
    );
    lines.put(Tone::Plain, 1, &text);
}

fn device(lines: &mut Lines, one: &BdiNow, now_unix_ms: u64) {
    let bdi = &one.bdi;
    let amount =
        |amount: Option<u64>| amount.map_or_else(|| "not known".to_owned(), |n| bytes(n as f64));
    let by = bdi
        .congestion
        .map_or_else(String::new, |one| format!(" (by {})", one.by.as_str()));
    let all = [
        ("what", format!("{} {}", bdi.fstype, bdi.device)),
        (
            "role in a loop",
            if one.role.is_empty() {
                "none".to_owned()
            } else {
                one.role.to_string()
            },
        ),
        ("dirty", amount(bdi.dirty_bytes)),
        ("under writeback", amount(bdi.writeback_bytes)),
        ("BDI share", amount(bdi.threshold_bytes)),
        (
            "used of it",
            used(one).map_or_else(|| "not known".to_owned(), percent),
        ),
        ("written in all", amount(bdi.written_bytes)),
        ("congested", congested(one, now_unix_ms) + &by),
        ("tasks waiting", one.waiting_tasks.to_string()),
        (
            "max_ratio",
            bdi.max_ratio
                .map_or_else(|| "not known".to_owned(), |ratio| format!("{ratio} %")),
        ),
        (
            "strict_limit",
            match bdi.strict_limit {
                None => "this kernel has none".to_owned(),
                Some(on) => if on { "on" } else { "off" }.to_owned(),
            },
        ),
    ];
    for (label, value) in all {
        lines.put(Tone::Plain, 1, &format!("{label}: {value}"));
    }
}
