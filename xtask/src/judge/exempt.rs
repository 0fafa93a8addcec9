//! Judges whether the daemon reports the servers' exemption from local dirty throttling from its
//! own observation.

use std::collections::BTreeMap;

use guest::{Event, Loop};

use super::{Judgement, Seen, void};

/// Whether the daemon observed this, instead of predicting it.
pub fn is(entry: &Loop, expected: &str) -> bool {
    entry.exempt.state == expected && entry.exempt.basis.as_deref() == Some("observed")
}

impl Seen<'_> {
    pub fn exempt(&self, expected: &str) -> Judgement {
        if let Some(other) = self.servers().find(|state| *state != expected) {
            let words = format!("by the kernel, a server is exempt: {other}");
            return Err(void(words));
        }
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

    /// The exemption of the threads of userspace servers, as the kernel shows it.
    fn servers(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|fact| match fact.event {
            Event::Server { exempt: 0, .. } => Some("no"),
            Event::Server {
                exempt, threads, ..
            } if exempt == threads => Some("yes"),
            Event::Server { .. } => Some("partly"),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use guest::{Exempt, Fact};

    use super::*;
    use crate::judge::Fault;

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
    fn a_server_that_is_not_what_the_scenario_wants_proves_nothing() {
        let judged = |exempt| {
            let event = Event::Server {
                name: "ganesha.nfsd".to_owned(),
                threads: 9,
                exempt,
            };
            let server = Fact { ms: 1, event };
            Seen(&[server, report("yes", "observed", false)]).exempt("yes")
        };
        assert!(judged(9).is_ok());
        for other in [0, 4] {
            assert!(matches!(judged(other), Err(Fault::Void(_))));
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
