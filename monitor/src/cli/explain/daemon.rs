//! What a running daemon knows of its loop.

use anyhow::bail;
use compact_str::CompactString;
use monitor_model::{
    api::{Bdis, Loops, ProbeReport, Stalls},
    loops::Loop,
    observation::{Bdi, Observation},
};
use monitor_verdict::mitigation::Target;

use crate::cli::daemon::{Access, DaemonClient, PATIENCE};

/// The place of its loop: of the one with this BDI, or of the only one.
pub fn place(url: &str, bdi: Option<&str>, access: &Access) -> anyhow::Result<Target> {
    let daemon = DaemonClient::new(url, PATIENCE, access);
    let loops = daemon.get("loops")?;
    placed(
        loops,
        daemon.get("bdis")?,
        daemon.get("stalls")?,
        daemon.get("probes")?,
        bdi,
    )
}

/// The same of what it answers.
pub(super) fn placed(
    loops: Loops<'_>,
    bdis: Bdis,
    stalls: Stalls<'_>,
    probes: ProbeReport,
    bdi: Option<&str>,
) -> anyhow::Result<Target> {
    let loops = loops.loops.into_iter().map(|one| {
        let found = one.item.into_owned();
        Loop {
            client_bdi: shown(&found.client_bdi),
            server: shown(&found.server),
            ..found
        }
    });
    let found = chosen(loops.collect(), bdi)?;
    let limits = bdis.bdis.into_iter();
    let limits = limits.map(|one| Bdi {
        bdi: one.bdi,
        fstype: one.fstype,
        max_ratio: one.max_ratio,
        strict_limit: one.strict_limit,
        ..Bdi::default()
    });
    let waits = stalls.stalls.into_iter();
    let node = Observation {
        bdis: limits.collect(),
        waits: waits.map(|one| one.item.wait.into_owned()).collect(),
        kernel: probes.kernel.into(),
        ..Observation::default()
    };
    Ok(Target::of(&found, &node))
}

/// Without what would move a terminal's cursor: whatever answers there may say it.
fn shown(name: &str) -> CompactString {
    name.replace(char::is_control, "?").into()
}

fn chosen(loops: Vec<Loop>, bdi: Option<&str>) -> anyhow::Result<Loop> {
    let mut known: Vec<String> = loops.iter().map(|one| one.client_bdi.to_string()).collect();
    known.dedup();
    let wanted = |one: &Loop| bdi.is_none_or(|bdi| one.client_bdi == bdi);
    let mut fitting = loops.into_iter().filter(wanted);
    match (fitting.next(), bdi) {
        (Some(_), None) if known.len() > 1 => bail!(
            "the daemon reports more than one loop: choose one with --bdi {}",
            known.join(" or --bdi ")
        ),
        (Some(found), _) => Ok(found),
        (None, Some(bdi)) if !known.is_empty() => bail!(
            "the daemon reports no loop with the BDI {bdi}, but {}",
            known.join(", ")
        ),
        (None, _) => bail!("the daemon reports no loop: leave out --url for the general text"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use super::{Access, place, shown};

    /// A daemon with these loops, for four questions.
    fn daemon(loops: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(4) {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let body = match request.split(' ').nth(1).unwrap() {
                    "/api/v1/loops" => loops,
                    "/api/v1/bdis" => {
                        r#"{"total":1,"bdis":[{"bdi":"0:29","max_ratio":100,"strict_limit":false}]}"#
                    }
                    "/api/v1/stalls" => {
                        r#"{"at":null,"total":1,"stalls":[{"at":"x","age_seconds":3.5,"tid":71,"tgid":70,
                            "comm":"dd","cause":"balance_dirty_pages","class":"user","reason":"",
                            "bdi":"0:29","since_ns":5}]}"#
                    }
                    _ => r#"{"kernel":"6.12.9","signals":[]}"#,
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + body).as_bytes()).unwrap();
            }
        });
        format!("http://{address}")
    }

    macro_rules! one {
        ($bdi:literal) => {
            concat!(
                r#"{"loop":""#, $bdi, r#"-nfsd","client_bdi":""#, $bdi, r#"","server":"nfsd","server_bdi":null,
                "server_fstype":"","server_device":"","proof":"xid","scope":"cross-netns","since":"x",
                "since_ms":0,"since_unix_ms":0,"became_own_client":false,"localio":false,"mounts":[],
                "version":"4.2","server_address":null,"client_netns":null,"server_netns":null,"calls":0,
                "calls_served_here":0,"risk":[],"recommendations":[]}"#
            )
        };
    }

    #[test]
    fn loop_kernel_limits_and_writers_come_from_the_daemon() {
        let url = daemon(concat!(
            r#"{"at":"x","loops":["#,
            one!("0:29"),
            r#"],"events":[]}"#
        ));
        let place = place(&url, None, &Access::default()).unwrap();
        assert_eq!(place.bdi.as_deref(), Some("0:29"));
        assert_eq!(
            (place.release, place.has_strict_limit),
            (Some((6, 12)), Some(true))
        );
        assert_eq!((place.max_ratio, place.writers), (Some(100), vec![70]));
    }

    #[test]
    fn of_several_loops_one_must_be_chosen() {
        let two = concat!(r#"{"loops":["#, one!("0:29"), ",", one!("0:31"), "]}");
        let error = place(&daemon(two), None, &Access::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--bdi 0:29 or --bdi 0:31"), "{error}");
        let error = place(&daemon(two), Some("0:7"), &Access::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no loop with the BDI 0:7, but 0:29, 0:31"),
            "{error}"
        );
        let place = place(&daemon(two), Some("0:31"), &Access::default()).unwrap();
        assert_eq!(place.bdi.as_deref(), Some("0:31"));
    }

    #[test]
    fn a_name_reaches_the_terminal_without_what_would_move_its_cursor() {
        assert_eq!(shown("nf\u{1b}[2J\u{9b}\r\nsd"), "nf?[2J???sd");
    }

    #[test]
    fn a_daemon_that_is_not_there_or_is_another_is_an_error_with_its_address() {
        let error = format!(
            "{:#}",
            place("http://127.0.0.1:1", None, &Access::default()).unwrap_err()
        );
        assert!(
            error.contains("127.0.0.1:1/api/v1/loops does not answer"),
            "{error}"
        );
        let error = format!(
            "{:#}",
            place(&daemon("<html>"), None, &Access::default()).unwrap_err()
        );
        assert!(
            error.contains("is not an answer of throttle-monitor"),
            "{error}"
        );
    }
}
