//! Judges two guests that serve each other.

use guest::{Event, Fact, Loop, Sample};

use super::{Judgement, Seen, exempt, seconds, void};

/// Milliseconds from the first write through a loop to the report of it.
const SOON: u64 = 5_000;

/// Writes flow both ways without a loop.
pub fn no_loop(seen: &Seen<'_>, peer: &Seen<'_>, at_least: u64) -> Judgement {
    let acked = |seen: &Seen<'_>| seen.samples().map(|(_, sample)| sample.acked).max();
    let (there, back) = (acked(seen).unwrap_or(0), acked(peer).unwrap_or(0));
    let mb = |bytes| bytes as f64 / 1e6;
    let words = format!("{:.1} MB there, {:.1} MB back", mb(there), mb(back));
    if there.min(back) < at_least {
        return Err(void(format!("{words}, too little")));
    }
    if !seen.has_daemon() {
        return Ok(format!("{words}; no daemon to judge"));
    }
    if !seen.serves_loops() {
        return Err(format!("{words}; /api/v1/loops was not served").into());
    }
    if let Some((ms, found)) = seen.reports().next() {
        return Err(format!("{words}; a loop at {}: {found:?}", seconds(ms)).into());
    }
    if let Some(entry) = seen.confirmed() {
        return Err(format!("{words}; false verdict: {}: {}", entry.to, entry.reason).into());
    }
    Ok(format!("{words}, no loop, no verdict"))
}

/// There is no loop before the takeover, and a complete report after it.
pub fn failover(seen: &Seen<'_>) -> Judgement {
    let taken = seen
        .took_over()
        .ok_or("this guest never became the server")?;
    // A disk's BDI is named by its number.
    let disk = seen.mounted("/export")?.device.as_str();
    let before = seen.samples().filter(|(ms, _)| *ms < taken).last();
    let before = before.map_or(Sample::default(), |(_, sample)| sample);
    if before.synced == 0 {
        return Err(void("the application wrote nothing before the takeover"));
    }
    let first = |grown: &dyn Fn(Sample) -> bool| {
        let found = seen
            .samples()
            .find(|(ms, sample)| *ms >= taken && grown(*sample));
        found.map(|(ms, _)| ms)
    };
    let acked = first(&|sample| sample.acked > before.acked)
        .ok_or_else(|| void("no write was acknowledged after the takeover"))?;
    let synced = first(&|sample| sample.synced > before.synced)
        .ok_or_else(|| void("the application did not go on"))?;
    let words = format!(
        "first write {} after the takeover, first sync {}",
        seconds(acked - taken),
        seconds(synced - taken)
    );
    if !seen.has_daemon() {
        return Ok(format!("{words}; no daemon to judge"));
    }
    if let Some((_, early)) = seen.reports().find(|(ms, _)| *ms < taken) {
        return Err(format!("a loop before the takeover: {early:?}").into());
    }
    let Some((told, _)) = seen.reports().find(|(_, found)| is_whole(found, disk)) else {
        let last = seen.reports().last().map(|(_, found)| found);
        return Err(format!("{words}; the loop was not reported right: {last:?}").into());
    };
    let words = format!("{words}, the loop known at {}", seconds(told - taken));
    if told > acked + SOON {
        return Err(format!("too late: {words}").into());
    }
    let gone = |fact: &Fact| matches!(fact.event, Event::LoopGone(_));
    if seen.0.iter().any(gone) {
        return Err(format!("{words}, and taken back").into());
    }
    if let Some(entry) = seen.confirmed() {
        return Err(format!("{words}; false verdict: {}: {}", entry.to, entry.reason).into());
    }
    Ok(words)
}

/// Whether the report is complete for a node that became its own client.
fn is_whole(found: &Loop, disk: &str) -> bool {
    found.proof == "xid"
        && found.scope == "same-netns"
        && exempt::is(found, "yes")
        && found.server_bdi.as_deref() == Some(disk)
        && found.became_own_client
}

#[cfg(test)]
mod tests {
    use guest::{Mounted, Transition};

    use super::*;
    use crate::judge::Fault;

    fn fact(ms: u64, event: Event) -> Fact {
        Fact { ms, event }
    }

    fn sample(ms: u64, acked: u64, synced: u64) -> Fact {
        let sample = Sample {
            acked,
            synced,
            ..Sample::default()
        };
        fact(ms, Event::Sample(sample))
    }

    fn verdict(ms: u64) -> Fact {
        fact(
            ms,
            Event::Verdict(Transition {
                monotonic_ms: ms,
                of: "0:29-nfsd".to_owned(),
                signature: "dirty-throttle".to_owned(),
                from: "suspected".to_owned(),
                to: "livelock".to_owned(),
                reason: String::new(),
            }),
        )
    }

    fn whole() -> Loop {
        Loop {
            name: "0:29-nfsd".to_owned(),
            client_kind: "nfs".to_owned(),
            client_bdi: "0:29".to_owned(),
            server: "nfsd".to_owned(),
            throttled: false,
            server_bdi: Some("254:0".to_owned()),
            proof: "xid".to_owned(),
            scope: "same-netns".to_owned(),
            exempt: guest::Exempt {
                state: "yes".to_owned(),
                basis: Some("observed".to_owned()),
            },
            became_own_client: true,
            mounts: Vec::new(),
        }
    }

    fn disk() -> Fact {
        fact(
            24_000,
            Event::Mounted(Mounted {
                at: "/export".to_owned(),
                source: "/dev/vda".to_owned(),
                device: "254:0".to_owned(),
                bdis: Vec::new(),
            }),
        )
    }

    fn loops_served() -> Fact {
        fact(
            9_000,
            Event::Served {
                path: "/api/v1/loops".to_owned(),
                ms: 1,
                text: String::new(),
            },
        )
    }

    /// Written until 20 s, server from 25 s on, written again from 29 s on.
    fn over(extra: impl IntoIterator<Item = Fact>) -> Judgement {
        let mut facts = vec![
            sample(20_000, 5_000, 5_000),
            disk(),
            fact(25_000, Event::TookOver),
            sample(26_000, 5_000, 5_000),
            sample(29_000, 6_000, 5_000),
            sample(30_000, 7_000, 6_000),
        ];
        facts.extend(extra);
        facts.sort_by_key(|fact| fact.ms);
        failover(&Seen(&facts))
    }

    #[test]
    fn a_loop_told_within_five_seconds_of_the_first_write_is_right() {
        assert!(over([fact(33_000, Event::Loop(whole()))]).is_ok());
        assert!(over([fact(28_500, Event::Loop(whole()))]).is_ok());
    }

    #[test]
    fn a_loop_told_too_late_too_early_or_never_is_wrong() {
        assert!(over([fact(35_000, Event::Loop(whole()))]).is_err());
        assert!(over([fact(15_000, Event::Loop(whole()))]).is_err());
        assert!(over([]).is_err());
    }

    #[test]
    fn a_loop_that_is_taken_back_is_wrong() {
        let told = fact(30_000, Event::Loop(whole()));
        let gone = fact(32_000, Event::LoopGone(whole().name));
        assert!(over([told, gone]).is_err());
    }

    #[test]
    fn a_loop_told_by_halves_is_wrong() {
        let half = |change: fn(&mut Loop)| {
            let mut found = whole();
            change(&mut found);
            over([fact(30_000, Event::Loop(found))])
        };
        assert!(half(|_| {}).is_ok());
        assert!(half(|found| found.became_own_client = false).is_err());
        assert!(half(|found| found.server_bdi = None).is_err());
        assert!(half(|found| found.proof = "address".to_owned()).is_err());
        assert!(half(|found| found.scope = "unknown".to_owned()).is_err());
        assert!(half(|found| found.exempt.state = "no".to_owned()).is_err());
    }

    #[test]
    fn a_verdict_on_a_pair_that_goes_on_is_wrong() {
        let told = fact(30_000, Event::Loop(whole()));
        assert!(over([told, verdict(33_000)]).is_err());
    }

    #[test]
    fn a_takeover_after_which_nobody_writes_proves_nothing() {
        let facts = [
            sample(20_000, 5_000, 5_000),
            disk(),
            fact(25_000, Event::TookOver),
            sample(30_000, 5_000, 5_000),
        ];
        assert!(matches!(failover(&Seen(&facts)), Err(Fault::Void(_))));
    }

    fn apart(back: u64, extra: Fact) -> Judgement {
        let own = [loops_served(), sample(2_000, 9_000, 0), extra];
        no_loop(&Seen(&own), &Seen(&[sample(2_000, back, 0)]), 5_000)
    }

    #[test]
    fn two_nodes_that_serve_each_other_are_no_loop() {
        let idle = || sample(3_000, 9_000, 0);
        assert!(apart(9_000, idle()).is_ok());
        assert!(matches!(apart(1_000, idle()), Err(Fault::Void(_))));
        assert!(apart(9_000, fact(3_000, Event::Loop(whole()))).is_err());
        assert!(apart(9_000, verdict(3_000)).is_err());
    }

    #[test]
    fn a_daemon_that_serves_no_loops_at_all_is_wrong() {
        let own = [sample(2_000, 9_000, 0)];
        assert!(no_loop(&Seen(&own), &Seen(&own), 5_000).is_err());
    }
}
