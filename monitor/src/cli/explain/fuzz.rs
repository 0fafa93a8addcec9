//! Hostile input: the answers from `--url`.

use monitor_model::verdict::Signature;

use super::{daemon::placed, text as explanation};
use crate::fuzz_input::{parts, text};

/// Loops, BDIs, waits and the kernel fill the commands that people type. The output never moves the
/// terminal's cursor.
pub fn daemon_loops(data: &[u8]) {
    let text = text(data);
    let [loops, bdis, stalls, probes] = parts(&text);
    let Ok(loops) = serde_json::from_str(loops) else {
        return;
    };
    let (Ok(bdis), Ok(stalls), Ok(probes)) = (
        serde_json::from_str(bdis),
        serde_json::from_str(stalls),
        serde_json::from_str(probes),
    ) else {
        return;
    };
    let said: Vec<String> = match placed(loops, bdis, stalls, probes, None) {
        Err(error) => vec![format!("{error:#}")],
        Ok(place) => Signature::ALL
            .into_iter()
            .map(|one| explanation(Some(one.as_str()), &place))
            .collect(),
    };
    for text in said {
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
    }
}
