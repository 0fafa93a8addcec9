//! `/runbooks/NAME`: what to do about an alert, with this node's loops filled in.
//!
//! The pages of docs/runbooks are HTML since the build (monitor/build/runbooks.rs). Only the box at
//! the top and the values in the commands are of this moment.

use std::fmt::Write as _;

use axum::http::StatusCode;
use axum::response::Response;
use monitor_model::api::{LoopNow, Node};
use monitor_model::mitigation::Measure;
use monitor_model::related::RelatedKind;
use monitor_verdict::mitigation::Target;
use monitor_verdict::text::bytes;
use serde::Deserialize;

use super::page::{HtmlPage, escape};
use crate::publish::ready;
use crate::publish::snapshot::Snapshot;

/// Each runbook: its name, its title and its HTML, sorted by name.
const RUNBOOKS: &[(&str, &str, &str)] = &include!(concat!(env!("OUT_DIR"), "/runbooks.rs"));

/// The runbook whose device is not a loop's: the condition in the box names it.
const HELD: &str = RelatedKind::DirtyLimitHeld.as_str();

/// The runbook of a ring of nodes: none of them has a loop of its own.
const ACROSS: &str = "across-nodes";

/// Longer ids of loops are cut where they are quoted.
const MAX_QUOTED: usize = 200;

/// The query.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// The loop whose values are filled in; else the worst one.
    #[serde(rename = "loop")]
    loop_id: Option<String>,
}

/// The list of all runbooks.
pub(super) fn index(snapshot: &Snapshot, telemetry_path: &str) -> Response {
    let main = format!(
        "<section class=\"hero\" aria-labelledby=\"state\"><h1 id=\"state\">Runbooks</h1>\
         <p class=\"sentence\">What an alert means, how to confirm it, and how to end it. The loops of this node are filled in.</p>{}</section>",
        list()
    );
    page(StatusCode::OK, "Runbooks", main).answer(snapshot, telemetry_path)
}

/// One of them.
pub(super) fn runbook(
    snapshot: &Snapshot,
    name: &str,
    wanted: &Wanted,
    telemetry_path: &str,
) -> Response {
    let Some((name, title, html)) = RUNBOOKS.iter().find(|one| one.0 == name) else {
        return missing(name).answer(snapshot, telemetry_path);
    };
    let node = snapshot.node(&ready::not_ready_now(snapshot));
    let chosen = choose(&node, name, wanted);
    let values = match chosen {
        _ if *name == ACROSS => exported(snapshot),
        Some(one) if *name != HELD => values(snapshot, one),
        _ => Vec::new(),
    };
    let main = format!(
        "<section class=\"hero\" aria-labelledby=\"state\"><h1 id=\"state\">{}</h1>{}</section>\
         <section class=\"runbook\">{}<p><a href=\"/runbooks/\">All runbooks</a></p></section>",
        escape(title),
        now(&node, snapshot, name, chosen, wanted),
        filled(html, &values)
    );
    page(StatusCode::OK, title, main).answer(snapshot, telemetry_path)
}

fn missing(name: &str) -> HtmlPage {
    let main = format!(
        "<section class=\"hero\" data-state=\"unknown\" aria-labelledby=\"state\"><h1 id=\"state\">There is no such runbook</h1>\
         <p class=\"sentence\">There is no runbook <code>{}</code>. There are:</p>{}</section>",
        escape(&cut(name)),
        list()
    );
    page(StatusCode::NOT_FOUND, "There is no such runbook", main)
}

fn page(status: StatusCode, title: &str, main: String) -> HtmlPage {
    HtmlPage {
        status,
        view: "",
        id: String::new(),
        title: title.to_owned(),
        age: String::new(),
        main,
    }
}

fn list() -> String {
    let one = |(name, title, _): &(&str, &str, &str)| {
        let (name, title) = (escape(name), escape(title));
        format!("<li><a href=\"/runbooks/{name}\"><code>{name}</code></a>: {title}</li>")
    };
    let all: String = RUNBOOKS.iter().map(one).collect();
    format!("<ul>{all}</ul>")
}

/// The loop to fill in: the requested one, or else the worst one of this runbook's signature, or
/// else the worst one. One that ended has no values.
fn choose<'a>(node: &'a Node, name: &str, wanted: &Wanted) -> Option<&'a LoopNow> {
    let mut present = node.loops.iter().filter(|one| one.found.is_some());
    if let Some(id) = &wanted.loop_id {
        return present.find(|one| one.id == *id);
    }
    let is_of = |one: &&LoopNow| one.is_stuck() && one.verdict.signature.as_str() == name;
    present.clone().find(is_of).or_else(|| present.next())
}

/// What stands in the runbooks' commands for any loop, and what it is here. Each value is a number,
/// an address or a plain path.
fn values(snapshot: &Snapshot, one: &LoopNow) -> Vec<(&'static str, String)> {
    let Some(found) = &one.found else {
        return Vec::new();
    };
    let target = Target::of(found, &snapshot.observation);
    let mut values = Vec::new();
    if let Some(bdi) = target.bdi {
        values.push(("bdi=0:29", format!("bdi={bdi}")));
        values.push(("$bdi", bdi));
    }
    if let Some(path) = target.mount_point {
        values.push(("mount=/mnt ", format!("mount={path} ")));
    }
    if let Some(address) = target.server_address {
        values.push(("$server_address", address.to_string()));
    }
    if let Some(tgid) = found.server_tgid {
        values.push(("$server_pid", tgid.to_string()));
    }
    values
}

/// The file system that this node exports, if it is a single one.
fn exported(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let exports = snapshot.observation.topology.exports.iter();
    let mut known = exports.filter(|export| !export.bdi.is_empty());
    match known.next() {
        Some(first) if known.all(|export| export.bdi == first.bdi) => {
            vec![("export_bdi=254:16", format!("export_bdi={}", first.bdi))]
        }
        _ => Vec::new(),
    }
}

fn filled(html: &str, values: &[(&'static str, String)]) -> String {
    let fill = |html: String, (slot, value): &(&str, String)| html.replace(slot, &escape(value));
    values.iter().fold(html.to_owned(), fill)
}

/// The box at the top: each loop with its state, and what ends or prevents it.
fn now(
    node: &Node,
    snapshot: &Snapshot,
    name: &str,
    chosen: Option<&LoopNow>,
    wanted: &Wanted,
) -> String {
    let mut text = format!(
        "<p class=\"sentence\"><strong>On this node now:</strong> {}</p>",
        escape(&node.headline)
    );
    for related in &node.related {
        let kind = related.related.kind.as_str();
        let _ = write!(
            text,
            "<p><strong>{}</strong>: {}</p>",
            escape(kind),
            escape(&related.related.reason)
        );
    }
    if !node.loops.is_empty() {
        let rows: String = node.loops.iter().map(|one| row(one, name)).collect();
        let _ = write!(text, "<ul>{rows}</ul>");
    }
    if name == ACROSS {
        text.push_str(&across(snapshot));
        return text;
    }
    if name == HELD {
        text.push_str(
            "<p>The holder is named above, if there is one. The commands below have example values (<code>bdi=0:29</code>): replace them.</p>",
        );
        return text;
    }
    match (chosen, &wanted.loop_id) {
        (Some(one), _) => {
            let _ = write!(
                text,
                "<p>The commands below are filled in for the loop <code>{}</code>{}.</p>{}",
                escape(&one.id),
                escape(&mount(one)),
                measures(one)
            );
        }
        (None, Some(id)) => {
            let _ = write!(
                text,
                "<p>There is no loop <code>{}</code> on this node. The commands below have example values (<code>bdi=0:29</code>, <code>mount=/mnt</code>): replace them.</p>",
                escape(&cut(id))
            );
        }
        (None, None) => text.push_str(
            "<p>No loop is known on this node. The commands below have example values (<code>bdi=0:29</code>, <code>mount=/mnt</code>): replace them.</p>",
        ),
    }
    text
}

/// This node's own edges: what it mounts of other nodes.
fn across(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    if !snapshot.remote.is_empty() {
        let rows = snapshot.remote.iter().map(|one| {
            let held = one.held_bytes.map_or_else(
                || "an unknown number of bytes".to_owned(),
                |held| bytes(held as f64),
            );
            let state = if one.blocked {
                ": <strong>they hold its dirty limit and do not move, and its NFS server waits for it</strong>"
            } else {
                ""
            };
            format!(
                "<li><code>{}</code> at <code>{}</code>: this node holds {held} for it{state}</li>",
                escape(&one.export),
                escape(&one.mount)
            )
        });
        let rows: String = rows.collect();
        let _ = write!(text, "<p>NFS mounts of other nodes:</p><ul>{rows}</ul>");
    }
    text.push_str(if exported(snapshot).is_empty() {
        "<p>The commands below have an example value (<code>export_bdi=254:16</code>): replace it.</p>"
    } else {
        "<p>The commands below have the device of what this node exports. Act on one node of the ring.</p>"
    });
    text
}

fn row(one: &LoopNow, name: &str) -> String {
    let id = escape(&one.id);
    let what = if one.found.is_some() {
        format!(
            "<a href=\"/runbooks/{}?loop={}\"><code>{id}</code></a>",
            escape(name),
            encoded(&one.id)
        )
    } else {
        format!("<code>{id}</code> (ended)")
    };
    let signature = one.verdict.signature.as_str();
    let other = if one.is_stuck() && signature != name {
        format!(": see <a href=\"/runbooks/{signature}\">{signature}</a>")
    } else {
        String::new()
    };
    let (mount, state) = (escape(&mount(one)), one.state.as_str());
    format!("<li>{what}{mount}: <strong>{state}</strong>{other}</li>")
}

/// The first mount of a loop, after a space.
fn mount(one: &LoopNow) -> String {
    let found = one.found.as_ref();
    let mount = found.and_then(|found| found.mounts.first());
    mount.map_or_else(String::new, |mount| {
        format!(" ({} at {})", mount.source, mount.mount_point)
    })
}

/// The measures of the loop's state, the best one open.
fn measures(one: &LoopNow) -> String {
    let title = if one.is_stuck() {
        "Get out"
    } else {
        "Prevent it"
    };
    let all = one.measures.iter().enumerate();
    let all: String = all.map(|(at, one)| measure(one, at == 0)).collect();
    if all.is_empty() {
        return String::new();
    }
    format!("<h2>{title}: for this loop and this kernel</h2>{all}")
}

fn measure(one: &Measure, open: bool) -> String {
    let open = if open { " open" } else { "" };
    let undo = if one.undo.is_empty() {
        String::new()
    } else {
        format!(
            "<p>To undo it, when the load is gone:</p>{}",
            commands(&one.undo)
        )
    };
    format!(
        "<details{open}><summary>{}</summary>{}{undo}<p class=\"seen\">Seen: {}</p></details>",
        escape(&one.what),
        commands(&one.commands),
        escape(&one.seen)
    )
}

fn commands(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"commands\"><pre><code>{}</code></pre><button type=\"button\" data-does=\"copy\">Copy</button></div>",
        escape(&lines.join("\n"))
    )
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_QUOTED).collect()
}

/// For a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
