//! Tasks, by the time that the kernel took from them.

use monitor_common::Class;
use monitor_model::observation::Container;
use ratatui::text::Line;

use crate::publish::tasks::{Row, Sort};
use crate::terminal::look::Tone;
use crate::terminal::table::{Column, Table};
use crate::terminal::view::{Focus, View};
use crate::terminal::words::{about, cut, span};

/// The heading and at most so many rows; the one that is selected marked, or not.
pub fn table(view: &View, width: usize, most: usize, marked: bool) -> Vec<Line<'static>> {
    let Some(data) = view.data() else {
        return Vec::new();
    };
    let rows = view.rows(most);
    let has_containers = rows.iter().any(|row| row.container.is_some());
    let table = Table::new(columns(view, has_containers), width, view.look);
    let mut lines = vec![table.heading()];
    if rows.is_empty() {
        let words = match (data.rows.total, view.filter.is_empty()) {
            (0, _) => " no task was made to wait",
            (_, false) => " none has that text: / to change it, esc for all",
            (_, true) => " asking",
        };
        lines.push(Line::from(
            view.look.say(Tone::Dim, cut(words, width, view.look)),
        ));
    }
    for (at, row) in (view.tasks.top..).zip(rows) {
        let selected = marked && view.focus == Focus::Tasks && at == view.tasks.at;
        lines.push(table.row(&cells(row), tone(row), selected));
    }
    lines
}

/// The threads of a server stand out, and who waits at this moment.
const fn tone(row: &Row) -> Tone {
    match (row.waiting_seconds, row.task.class) {
        (Some(_), Class::Nfsd | Class::Server) => Tone::Strong,
        (Some(_), _) => Tone::Plain,
        (None, _) => Tone::Dim,
    }
}

fn columns(view: &View, has_containers: bool) -> Vec<Column> {
    let rows = view
        .data()
        .map(|data| (data.rows.matching, data.rows.total));
    let (matching, total) = rows.unwrap_or_default();
    let title = if view.filter.is_empty() {
        format!("TASKS {total}")
    } else {
        format!("TASKS {matching}/{total}")
    };
    let seconds = view
        .data()
        .map_or(1.0, |data| data.node.daemon.interval_seconds);
    let by = |sort: Sort, title: &str| {
        if view.sort == sort {
            format!("*{title}")
        } else {
            title.to_owned()
        }
    };
    // What it is sorted by is there on any screen.
    let rank = |sort: Sort, rank: u8| if view.sort == sort { 2 } else { rank };
    let tick = format!("IN {}", about(seconds));
    vec![
        Column::words(&title, 15, 0),
        Column::number("TID", 7, 1),
        Column::words("CAUSE", 19, 3),
        Column::words("BDI", 7, 5),
        Column::number(&by(Sort::Recent, &tick), 8, rank(Sort::Recent, 6)),
        Column::number(&by(Sort::Age, "AGE"), 7, rank(Sort::Age, 4)),
        Column::number(&by(Sort::Delay, "TOTAL"), 8, rank(Sort::Delay, 9)),
        Column::number(&by(Sort::Waits, "WAITS"), 7, rank(Sort::Waits, 10)),
        Column::words("CLASS", 10, 8),
        Column::rest(
            if has_containers { "CONTAINER" } else { "" },
            9,
            if has_containers { 7 } else { 11 },
        ),
    ]
}

fn cells(row: &Row) -> Vec<String> {
    let task = &row.task;
    vec![
        task.comm.to_string(),
        task.tid.to_string(),
        task.cause.as_str().to_owned(),
        if task.bdi.is_empty() {
            "-".to_owned()
        } else {
            task.bdi.to_string()
        },
        span(row.throttled_seconds),
        row.waiting_seconds.map_or_else(|| "-".to_owned(), span),
        finished(task.waits, span(task.delay_ns as f64 / 1e9)),
        finished(task.waits, task.waits.to_string()),
        task.class.as_str().to_owned(),
        row.container.as_ref().map(short).unwrap_or_default(),
    ]
}

/// It has none: it is in its first wait, or this is a recording.
fn finished(waits: u64, words: String) -> String {
    if waits == 0 { "-".to_owned() } else { words }
}

/// What tells containers apart first: `web-0/nginx`.
fn short(container: &Container) -> String {
    let id = || container.id.chars().take(12).collect::<String>();
    let uid = || container.pod_uid.chars().take(8).collect::<String>();
    match (container.hostname.as_str(), container.pod_uid.as_str()) {
        ("", "") => id(),
        ("", _) => join(&uid(), &container.name),
        (host, _) => join(host, &container.name),
    }
}

fn join(pod: &str, name: &str) -> String {
    if name.is_empty() {
        pod.to_owned()
    } else {
        format!("{pod}/{name}")
    }
}
