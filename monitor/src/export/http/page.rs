//! The page for people.

use std::fmt::Write;

use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse, Response};

use super::api::rfc3339;
use super::routes::PATHS;
use crate::export::ready::{self, NotReady};
use crate::export::snapshot::Snapshot;
use crate::verdict::{Loop, Verdict};

/// Loops shown at most; all of them are in /api/v1/loops.
const MAX_ROWS: usize = 20;
/// Nothing is loaded, run, sent or framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}\
    code{font-size:.95em}table{border-collapse:collapse}caption{text-align:left}\
    th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}li{margin:.2rem 0}footer{color:#666}@media(prefers-color-scheme:dark)\
    {body{background:#111;color:#ddd}a{color:#8bf}footer{color:#999}}";

pub(super) fn landing(
    snapshot: &Snapshot,
    not_ready: &[NotReady],
    telemetry_path: &str,
) -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(html(snapshot, not_ready, telemetry_path))).into_response()
}

fn html(snapshot: &Snapshot, not_ready: &[NotReady], telemetry_path: &str) -> String {
    let daemon = &snapshot.daemon;
    let mut links = String::new();
    let metrics = (telemetry_path, "metrics for Prometheus");
    for (path, what) in std::iter::once(metrics).chain(PATHS.into_iter().skip(1)) {
        let path = escape(path);
        // Writing to a String does not fail.
        let _ = write!(
            links,
            "<li><a href=\"{path}\"><code>{path}</code></a>: {}</li>",
            escape(what)
        );
    }
    let loops = loops(&snapshot.loops);
    let (state, version) = (escape(&state(snapshot, not_ready)), escape(&daemon.version));
    let (revision, kernel) = (escape(&daemon.revision), escape(&daemon.kernel));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>throttle-monitor</title>\
         <style>{STYLE}</style></head><body><h1>throttle-monitor</h1>\
         <p>Sees every task that the kernel makes wait for dirty pages, reclaim or a congested backing device, \
         and says when this node's NFS server waits for pages that only it can clean.</p>\
         <p><strong>{state}</strong></p>{loops}<ul>{links}</ul>\
         <footer>version {version}, revision {revision}, kernel {kernel}</footer></body></html>\n"
    )
}

/// The loops as a table, and what is dangerous about each.
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
            one.danger.first().map_or("", String::as_str),
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
        "<table><caption>NFS mounts that this node serves to itself</caption><tr><th>loop</th>\
         <th>mount</th><th>proof</th><th>scope</th><th>danger</th></tr>{rows}</table>{more}"
    )
}

/// The state in one line: the worst first, and nothing said that is not known.
fn state(snapshot: &Snapshot, not_ready: &[NotReady]) -> String {
    let worst = snapshot
        .verdicts
        .iter()
        .max_by(|a, b| a.state.metric().total_cmp(&b.state.metric()));
    let mut line = match worst {
        Some(verdict) if verdict.state.metric() > 0.0 => found(snapshot, verdict),
        Some(_) => "No livelock.".to_owned(),
        None if not_ready.is_empty() => "No livelock: no loop is known.".to_owned(),
        None => String::new(),
    };
    if !not_ready.is_empty() {
        let told = if line.is_empty() {
            ""
        } else {
            " As of the last tick; now "
        };
        let _ = write!(line, "{told}{}.", ready::sentence(not_ready));
    }
    line
}

fn found(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let since = rfc3339(snapshot.unix_ms(verdict.since_ms.saturating_mul(1_000_000)));
    let (state, signature) = (verdict.state.as_str(), verdict.signature.as_str());
    format!(
        "{state} ({signature}) on loop {} since {since}: {}.",
        verdict.loop_id, verdict.reason
    )
}

fn escape(text: &str) -> String {
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
mod tests {
    use super::{html, state};
    use crate::export::ready::NotReady;
    use crate::export::snapshot::Snapshot;
    use crate::export::testing;
    use crate::verdict::LivelockState;

    #[test]
    fn a_livelock_is_named_with_its_loop_and_begin() {
        let line = state(&testing::snapshot(), &[]);
        let expected = "livelock (dirty-throttle) on loop 0:29-nfsd since 2023-11-14T22:13:12.500Z: \
                        2 of 3 nfsd threads wait for <dirty> pages.";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_comes_from_the_node_is_escaped() {
        let mut snapshot = testing::snapshot();
        snapshot.verdicts[0].loop_id = "\"><script>'&".into();
        let page = html(&snapshot, &[], "/metrics");
        assert!(
            page.contains("&quot;&gt;&lt;script&gt;&#39;&amp;"),
            "{page}"
        );
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("wait for &lt;dirty&gt; pages"), "{page}");
    }

    #[test]
    fn loops_are_a_table_that_does_not_grow_without_end() {
        let mut snapshot = testing::snapshot();
        let page = html(&snapshot, &[], "/metrics");
        let row = "<tr><td>0:29-nfsd</td><td>10.9.0.2:/ at /mnt/&lt;a&gt;</td><td>xid</td>\
                   <td>cross-netns</td><td>nfsd is not exempt</td></tr>";
        assert!(page.contains(row), "{page}");
        snapshot.loops = vec![testing::found_loop(); 25];
        let page = html(&snapshot, &[], "/metrics");
        assert!(page.contains("<p>and 5 more</p>"), "{page}");
        snapshot.loops.clear();
        assert!(!html(&snapshot, &[], "/metrics").contains("<table>"));
    }

    #[test]
    fn no_livelock_is_not_claimed_before_anything_was_seen() {
        let nothing = Snapshot::before_the_first_tick(testing::daemon());
        assert_eq!(
            state(&nothing, &[NotReady::NoTick]),
            "not ready: the first tick is not done yet."
        );
        assert_eq!(state(&nothing, &[]), "No livelock: no loop is known.");
    }

    #[test]
    fn an_old_verdict_is_said_to_be_old() {
        let mut snapshot = testing::snapshot();
        snapshot.verdicts = vec![testing::verdict(LivelockState::Recovered)];
        assert_eq!(state(&snapshot, &[]), "No livelock.");
        let line = state(&snapshot, &[NotReady::NoProbes]);
        assert_eq!(
            line,
            "No livelock. As of the last tick; now not ready: the probes are not attached yet."
        );
    }
}
