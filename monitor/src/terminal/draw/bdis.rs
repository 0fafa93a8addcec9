//! Backing devices: dirty pages against their BDI share, which is of the dirty limit.

use monitor_verdict::text::{bytes, percent};
use ratatui::text::Line;

use crate::publish::node::BdiNow;
use crate::terminal::look::Tone;
use crate::terminal::table::{Column, Table};
use crate::terminal::view::{Focus, View};
use crate::terminal::words::{about, between};

/// How many there are to show.
pub fn rows(view: &View) -> usize {
    view.data().map_or(0, |data| data.node.bdis.len())
}

/// The heading and at most so many rows; the one that is selected marked, or not.
pub fn table(view: &View, width: usize, most: usize, marked: bool) -> Vec<Line<'static>> {
    let Some(data) = view.data() else {
        return Vec::new();
    };
    let title = format!("BDIS {}", data.node.bdis_total);
    let columns = vec![
        Column::words(&title, 8, 0),
        Column::words("ROLE", 6, 6),
        Column::number("DIRTY", 8, 1),
        Column::number("WRITEBACK", 9, 4),
        Column::number("SHARE", 8, 2),
        Column::number("USED", 5, 5),
        Column::words("CONGEST", 8, 3),
        Column::number("TASKS", 5, 8),
        Column::rest("WHAT", 13, 7),
    ];
    let table = Table::new(columns, width, view.look);
    let mut lines = vec![table.heading()];
    let shown = data.node.bdis.iter().enumerate();
    for (at, one) in shown.skip(view.bdis.top).take(most) {
        let selected = marked && view.focus == Focus::Bdis && at == view.bdis.at;
        let tone = if is_congested(one) {
            Tone::Warn
        } else {
            Tone::Plain
        };
        lines.push(table.row(&cells(one, data.node.unix_ms), tone, selected));
    }
    lines
}

fn is_congested(one: &BdiNow) -> bool {
    one.bdi
        .congestion
        .is_some_and(|congestion| congestion.congested)
}

fn amount(amount: Option<u64>) -> String {
    amount.map_or_else(|| "?".to_owned(), |amount| bytes(amount as f64))
}

fn cells(one: &BdiNow, now_unix_ms: u64) -> Vec<String> {
    let bdi = &one.bdi;
    vec![
        bdi.bdi.to_string(),
        if one.role.is_empty() {
            "-".to_owned()
        } else {
            one.role.to_string()
        },
        amount(bdi.dirty_bytes),
        amount(bdi.writeback_bytes),
        amount(bdi.threshold_bytes),
        used(one).map_or_else(|| "?".to_owned(), percent),
        congested(one, now_unix_ms),
        one.waiting_tasks.to_string(),
        format!("{} {}", bdi.fstype, bdi.device).trim().to_owned(),
    ]
}

/// The part of its BDI share that is dirty or under writeback.
pub fn used(one: &BdiNow) -> Option<f64> {
    let bdi = &one.bdi;
    let held = bdi.dirty_bytes?.saturating_add(bdi.writeback_bytes?);
    let limit = bdi.threshold_bytes.filter(|limit| *limit > 0)?;
    Some(held as f64 / limit as f64)
}

/// `no`, `yes 12 s`; `?`: it cannot be told.
pub fn congested(one: &BdiNow, now_unix_ms: u64) -> String {
    let Some(congestion) = one.bdi.congestion else {
        return "?".to_owned();
    };
    match (congestion.congested, one.congested_since_unix_ms) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(since)) => format!("yes {}", about(between(since, now_unix_ms))),
    }
}
