//! What may lie over the screen, in full.

use monitor_model::{mitigation::Measure, observation::State};
use monitor_verdict::evidence;
use monitor_verdict::text::{bytes, percent};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::bdis::{congested, used};
use super::health::lossy;
use super::{loops, names, node, text};
use crate::publish::node::{BdiNow, LoopNow, Node};
use crate::publish::snapshot::SignalReport;
use crate::publish::tasks::Row;
use crate::terminal::data::Origin;
use crate::terminal::help::{KEYS, SHOWN};
use crate::terminal::theme::{Theme, Tone};
use crate::terminal::view::{Page, View};
use crate::terminal::words::{self, clock, span};

/// The keys of all pages.
const PAGE_KEYS: &str = " q or esc back  up, down scroll  n next loop  space freeze";

/// Lines of a page that are seen.
pub fn height(view: &View) -> usize {
    usize::from(view.size.1).saturating_sub(3)
}

/// The state stays on top of every page, and the keys below it.
pub fn draw(view: &View, page: &Page, area: Rect, buffer: &mut Buffer) {
    let heights = [
        Constraint::Max(1),
        Constraint::Max(1),
        Constraint::Fill(1),
        Constraint::Max(1),
    ];
    let [top, title, middle, bottom] = Layout::vertical(heights).areas(area);
    let (all, look) = (lines(view), view.look);
    let seen = usize::from(middle.height);
    let from = view.scroll.min(all.len().saturating_sub(seen));
    let mut heading = name(view, page);
    let more = all.len().saturating_sub(from + seen);
    if more > 0 {
        heading = format!("{heading} ({more} more lines: down)");
    }
    let scrolled = all.get(from..).unwrap_or_default();
    let one = |tone, words| vec![Line::from(look.say(tone, words))];
    text(&[node::state(view)], look, top, buffer);
    text(&one(Tone::Heading, heading), look, title, buffer);
    text(scrolled, look, middle, buffer);
    text(&one(Tone::Dim, PAGE_KEYS.to_owned()), look, bottom, buffer);
}

/// What stands over it.
fn name(view: &View, page: &Page) -> String {
    match page {
        Page::Help => " KEYS".to_owned(),
        Page::Cycle => " CYCLE".to_owned(),
        Page::Measures => " MEASURES".to_owned(),
        Page::Events => " RECENT EVENTS".to_owned(),
        Page::Inputs => " INPUTS".to_owned(),
        Page::Task(tid) => format!(" TASK {tid}"),
        Page::Bdi(bdi) => {
            let name = view.data().map(|data| names::of_bdi(&data.node, bdi));
            format!(" BDI {}", name.as_deref().unwrap_or(bdi))
        }
    }
}

/// Lines as they are gathered.
struct Lines {
    all: Vec<Line<'static>>,
    width: usize,
    look: Theme,
}

impl Lines {
    /// A paragraph, every line of it so far in. Spaces at its begin stay.
    fn put(&mut self, tone: Tone, indent: usize, text: &str) {
        let room = self.width.saturating_sub(indent);
        for line in words::lines(text, room, self.look) {
            let line = " ".repeat(indent) + &line;
            self.all.push(Line::from(self.look.say(tone, line)));
        }
    }

    fn plain(&mut self, text: &str) {
        self.put(Tone::Plain, 1, text);
    }

    fn dim(&mut self, text: &str) {
        self.put(Tone::Dim, 1, text);
    }

    fn strong(&mut self, text: &str) {
        self.put(Tone::Strong, 1, text);
    }

    /// More of what is above.
    fn more(&mut self, text: &str) {
        self.put(Tone::Plain, 3, text);
    }

    fn gap(&mut self) {
        if !self.all.is_empty() {
            self.all.push(Line::default());
        }
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        self.strong(text);
    }
}

/// All lines of the page that is open.
pub fn lines(view: &View) -> Vec<Line<'static>> {
    let mut lines = Lines {
        all: Vec::new(),
        width: view.width(),
        look: view.look,
    };
    let node = view.data().map(|data| &data.node);
    match (&view.page, node) {
        (None, _) => {}
        (Some(Page::Help), _) => help(&mut lines),
        (_, None) => lines.plain("Nothing is known yet."),
        (Some(page @ (Page::Cycle | Page::Measures)), Some(node)) => match view.loop_at() {
            None => lines.plain("No loop is known."),
            Some((at, one)) => {
                let heading = loops::heading(view, node, at, one).to_string();
                lines.put(Tone::Heading, 1, heading.trim_start());
                match page {
                    Page::Cycle => cycle(&mut lines, one),
                    _ => measures(&mut lines, view, one),
                }
            }
        },
        (Some(Page::Events), Some(node)) => events(&mut lines, node),
        (Some(Page::Inputs), Some(node)) => inputs(&mut lines, node),
        (Some(Page::Task(tid)), Some(_)) => task(&mut lines, view, *tid),
        (Some(Page::Bdi(bdi)), Some(node)) => {
            match node.bdis.iter().find(|one| one.bdi.bdi == *bdi) {
                Some(one) => device(&mut lines, one, node.unix_ms),
                None => lines.plain("It no longer exists."),
            }
        }
    }
    lines.all
}

fn help(lines: &mut Lines) {
    for (keys, what) in KEYS {
        lines.plain(&format!("{keys:<18}{what}"));
    }
    lines.heading("What is shown");
    for text in SHOWN {
        lines.plain(text);
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
        lines.plain(line);
    }
    if shown.is_empty() {
        lines.dim("It is drawn from the evidence, which is taken when a livelock is confirmed. The conditions now:");
    }
    lines.gap();
    for (name, condition) in one.verdict.conditions.all() {
        let holds = loops::holds(condition.holds);
        lines.plain(&format!("{name}: {holds}: {}", condition.why));
    }
    for missing in &one.verdict.confidence.missing {
        lines.dim(&format!("missing: {missing}"));
    }
    if let Some(id) = &one.evidence {
        lines.dim(&format!("evidence: /api/v1/evidence/{id}"));
    }
}

fn measures(lines: &mut Lines, view: &View, one: &LoopNow) {
    for (at, measure) in one.measures.iter().enumerate() {
        lines.heading(&format!("{}. {}", at + 1, measure.what));
        typed(lines, measure);
    }
    if one.measures.is_empty() {
        lines.plain("None was measured for this signature, so none is offered.");
    }
    let signature = one.verdict.signature.as_str();
    let words = "Lines too long for this screen are easier to copy from";
    let url = match &view.origin {
        Origin::Daemon(url) => format!(" --url {url}"),
        Origin::Own => format!(" --bdi {}", one.verdict.client_bdi),
    };
    lines.gap();
    lines.dim(&format!(
        "{words}: throttle-monitor explain {signature}{url}"
    ));
    if !one.ineffective.is_empty() {
        lines.heading("Does not help");
        for ineffective in &one.ineffective {
            lines.put(
                Tone::Dim,
                3,
                &format!("{}: {}", ineffective.what, ineffective.seen),
            );
        }
    }
    let Some(found) = &one.found else {
        return;
    };
    lines.heading("Exempt from local dirty throttling");
    lines.more(&found.exempt.words());
    let mut threats = found.risk.iter().chain(&found.recommendations).peekable();
    if threats.peek().is_some() {
        lines.heading("Why it is at risk here");
    }
    for text in threats {
        lines.more(text);
    }
}

fn typed(lines: &mut Lines, measure: &Measure) {
    for command in &measure.commands {
        lines.put(Tone::Strong, 3, command);
    }
    lines.put(Tone::Dim, 3, &format!("Seen: {}", measure.seen));
    if !measure.undo.is_empty() {
        lines.more("To undo it, when the load is gone:");
    }
    for command in &measure.undo {
        lines.put(Tone::Strong, 5, command);
    }
}

fn events(lines: &mut Lines, node: &Node) {
    if node.lines.is_empty() {
        lines.plain("No event since the daemon started.");
    }
    for line in &node.lines {
        let signature = line.signature;
        let signature = signature.map_or_else(String::new, |one| format!(" ({})", one.as_str()));
        let (at, kind, of, what) = (clock(line.unix_ms), &line.kind, &line.of, &line.what);
        lines.strong(&format!("{at} {kind} {of}: {what}{signature}"));
        lines.more(&line.why);
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
        let all = [("lost", &one.limitation), ("why", &one.reason)];
        for (label, text) in all.into_iter().filter(|(_, text)| !text.is_empty()) {
            lines.more(&format!("{label}: {text}"));
        }
    }
    // One remedy is for many.
    let mut remedies: Vec<&str> = lossy.iter().map(|one| one.remedy.as_str()).collect();
    remedies.sort_unstable();
    remedies.dedup();
    for remedy in remedies.into_iter().filter(|remedy| !remedy.is_empty()) {
        lines.strong(&format!("to do: {remedy}"));
    }
    let is_whole = |one: &&SignalReport| lossy.iter().all(|bad| bad.signal != one.signal);
    for one in node.signals.iter().filter(is_whole) {
        let (signal, state) = (&one.signal, one.state.as_str());
        lines.dim(&match (one.state, one.reason.as_str()) {
            (State::Attached, _) => format!("{signal}: {state} (by {})", one.strategy),
            (_, "") => format!("{signal}: {state}, does not apply here"),
            (_, why) => format!("{signal}: {state}, {why}"),
        });
    }
    for sentence in &node.incomplete {
        lines.put(Tone::Warn, 1, sentence);
    }
    let lost = node.lost;
    lines.gap();
    lines.plain(&format!(
        "lost since the start: {} records, {} keys of full maps, {} waits without an end, {} observations not recorded",
        lost.ringbuf, lost.map_full, lost.evicted, lost.recording
    ));
}

fn task(lines: &mut Lines, view: &View, tid: u32) {
    let detail = view.detail(tid);
    let Some(data) = view.data() else {
        return;
    };
    let known: Vec<&Row> = match detail {
        Some(detail) => detail.causes.iter().collect(),
        None => data
            .rows
            .tasks
            .iter()
            .filter(|row| row.task.tid == tid)
            .collect(),
    };
    if let Some(row) = known.first() {
        let task = &row.task;
        let (comm, process, class) = (&task.comm, task.tgid, task.class.as_str());
        lines.strong(&format!(
            "{comm}, thread {tid} of process {process}, class {class}"
        ));
        match &row.container {
            Some(one) => lines.plain(&format!("in {}", one.words())),
            None => lines.plain("in no known container"),
        }
        lines.gap();
    }
    for row in &known {
        lines.plain(&cause(&data.node, row));
    }
    lines.gap();
    match detail.map(|detail| &detail.stack) {
        None => lines.dim("fetching its kernel stack"),
        Some(Some(frames)) => {
            lines.strong("Kernel stack, innermost first");
            for frame in frames {
                lines.more(frame);
            }
        }
        Some(None) if known.is_empty() => lines.plain("Its waits are no longer recorded."),
        Some(None) => lines.dim("No kernel stack was read. Stacks are read of a loop's server and of tasks that wait with it, while the loop is or may be stuck."),
    }
}

fn cause(node: &Node, row: &Row) -> String {
    let task = &row.task;
    let bdi = if task.bdi.is_empty() {
        String::new()
    } else {
        format!(" on {}", names::of_bdi(node, &task.bdi))
    };
    let lasts = row.waiting_seconds.map_or_else(
        || "does not wait now".to_owned(),
        |age| format!("waits for {}", span(age)),
    );
    format!(
        "{}{bdi}: {lasts}; {} within the last tick; {} finished waits, {} in all",
        task.cause.as_str(),
        span(row.throttled_seconds),
        task.waits,
        span(task.delay_ns as f64 / 1e9),
    )
}

fn device(lines: &mut Lines, one: &BdiNow, now_unix_ms: u64) {
    let bdi = &one.bdi;
    let amount = |amount: Option<u64>| amount.map(|amount| bytes(amount as f64));
    let by = bdi
        .congestion
        .map(|one| format!(" (by {})", one.by.as_str()));
    let role = if one.role.is_empty() {
        "none"
    } else {
        &*one.role
    };
    let strict = match bdi.strict_limit {
        None => "this kernel has none",
        Some(true) => "on",
        Some(false) => "off",
    };
    let all = [
        ("what", Some(format!("{} {}", bdi.fstype, bdi.device))),
        ("role in a loop", Some(role.to_owned())),
        ("dirty", amount(bdi.dirty_bytes)),
        ("under writeback", amount(bdi.writeback_bytes)),
        ("BDI share", amount(bdi.threshold_bytes)),
        ("used of it", used(one).map(percent)),
        ("written in all", amount(bdi.written_bytes)),
        (
            "congested",
            Some(congested(one, now_unix_ms) + &by.unwrap_or_default()),
        ),
        ("tasks waiting", Some(one.waiting_tasks.to_string())),
        ("max_ratio", bdi.max_ratio.map(|ratio| format!("{ratio} %"))),
        ("strict_limit", Some(strict.to_owned())),
    ];
    for (label, value) in all {
        lines.plain(&format!(
            "{label}: {}",
            value.as_deref().unwrap_or("not known")
        ));
    }
}
