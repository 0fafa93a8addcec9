//! The pages for people: the node as it is now, and a verdict by its permanent
//! link.
//!
//! Each is one document with style and script inside. What it shows without the
//! script is made here; the script replaces it by what the API reports, and follows
//! the node tick by tick.

use std::fmt::Write;

use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use monitor_model::{api::EvidenceHead, evidence::Trigger, loops::Loop, verdict::LivelockState};
use monitor_verdict::evidence::{COLUMNS, lines};
use monitor_verdict::timeline;
use rustix::rand::{GetRandomFlags, getrandom};

use super::paths::PATHS;
use crate::evidence::Document;
use crate::publish::node::Node;
use crate::publish::ready::NotReady;
use crate::publish::snapshot::Snapshot;

/// Loops shown at most without the script; all of them are in /api/v1/loops.
const MAX_ROWS: usize = 20;

const TEMPLATE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
/// One module: the files know each other's functions.
const SCRIPT: &str = concat!(
    include_str!("page/dom.js"),
    include_str!("page/words.js"),
    include_str!("page/cycle.js"),
    include_str!("page/timeline.js"),
    include_str!("page/loops.js"),
    include_str!("page/tables.js"),
    include_str!("page/verdict.js"),
    include_str!("page/live.js"),
    include_str!("page/start.js"),
);

/// What one of the pages is made of; all but `main` is text.
pub(super) struct HtmlPage {
    pub status: StatusCode,
    /// Which part of the script it is for: `node`, `verdict`, or none.
    pub view: &'static str,
    pub id: String,
    pub title: String,
    /// How old it is.
    pub age: String,
    /// HTML.
    pub main: String,
}

/// The node as it is now.
pub(super) fn landing(
    snapshot: &Snapshot,
    not_ready: &[NotReady],
    telemetry_path: &str,
) -> Response {
    let node = snapshot.node(not_ready);
    let (state, word) = state(&node);
    let main = format!(
        "<section class=\"hero\" data-state=\"{state}\" aria-labelledby=\"state\"><h1 id=\"state\">{word}</h1>\
         <p class=\"sentence\">{}</p></section>{}",
        escape(&node.headline),
        loops(&snapshot.loops)
    );
    let age = if snapshot.ticked() {
        format!("As of {}", timeline::time(node.unix_ms))
    } else {
        String::new()
    };
    let page = HtmlPage {
        status: StatusCode::OK,
        view: "node",
        id: String::new(),
        title: word.to_owned(),
        age,
        main,
    };
    page.answer(snapshot, telemetry_path)
}

/// The evidence of a verdict.
pub(super) fn verdict(snapshot: &Snapshot, id: &str, telemetry_path: &str) -> Response {
    let kept = snapshot.evidence.iter();
    // Where the clock was set back there may be two: the newer one.
    let page = match kept.rev().find(|one| one.head.id == id) {
        Some(document) => evidence(document),
        None => gone(snapshot, id),
    };
    page.answer(snapshot, telemetry_path)
}

fn evidence(document: &Document) -> HtmlPage {
    let EvidenceHead {
        id,
        loop_id,
        signature,
        occasion,
        at,
        ..
    } = &document.head;
    let title = match occasion {
        Trigger::Confirmed => "The livelock is confirmed",
        Trigger::Deadlock => "The deadlock is confirmed",
        Trigger::Ended => "The livelock is over",
    };
    let (id, of) = (escape(id), escape(loop_id));
    let signature = signature.as_str();
    let cycle = escape(&lines(&document.steps, COLUMNS).join("\n"));
    HtmlPage {
        status: StatusCode::OK,
        view: "verdict",
        id: document.head.id.to_string(),
        title: title.to_owned(),
        age: String::new(),
        main: format!(
            "<section class=\"hero\" aria-labelledby=\"state\"><h1 id=\"state\">{title}</h1>\
             <p class=\"since\">Loop {of}, {signature}, at {at}</p>\
             <p><a href=\"/api/v1/evidence/{id}\" download=\"{id}.json\">Download the evidence (JSON)</a></p></section>\
             <section aria-labelledby=\"cycle\"><h2 id=\"cycle\">Who waits for whom</h2>\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The cycle as text\"><pre>{cycle}</pre></div></section>"
        ),
    }
}

/// Where to look for a document that is no longer kept.
fn gone(snapshot: &Snapshot, id: &str) -> HtmlPage {
    let mut list = String::new();
    for one in snapshot.evidence.iter().rev() {
        let id = escape(&one.head.id);
        // Writing to a String does not fail.
        let _ = write!(list, "<li><a href=\"/verdicts/{id}\">{id}</a></li>");
    }
    let list = if list.is_empty() {
        "<p>None is kept now.</p>".to_owned()
    } else {
        format!("<p>These are kept:</p><ul>{list}</ul>")
    };
    let id = escape(&id.chars().take(200).collect::<String>());
    HtmlPage {
        status: StatusCode::NOT_FOUND,
        view: "",
        id: String::new(),
        title: "This evidence is not kept".to_owned(),
        age: String::new(),
        main: format!(
            "<section class=\"hero\" data-state=\"unknown\" aria-labelledby=\"state\"><h1 id=\"state\">This evidence is not kept</h1>\
             <p class=\"sentence\">There is no evidence <code>{id}</code>. The daemon keeps only the newest documents in memory, \
             and none from before its start.</p>\
             <ul><li>With <code>--evidence.dir DIR</code> it also writes them to a directory: look for <code>DIR/{id}.json</code> on this node.</li>\
             <li>A recording of that time gives it again: <code>throttle-monitor replay --evidence.dir DIR FILE</code>.</li></ul>{list}</section>"
        ),
    }
}

impl HtmlPage {
    pub(super) fn answer(&self, snapshot: &Snapshot, telemetry_path: &str) -> Response {
        let nonce = nonce();
        let html = self.html(snapshot, telemetry_path, nonce.as_deref());
        (self.status, headers(nonce.as_deref()), Html(html)).into_response()
    }

    fn html(&self, snapshot: &Snapshot, telemetry_path: &str, nonce: Option<&str>) -> String {
        let daemon = &snapshot.daemon.info;
        let who = [daemon.node.as_str(), "Linux"];
        let who = who.into_iter().filter(|word| !word.is_empty());
        let who = format!(
            "{} {}",
            who.collect::<Vec<_>>().join(", "),
            daemon.kernel.as_str()
        );
        fill(TEMPLATE, |slot| match slot {
            "title" => escape(&format!("{} – throttle-monitor", self.title)),
            "view" => self.view.to_owned(),
            "id" => escape(&self.id),
            "who" => escape(&who),
            "link" => escape(&self.age),
            "main" => self.main.clone(),
            "footer" => footer(snapshot, telemetry_path),
            "style" => nonce.map_or_else(String::new, |nonce| {
                format!("<style nonce=\"{nonce}\">\n{STYLE}</style>")
            }),
            "script" => nonce.map_or_else(String::new, |nonce| {
                format!("<script type=\"module\" nonce=\"{nonce}\">\n{SCRIPT}</script>")
            }),
            _ => String::new(),
        })
    }
}

/// A number that cannot be guessed: only what has it may style or run. None if
/// the kernel gives none; the page then has neither.
fn nonce() -> Option<String> {
    let mut bytes = [0_u8; 16];
    let filled = getrandom(&mut bytes, GetRandomFlags::NONBLOCK).ok()?;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    (filled == bytes.len()).then_some(hex)
}

/// Nothing is loaded from elsewhere, nothing runs but our own script, nothing is
/// sent anywhere, text never becomes markup.
fn headers(nonce: Option<&str>) -> HeaderMap {
    let own = nonce.map_or_else(String::new, |nonce| {
        format!("script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; ")
    });
    let policy = format!(
        "default-src 'none'; {own}img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let mut headers = HeaderMap::new();
    // It is ASCII without control characters.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
}

/// A template with its slots, `{{name}}`, filled. What is filled in is not looked
/// at again.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = template.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (slot, rest) = part.split_once("}}").unwrap_or(("", part));
        filled.push_str(&value(slot));
        filled.push_str(rest);
    }
    filled
}

/// The state, and a word for it.
fn state(node: &Node) -> (&'static str, &'static str) {
    let known = node.unix_ms > 0 && (node.ready || node.state != LivelockState::None);
    if !known {
        return ("unknown", "Not known yet");
    }
    let word = match node.state {
        LivelockState::None | LivelockState::Recovered => "No livelock",
        LivelockState::Suspected => "Suspected",
        LivelockState::Livelock => "Livelock",
        LivelockState::Deadlock => "Deadlock",
    };
    (node.state.as_str(), word)
}

/// The loops as a table, with the first risk of each.
fn loops(found: &[Loop]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for one in found.iter().take(MAX_ROWS) {
        let mount = one.mounts.first();
        let mount = mount.map(|mount| format!("{} at {}", mount.source, mount.mount_point));
        let cells = [
            one.id.as_str(),
            mount.as_deref().unwrap_or_default(),
            one.proof.as_str(),
            one.scope.as_str(),
            one.exempt.state.as_str(),
            one.risk.first().map_or("", String::as_str),
        ];
        let cells = cells.map(|cell| format!("<td>{}</td>", escape(cell)));
        let _ = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let more = found.len().saturating_sub(MAX_ROWS);
    let more = if more > 0 {
        format!("<p>and {more} more</p>")
    } else {
        String::new()
    };
    format!(
        "<table><caption>Backing devices that this node serves to itself</caption><tr><th>loop</th>\
         <th>mount</th><th>proof</th><th>scope</th><th>exempt</th><th>risk</th></tr>{rows}</table>{more}"
    )
}

/// Links for programs, and the version.
fn footer(snapshot: &Snapshot, telemetry_path: &str) -> String {
    let daemon = &snapshot.daemon.info;
    let mut links = String::new();
    let metrics = (telemetry_path, "metrics for Prometheus");
    for (path, what) in std::iter::once(metrics).chain(PATHS.into_iter().skip(1)) {
        let path = escape(path);
        let _ = write!(
            links,
            "<li><a href=\"{path}\"><code>{path}</code></a>: {}</li>",
            escape(what)
        );
    }
    let (version, revision) = (escape(&daemon.version), escape(&daemon.revision));
    format!(
        "<h2>For programs</h2><ul>{links}</ul>\
         <p>throttle-monitor {version}, revision {revision}. Times on this page are in your browser’s time zone.</p>"
    )
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
