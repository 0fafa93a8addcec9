//! Nothing that comes in makes a document large or unreadable: recordings and
//! names of tasks and mounts may hold anything.

use compact_str::CompactString;
use monitor_model::{
    loops::{Loop, PathNode},
    mitigation::Measure,
    observation::{Bdi, Container, NfsClient, SignalStatus, Waiting},
    verdict::Verdict,
};

/// Bytes of a name: a task's is at most 15, a kernel function's seldom 60.
pub const NAME: usize = 64;
/// Bytes of a path or of what is mounted.
pub const PATH: usize = 256;
/// Bytes of a sentence.
const SENTENCE: usize = 1024;
/// Bytes of a sentence of a [`Measure`], and of a command.
const MEASURE: usize = 512;
/// Entries of the lists that come from elsewhere and are short.
const FEW: usize = 8;
/// Tallies and missing inputs.
const SOME: usize = 16;
/// Signals; there are about thirty.
const SIGNALS: usize = 128;
/// Stands where something was cut.
const CUT: char = '…';

/// A text of at most `most` bytes without what would move the cursor, break
/// the line or turn the direction of writing; `None`: it is one already.
fn fit(text: &str, most: usize) -> Option<String> {
    if text.len() <= most && !text.contains(is_unfit) {
        return None;
    }
    let mut fitting = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        if fitting.len() + c.len_utf8() + CUT.len_utf8() > most {
            fitting.push(CUT);
            break;
        }
        fitting.push(if is_unfit(c) { '?' } else { c });
    }
    Some(fitting)
}

/// Controls; separators of lines; marks of direction.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Of a name or path.
pub fn short(text: &str, most: usize) -> CompactString {
    fit(text, most).map_or_else(|| text.into(), Into::into)
}

fn shorten(text: &mut CompactString, most: usize) {
    if let Some(fitting) = fit(text, most) {
        *text = fitting.into();
    }
}

/// Of a sentence.
fn sentence(text: &mut String) {
    if let Some(fitting) = fit(text, SENTENCE) {
        *text = fitting;
    }
}

fn sentences(all: &mut Vec<String>, most: usize) {
    all.truncate(most);
    all.iter_mut().for_each(sentence);
}

/// So many digits that JSON gives it back exactly; `None` for what is not a number,
/// or beyond all bytes and pages of a node.
pub fn rounded(value: f64) -> Option<f64> {
    let digits = if value.abs() < 1e12 { 1000.0 } else { 1.0 };
    let rounded = (value * digits).round() / digits;
    (rounded.abs() < 1e15).then_some(rounded)
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    (ns / 1_000_000) as f64 / 1000.0
}

/// Keeps the first of a list; says how many are not in it.
pub fn keep<T>(all: &mut Vec<T>, most: usize, what: &str, left_out: &mut Vec<String>) {
    if all.len() > most {
        left_out.push(format!(
            "{what}: {} of {} are left out",
            all.len() - most,
            all.len()
        ));
        all.truncate(most);
    }
}

pub fn verdict(from: &Verdict) -> Verdict {
    let mut verdict = from.clone();
    shorten(&mut verdict.loop_id, NAME);
    shorten(&mut verdict.client_bdi, NAME);
    shorten(&mut verdict.server, NAME);
    if let Some(bdi) = &mut verdict.server_bdi {
        shorten(bdi, NAME);
    }
    sentence(&mut verdict.reason);
    let share = verdict.confidence.share;
    verdict.confidence.share = rounded(share).unwrap_or(0.0);
    sentences(&mut verdict.confidence.missing, SOME);
    let conditions = &mut verdict.conditions;
    for condition in [
        &mut conditions.demand,
        &mut conditions.no_progress,
        &mut conditions.blockage,
        &mut conditions.closing_edge,
    ] {
        condition.value = condition.value.and_then(rounded);
        sentence(&mut condition.why);
    }
    verdict.tallies.truncate(SOME);
    for tally in &mut verdict.tallies {
        tally.livelock_seconds = rounded(tally.livelock_seconds).unwrap_or(0.0);
    }
    verdict
}

pub fn found(from: &Loop) -> Loop {
    let mut found = from.clone();
    for name in [
        &mut found.id,
        &mut found.client_bdi,
        &mut found.server,
        &mut found.server_fstype,
        &mut found.version,
    ] {
        shorten(name, NAME);
    }
    shorten(&mut found.server_device, PATH);
    let optional = [&mut found.server_bdi, &mut found.server_address];
    for name in optional.into_iter().flatten() {
        shorten(name, NAME);
    }
    shorten(&mut found.client_name, PATH);
    found.path.truncate(SOME);
    for node in &mut found.path {
        match node {
            PathNode::Device { kind, name, bdi } => {
                shorten(kind, NAME);
                shorten(name, PATH);
                shorten(bdi, NAME);
            }
            PathNode::Server { name, .. } => shorten(name, NAME),
        }
    }
    found.mounts.truncate(FEW);
    for mount in &mut found.mounts {
        shorten(&mut mount.mount_point, PATH);
        shorten(&mut mount.source, PATH);
    }
    found.client_containers.truncate(FEW);
    let containers = found.client_containers.iter_mut();
    for one in containers.chain(&mut found.server_container) {
        *one = container(one);
    }
    sentences(&mut found.risk, FEW);
    sentences(&mut found.recommendations, FEW);
    found
}

pub fn container(from: &Container) -> Container {
    Container {
        id: short(&from.id, NAME),
        runtime: short(&from.runtime, NAME),
        pod_uid: short(&from.pod_uid, NAME),
        namespace: short(&from.namespace, NAME),
        pod: short(&from.pod, PATH),
        hostname: short(&from.hostname, NAME),
        name: short(&from.name, NAME),
    }
}

pub fn measures(mut all: Vec<Measure>) -> Vec<Measure> {
    all.truncate(FEW);
    for measure in &mut all {
        measure.commands.truncate(FEW);
        let texts = [&mut measure.what, &mut measure.seen];
        for text in texts.into_iter().chain(&mut measure.commands) {
            if let Some(fitting) = fit(text, MEASURE) {
                *text = fitting;
            }
        }
    }
    all
}

pub fn waiting(from: &Waiting) -> Waiting {
    let mut wait = from.clone();
    shorten(&mut wait.comm, NAME);
    shorten(&mut wait.bdi, NAME);
    wait
}

pub fn bdi(from: &Bdi) -> Bdi {
    let mut bdi = from.clone();
    shorten(&mut bdi.bdi, NAME);
    shorten(&mut bdi.fstype, NAME);
    shorten(&mut bdi.device, PATH);
    bdi
}

pub fn client(from: &NfsClient) -> NfsClient {
    let mut client = from.clone();
    shorten(&mut client.bdi, NAME);
    client
}

pub fn signals(from: &[SignalStatus], left_out: &mut Vec<String>) -> Vec<SignalStatus> {
    let mut signals: Vec<SignalStatus> = from.iter().take(SIGNALS).cloned().collect();
    for signal in &mut signals {
        shorten(&mut signal.signal, NAME);
        shorten(&mut signal.strategy, NAME);
    }
    if from.len() > SIGNALS {
        let more = from.len() - SIGNALS;
        left_out.push(format!("signals: {more} of {} are left out", from.len()));
    }
    signals
}

#[cfg(test)]
mod tests {
    use super::{NAME, fit, keep, rounded, short};

    #[test]
    fn a_plain_name_stays_and_a_long_one_ends_in_a_mark() {
        assert_eq!(fit("nfsd", NAME), None);
        assert_eq!(fit("größe", 7), None, "seven bytes");
        let cut = short(&"ä".repeat(100), NAME);
        assert!(cut.ends_with("ä…") && cut.len() <= NAME, "{cut}");
    }

    #[test]
    fn what_would_break_the_line_or_turn_the_writing_is_replaced() {
        let name = "a\nb\x1b[2J\u{9b}c\u{202e}d\u{2028}e";
        assert_eq!(short(name, NAME), "a?b?[2J?c?d?e");
    }

    #[test]
    fn a_list_that_is_cut_is_said_to_be() {
        let (mut all, mut left_out) = (vec![1, 2, 3], Vec::new());
        keep(&mut all, 3, "numbers", &mut left_out);
        assert_eq!((all.len(), left_out.len()), (3, 0));
        keep(&mut all, 1, "numbers", &mut left_out);
        assert_eq!(all, [1]);
        assert_eq!(left_out, ["numbers: 2 of 3 are left out"]);
    }

    #[test]
    fn what_is_no_number_is_none() {
        assert_eq!(rounded(0.123_456), Some(0.123));
        assert_eq!(rounded(9e12 + 0.4), Some(9e12));
        for no in [f64::NAN, f64::INFINITY, -f64::INFINITY, f64::MAX] {
            assert_eq!(rounded(no), None);
        }
    }
}
