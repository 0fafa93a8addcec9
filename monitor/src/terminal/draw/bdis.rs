//! Backing devices: dirty pages against their BDI share, a part of the node limit.

use monitor_verdict::text::{bytes, percent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::names;
use crate::publish::node::{BdiNow, Node};
use crate::terminal::table::ColumnKind::{Number, Path, Words};
use crate::terminal::table::{self, Column};
use crate::terminal::theme::Tone;
use crate::terminal::view::{Focus, View};
use crate::terminal::words::{about, between};

type BdiColumn<'a> = Column<'a, BdiNow>;

/// The table; the row that is selected is marked.
pub fn draw(view: &View, node: &Node, area: Rect, buffer: &mut Buffer) {
    let title = format!("BDIS {}", node.bdis_total);
    let columns = vec![
        BdiColumn::new(Path, &title, (14, 0), |one| {
            names::of_bdi(node, &one.bdi.bdi)
        }),
        BdiColumn::new(Words, "ROLE", (6, 6), |one| match &*one.role {
            "" => "-".to_owned(),
            role => role.to_owned(),
        }),
        BdiColumn::new(Number, "DIRTY", (8, 1), |one| amount(one.bdi.dirty_bytes)),
        BdiColumn::new(Number, "WRITEBACK", (9, 4), |one| {
            amount(one.bdi.writeback_bytes)
        }),
        BdiColumn::new(Number, "SHARE", (8, 2), |one| {
            amount(one.bdi.threshold_bytes)
        }),
        BdiColumn::new(Number, "USED", (5, 5), |one| {
            or_unknown(used(one).map(percent))
        }),
        BdiColumn::new(Words, "CONGEST", (8, 3), |one| congested(one, node.unix_ms)),
        BdiColumn::new(Number, "TASKS", (5, 8), |one| one.waiting_tasks.to_string()),
        BdiColumn::new(Words, "TYPE", (5, 7), |one| one.bdi.fstype.to_string()),
    ];
    let tone = |one: &BdiNow| match one.bdi.congestion {
        Some(congestion) if congestion.congested => Tone::Warn,
        _ => Tone::Plain,
    };
    let rows = node.bdis.get(view.bdis.top..).unwrap_or_default();
    let selected = view.selected(Focus::Bdis);
    table::draw(columns, rows, tone, selected, view.look, (area, buffer));
}

fn or_unknown(words: Option<String>) -> String {
    words.unwrap_or_else(|| "?".to_owned())
}

fn amount(amount: Option<u64>) -> String {
    or_unknown(amount.map(|amount| bytes(amount as f64)))
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
