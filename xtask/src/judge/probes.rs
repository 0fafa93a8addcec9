//! Judges how the daemon attaches signals, and how its programs end.

use guest::Event;

use super::{Judgement, Seen, void};

impl Seen<'_> {
    pub fn late_modules(&self) -> Judgement {
        if !self.has_daemon() {
            return Ok("no daemon to judge".to_owned());
        }
        let probes: Vec<_> = self
            .0
            .iter()
            .filter_map(|fact| match &fact.event {
                Event::Probes(value) => Some(value),
                _ => None,
            })
            .collect();
        let (Some(before), Some(after)) = (probes.first(), probes.get(1)) else {
            return Err("the probes were not reported twice".into());
        };
        let (before, after) = (waiting(before), waiting(after));
        if before.is_empty() {
            return Err(void("no probe waited for a module"));
        }
        if after.is_empty() {
            Ok(format!(
                "{} probes waited for modules, all attached",
                before.len()
            ))
        } else {
            Err(format!("still waiting: {}", after.join(", ")).into())
        }
    }

    pub fn exit_codes(&self, wanted: &[&[i32]]) -> Judgement {
        if !self.has_daemon() {
            return Ok("no daemon to judge".to_owned());
        }
        let got: Vec<_> = self
            .0
            .iter()
            .filter_map(|fact| match &fact.event {
                Event::Output { code, .. } => Some(*code),
                _ => None,
            })
            .collect();
        let fits = got.len() == wanted.len()
            && got
                .iter()
                .zip(wanted)
                .all(|(code, any)| code.is_some_and(|code| any.contains(&code)));
        let words = format!("exit codes {got:?}, right are {wanted:?}");
        if fits { Ok(words) } else { Err(words.into()) }
    }
}

/// Signals that wait for a module, or that need one and are not attached. Signals that a kernel
/// lacks are neither.
pub fn waiting(probes: &serde_json::Value) -> Vec<String> {
    let signals = probes.get("signals").and_then(serde_json::Value::as_array);
    let word = |signal: &serde_json::Value, name: &str| {
        let value = signal.get(name).and_then(serde_json::Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    signals
        .into_iter()
        .flatten()
        .filter(|signal| word(signal, "state") == "unavailable")
        .filter(|signal| {
            let name = word(signal, "signal");
            ["nfs_client_writes", "nfs_client_commits", "nfsd_writes"].contains(&name.as_str())
                || word(signal, "reason").contains("is not loaded")
        })
        .map(|signal| format!("{} ({})", word(signal, "signal"), word(signal, "reason")))
        .collect()
}
