//! Two guests: whose server is whose.

use guest::{Event, Loop, Sample};

use super::{Judgement, Seen, seconds, void};

/// Milliseconds from the first write through a loop to the report of it.
const SOON: u64 = 5_000;

/// Writes flow both ways, and that is no loop.
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
    if let Some((ms, loops)) = seen
        .loops()?
        .into_iter()
        .find(|(_, loops)| !loops.is_empty())
    {
        return Err(format!("{words}; a loop at {}: {loops:?}", seconds(ms)).into());
    }
    if let Some(entry) = seen.confirmed() {
        return Err(format!("{words}; false verdict: {}: {}", entry.to, entry.reason).into());
    }
    Ok(format!("{words}, no loop, no verdict"))
}

/// No loop before the takeover, and the whole truth after it.
pub fn failover(seen: &Seen<'_>) -> Judgement {
    let taken = seen.0.iter().find_map(|fact| match &fact.event {
        Event::TookOver { bdi } => Some((fact.ms, bdi.as_str())),
        _ => None,
    });
    let (taken, disk) = taken.ok_or("this guest never became the server")?;
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
    let loops = seen.loops()?;
    if let Some((_, early)) = loops
        .iter()
        .find(|(ms, loops)| *ms < taken && !loops.is_empty())
    {
        return Err(format!("a loop before the takeover: {early:?}").into());
    }
    let told = loops
        .iter()
        .find(|(_, loops)| loops.iter().any(|found| is_whole(found, disk)));
    let Some((told, _)) = told else {
        let last = loops.last().map(|(_, loops)| *loops);
        return Err(format!("{words}; the loop was not reported right: {last:?}").into());
    };
    let words = format!("{words}, the loop known at {}", seconds(told - taken));
    if *told > acked + SOON {
        return Err(format!("too late: {words}").into());
    }
    if let Some(entry) = seen.confirmed() {
        return Err(format!("{words}; false verdict: {}: {}", entry.to, entry.reason).into());
    }
    Ok(words)
}

/// Whether it says all that is true of a node that became its own client.
fn is_whole(found: &Loop, disk: &str) -> bool {
    found.proof == "xid"
        && found.scope == "same-netns"
        && found.server_bdi.as_deref() == Some(disk)
        && found.became_own_client
}
