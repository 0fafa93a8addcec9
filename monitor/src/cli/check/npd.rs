//! `check --format npd`: one line and an exit code for a custom plugin of node-problem-detector.

use super::{Found, LoopFound};

/// Maximum length of a line in node-problem-detector, bytes.
const MAX: usize = 80;
/// The end of a line that was cut.
const CUT: &str = "...";

/// The line and the exit code: 0 OK, 1 problem, 2 unknown.
pub fn npd(found: &Found) -> (String, u8) {
    let at_risk = found.loops.iter().filter(|one| !one.found.risk.is_empty());
    let at_risk: Vec<&LoopFound> = at_risk.collect();
    let (line, code) = match (at_risk.first(), found.exit_code) {
        (_, 2) => {
            let fatal = found.missing_privileges.iter().find(|one| one.fatal);
            let why = fatal.map_or("see check", |one| one.privilege);
            (format!("cannot monitor: {why}"), 2)
        }
        (Some(first), _) => {
            let mount = first.found.mounts.first();
            let what = mount.map_or(&*first.found.id, |mount| &*mount.mount_point);
            let others = match at_risk.len() {
                1 => String::new(),
                several => format!(" and {} more", several - 1),
            };
            (
                format!("served by this node to itself, at risk of a livelock: {what}{others}"),
                1,
            )
        }
        // A problem would be a device at risk, and none was found.
        (None, 1) => (
            "monitoring is degraded: see throttle-monitor check".to_owned(),
            2,
        ),
        (None, _) => ("no loop is at risk of a livelock".to_owned(), 0),
    };
    (short(&line), code)
}

/// node-problem-detector counts bytes.
fn short(line: &str) -> String {
    let mut line = line.replace(char::is_control, "?");
    if line.len() > MAX {
        while line.len() > MAX - CUT.len() {
            line.pop();
        }
        line.push_str(CUT);
    }
    line
}

#[cfg(test)]
mod tests {
    use monitor_model::{loops::Loop, testing};

    use super::*;
    use crate::cli::check::{Search, judge};

    #[test]
    fn a_blind_monitor_is_unknown_whatever_else_there_is() {
        let found = judge(Vec::new(), None, Search::default());
        assert_eq!(npd(&found), ("cannot monitor: see check".to_owned(), 2));
    }

    #[test]
    fn a_loop_at_risk_is_a_problem_in_one_short_line() {
        let mut found = judge(Vec::new(), None, Search::default());
        found.exit_code = 0;
        assert_eq!(
            npd(&found),
            ("no loop is at risk of a livelock".to_owned(), 0)
        );
        found.exit_code = 1;
        assert_eq!(npd(&found).1, 2, "degraded, and no device was found");
        let risky = Loop {
            id: format!("0:29-{}\n", "x".repeat(90)).into(),
            mounts: Vec::new(),
            ..testing::found_loop()
        };
        found.loops = vec![LoopFound {
            found: risky,
            preventions: Vec::new(),
        }];
        let (line, code) = npd(&found);
        assert_eq!((line.len(), code), (MAX, 1), "{line}");
        assert!(short(&"ä".repeat(90)).len() <= MAX);
        assert!(line.contains("at risk of a livelock: 0:29-xx"), "{line}");
    }
}
