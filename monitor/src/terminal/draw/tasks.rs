//! Tasks, by the time that the kernel took from them.

use monitor_common::Class;
use monitor_model::observation::Container;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{names, text};
use crate::publish::tasks::{Row, Sort};
use crate::terminal::data::Data;
use crate::terminal::table::ColumnKind::{Number, Path, Words};
use crate::terminal::table::{self, Column};
use crate::terminal::theme::Tone;
use crate::terminal::view::{Focus, View};
use crate::terminal::words::{about, span};

type TaskColumn<'a> = Column<'a, Row>;

/// The table; the row that is selected is marked.
pub fn draw(view: &View, data: &Data, area: Rect, buffer: &mut Buffer) {
    let rows = view.rows(area.height.into());
    let selected = view.selected(Focus::Tasks);
    let columns = columns(view, data, rows);
    table::draw(columns, rows, tone, selected, view.look, (area, buffer));
    if rows.is_empty() {
        let words = match (data.rows.total, view.filter.is_empty()) {
            (0, _) => " no task was throttled",
            (_, false) => " no task matches: / to change the filter, esc for all",
            (_, true) => " asking",
        };
        let words = Line::from(view.look.say(Tone::Dim, words));
        text(&[Line::default(), words], view.look, area, buffer);
    }
}

/// The threads of a server stand out, and who waits at this moment.
const fn tone(row: &Row) -> Tone {
    match (row.waiting_seconds, row.task.class) {
        (Some(_), Class::Nfsd | Class::Server | Class::Target) => Tone::Strong,
        (Some(_), _) => Tone::Plain,
        (None, _) => Tone::Dim,
    }
}

fn columns<'a>(view: &View, data: &'a Data, rows: &[Row]) -> Vec<TaskColumn<'a>> {
    let total = data.rows.total;
    let title = if view.filter.is_empty() {
        format!("TASKS {total}")
    } else {
        format!("TASKS {}/{total}", data.rows.matching)
    };
    let by = |sort: Sort, title: &str, (width, rank), cell: fn(&Row) -> String| {
        if view.sort == sort {
            // What it is sorted by is there on any screen.
            TaskColumn::new(Number, &format!("*{title}"), (width, 2), cell)
        } else {
            TaskColumn::new(Number, title, (width, rank), cell)
        }
    };
    let tick = format!("IN {}", about(data.node.daemon.interval_seconds));
    let mut columns = vec![
        TaskColumn::new(Words, &title, (15, 0), |row| row.task.comm.to_string()),
        TaskColumn::new(Number, "TID", (7, 1), |row| row.task.tid.to_string()),
        TaskColumn::new(Words, "CAUSE", (19, 3), |row| {
            row.task.cause.as_str().to_owned()
        }),
        TaskColumn::new(Path, "ON", (12, 5), |row| {
            names::of_bdi(&data.node, &row.task.bdi)
        }),
        by(Sort::Recent, &tick, (8, 6), |row| {
            span(row.throttled_seconds)
        }),
        by(Sort::Age, "AGE", (7, 4), |row| {
            row.waiting_seconds.map_or_else(|| "-".to_owned(), span)
        }),
        by(Sort::Delay, "TOTAL", (8, 9), |row| {
            finished(row, span(row.task.delay_ns as f64 / 1e9))
        }),
        by(Sort::Waits, "WAITS", (7, 10), |row| {
            finished(row, row.task.waits.to_string())
        }),
        TaskColumn::new(Words, "CLASS", (11, 8), |row| {
            row.task.class.as_str().to_owned()
        }),
    ];
    if rows.iter().any(|row| row.container.is_some()) {
        columns.push(TaskColumn::new(Words, "CONTAINER", (24, 7), |row| {
            row.container
                .as_ref()
                .map(Container::short)
                .unwrap_or_default()
        }));
    }
    columns
}

/// It has none: it is in its first wait, or this is a recording.
fn finished(row: &Row, words: String) -> String {
    if row.task.waits == 0 {
        "-".to_owned()
    } else {
        words
    }
}
