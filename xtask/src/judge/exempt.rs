//! Is the server of each loop exempt from local dirty throttling, and does the
//! daemon report it by what it saw?

use std::collections::BTreeMap;

use guest::Loop;

use super::{Judgement, Seen};

/// Whether the daemon saw this, and did not only predict it.
pub fn is(entry: &Loop, expected: &str) -> bool {
    entry.exempt.state == expected && entry.exempt.basis.as_deref() == Some("observed")
}

impl Seen<'_> {
    pub fn exempt(&self, expected: &str) -> Judgement {
        let opposed = |entry: &Loop| ![expected, "unknown", ""].contains(&&*entry.exempt.state);
        if let Some((_, entry)) = self.reports().find(|(_, entry)| opposed(entry)) {
            return Err(format!("exempt is {expected}, not as in {entry:?}").into());
        }
        let last: BTreeMap<_, _> = self.reports().map(|(_, one)| (&one.name, one)).collect();
        if last.is_empty() {
            return Err("no loop was reported that could be exempt".into());
        }
        for entry in last.into_values() {
            if !is(entry, expected) {
                return Err(format!("exempt was not observed to be {expected}: {entry:?}").into());
            }
            if entry.throttled != (expected != "yes") {
                return Err(format!("its risk is not that of exempt {expected}: {entry:?}").into());
            }
        }
        Ok(format!("exempt: {expected}, as observed"))
    }
}

#[cfg(test)]
mod tests {
    use guest::{Event, Exempt, Fact};

    use super::*;

    fn report(state: &str, basis: &str, throttled: bool) -> Fact {
        let entry = Loop {
            name: "0:29-nfsd".to_owned(),
            exempt: Exempt {
                state: state.to_owned(),
                basis: Some(basis.to_owned()),
            },
            throttled,
            ..Loop::default()
        };
        Fact {
            ms: 1,
            event: Event::Loop(entry),
        }
    }

    #[test]
    fn it_must_be_observed_at_the_end_and_its_risk_follow() {
        let judged = |facts: &[Fact]| Seen(facts).exempt("yes").is_ok();
        let (early, right) = (
            report("yes", "predicted", false),
            report("yes", "observed", false),
        );
        let unknown = report("unknown", "", true);
        assert!(judged(&[unknown, early.clone(), right.clone()]));
        assert!(!judged(&[]));
        assert!(!judged(&[early]));
        assert!(!judged(&[report("yes", "observed", true)]));
        assert!(!judged(&[report("no", "predicted", true), right.clone()]));
        assert!(!judged(&[right, report("partly", "observed", true)]));
        assert!(Seen(&[report("no", "observed", true)]).exempt("no").is_ok());
        assert!(
            Seen(&[report("no", "observed", false)])
                .exempt("no")
                .is_err()
        );
    }
}
