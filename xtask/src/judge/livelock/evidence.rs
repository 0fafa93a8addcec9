//! Judges a verdict's document: it must show the cycle without other tools.

use guest::Event;
use serde_json::Value;

use super::super::Seen;

/// The missing parts of the document; nothing if no plan asked for it.
pub fn judge(seen: &Seen<'_>) -> Result<(), String> {
    let asked = |event: &Event| matches!(event, Event::Step(words) if words == "\"Evidence\"");
    if !seen.0.iter().any(|fact| asked(&fact.event)) {
        return Ok(());
    }
    let text = seen.0.iter().find_map(|fact| match &fact.event {
        Event::Served { path, text, .. } if path.starts_with("/api/v1/evidence/") => Some(text),
        _ => None,
    });
    let text = text.ok_or("none was served")?;
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let list = |key: &str| document[key].as_array().map_or(&[][..], Vec::as_slice);
    let closes = |line: &Value| line.as_str().is_some_and(|line| line.contains("closes]"));
    if !list("cycle").iter().any(closes) {
        return Err(format!("its cycle does not close: {:?}", list("cycle")));
    }
    let has_stack = |task: &Value| task["stack"].as_array().is_some_and(|all| !all.is_empty());
    if !list("threads").iter().any(has_stack) {
        return Err("no thread of the server has a stack".to_owned());
    }
    // This livelock has no measured mitigation, so none is listed.
    let unmeasured = document["signature"] == "commit-wait";
    for key in ["mitigations", "preventions", "bdis", "signals", "timeline"] {
        if list(key).is_empty() && !(unmeasured && key == "mitigations") {
            return Err(format!("it has no {key}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use guest::Fact;

    use super::*;

    fn judged(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let mut document = serde_json::json!({
            "cycle": ["nfsd waits", "for itself [the cycle closes]"],
            "threads": [{"stack": ["balance_dirty_pages"]}],
            "mitigations": [1], "preventions": [1], "bdis": [1], "signals": [1], "timeline": [1],
        });
        change(&mut document);
        let events = [
            Event::Step("\"Evidence\"".to_owned()),
            Event::Served {
                path: "/api/v1/evidence/x".to_owned(),
                ms: 1,
                text: document.to_string(),
            },
        ];
        let facts = events.map(|event| Fact { ms: 1, event });
        judge(&Seen(&facts))
    }

    #[test]
    fn a_document_without_the_cycle_or_without_stacks_is_wrong() {
        assert_eq!(judged(|_| ()), Ok(()));
        assert!(judged(|it| it["cycle"] = serde_json::json!([])).is_err());
        assert!(judged(|it| it["threads"][0]["stack"] = serde_json::json!([])).is_err());
        assert!(judged(|it| it["mitigations"] = serde_json::json!([])).is_err());
        let unmeasured = judged(|it: &mut Value| {
            it["signature"] = "commit-wait".into();
            it["mitigations"] = serde_json::json!([]);
        });
        assert_eq!(unmeasured, Ok(()));
    }

    #[test]
    fn a_document_that_was_asked_for_and_not_served_is_wrong() {
        let step = Event::Step("\"Evidence\"".to_owned());
        let facts = [Fact { ms: 1, event: step }];
        assert!(judge(&Seen(&facts)).is_err());
        assert_eq!(judge(&Seen(&[])), Ok(()));
    }
}
