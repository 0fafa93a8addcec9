//! Compares the gauge of congestion with the kernel's flag.

use guest::{Event, Fact};

use super::{Judgement, Seen, void};

/// Milliseconds that the gauge may lag: a tick of the daemon, and the time between two readings.
const LAG: u64 = 1_600;

/// Up with the flag, down with the flag.
pub fn judge(seen: &Seen<'_>) -> Judgement {
    let looks: Vec<_> = while_it_runs(seen)
        .filter_map(|fact| match fact.event {
            Event::Congestion { kernel, daemon, .. } => Some((fact.ms, kernel, daemon)),
            _ => None,
        })
        .collect();
    let up = looks.iter().filter(|(_, kernel, _)| *kernel).count();
    let words = format!("congested at {up} of {} looks", looks.len());
    if up == 0 || looks.last().is_none_or(|(_, kernel, _)| *kernel) {
        return Err(void(format!("{words}, or still at the end")));
    }
    if !seen.has_daemon() {
        return Ok(format!("{words}; no daemon to judge"));
    }
    let agree = looks.iter().enumerate().filter(|(at, (ms, _, daemon))| {
        let recent = looks[..=*at].iter().rev();
        recent
            .take_while(|(then, _, _)| then + LAG >= *ms)
            .any(|(_, kernel, _)| Some(*kernel) == *daemon)
    });
    let agree = agree.count();
    let words = format!("{words}, the gauge agrees at {agree}");
    if agree * 10 < looks.len() * 9 {
        return Err(format!("too few: {words}").into());
    }
    if !looks.iter().any(|(_, _, daemon)| *daemon == Some(true)) {
        return Err(format!("{words}, but it was never 1").into());
    }
    if looks
        .last()
        .is_none_or(|(_, _, daemon)| *daemon != Some(false))
    {
        return Err(format!("{words}, but it is not 0 at the end").into());
    }
    Ok(words)
}

/// The facts before the daemon was stopped, if it was.
fn while_it_runs<'a>(seen: &'a Seen<'_>) -> impl Iterator<Item = &'a Fact> {
    let stop =
        |fact: &&Fact| matches!(&fact.event, Event::Step(words) if words.contains("StopDaemon"));
    seen.0.iter().take_while(move |fact| !stop(fact))
}

/// Number of readings in which the bytes must exceed the threshold.
const OVER: usize = 10;

/// The gauge stays down although the bytes exceed the threshold: the client counts folios.
pub fn none(seen: &Seen<'_>) -> Judgement {
    let looks = || {
        while_it_runs(seen).filter_map(|fact| match fact.event {
            Event::Congestion {
                kernel,
                daemon,
                bytes,
            } => Some((kernel, daemon, bytes)),
            _ => None,
        })
    };
    let all = looks().count();
    let over = looks().filter(|(_, _, bytes)| *bytes).count();
    let words = format!("the bytes are over the threshold at {over} of {all} looks");
    if over < OVER || looks().any(|(kernel, ..)| kernel) {
        return Err(void(format!("{words}, or it is congested")));
    }
    if !seen.has_daemon() {
        return Ok(format!("{words}; no daemon to judge"));
    }
    let up = looks()
        .filter(|(_, daemon, _)| *daemon == Some(true))
        .count();
    if up > 0 {
        return Err(format!("{words}, and the gauge is 1 at {up}").into());
    }
    if looks().filter(|(_, daemon, _)| daemon.is_some()).count() < OVER {
        return Err(format!("{words}, and there is no gauge").into());
    }
    Ok(format!("{words}, the gauge is never 1"))
}

#[cfg(test)]
mod tests {
    use guest::Fact;

    use super::*;
    use crate::judge::Fault;

    /// Sixty readings, up from the tenth to the fortieth; the gauge by its own reading.
    fn looks(gauge: impl Fn(u64) -> bool) -> Judgement {
        let facts: Vec<_> = (0..60)
            .map(|at| Fact {
                ms: at * 500,
                event: Event::Congestion {
                    kernel: (10..40).contains(&at),
                    daemon: Some(gauge(at)),
                    bytes: true,
                },
            })
            .collect();
        judge(&Seen(&facts))
    }

    #[test]
    fn a_gauge_may_lag_a_tick_and_no_more() {
        assert!(looks(|at| (12..42).contains(&at)).is_ok());
        assert!(looks(|at| (18..48).contains(&at)).is_err());
    }

    #[test]
    fn a_gauge_that_never_moves_or_never_falls_is_wrong() {
        assert!(looks(|_| false).is_err());
        assert!(looks(|at| at >= 10).is_err());
        assert!(looks(|at| (10..40).contains(&at) || at == 59).is_err());
    }

    #[test]
    fn a_mount_that_is_never_congested_proves_nothing() {
        let facts = [Fact {
            ms: 0,
            event: Event::Congestion {
                kernel: false,
                daemon: Some(false),
                bytes: false,
            },
        }];
        assert!(matches!(judge(&Seen(&facts)), Err(Fault::Void(_))));
    }

    /// Twenty readings of a mount that is never congested, from the fifth on with many bytes.
    fn bytes(kernel: bool, gauge: impl Fn(u64) -> Option<bool>) -> Judgement {
        let facts: Vec<_> = (0..20)
            .map(|at| Fact {
                ms: at * 500,
                event: Event::Congestion {
                    kernel,
                    daemon: gauge(at),
                    bytes: at >= 5,
                },
            })
            .collect();
        none(&Seen(&facts))
    }

    #[test]
    fn a_gauge_that_goes_by_the_bytes_is_wrong_where_the_kernel_does_not() {
        assert!(bytes(false, |_| Some(false)).is_ok());
        assert!(matches!(
            bytes(false, |at| Some(at == 9)),
            Err(Fault::Wrong(_))
        ));
        assert!(matches!(bytes(true, |_| Some(false)), Err(Fault::Void(_))));
    }
}
