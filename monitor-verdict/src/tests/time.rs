//! Tests of the time spent in waits over the window.

use monitor_common::{Cause, Class};
use monitor_model::observation::Waiting;

use super::node::{CLIENT, Node, Phase, lasts};
use crate::thresholds::Thresholds;
use crate::window::Window;

const MS: u64 = 1_000_000;

fn window() -> (Node, Window) {
    (Node::new(8), Window::new(&Thresholds::default()))
}

fn play(node: &mut Node, window: &mut Window, seconds: u64) {
    for _ in 0..seconds {
        window.push(&node.second(&Phase::IDLE));
    }
}

fn reclaim(window: &Window) -> u64 {
    window.time_in(Cause::DirectReclaim, Class::Nfsd, |_| true) / MS
}

/// A wait that began this long ago.
fn since(node: &Node, tid: usize, ms: u64) -> Waiting {
    Waiting {
        since_ns: node.now.monotonic_ns - ms * MS,
        ..lasts(tid, Class::Nfsd, Cause::DirectReclaim, "")
    }
}

#[test]
fn a_lasting_wait_counts_for_the_part_in_the_window() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, 5);
    node.lasting = vec![since(&node, 100, 60_000), since(&node, 101, 0)];
    play(&mut node, &mut window, 2);
    assert_eq!(
        reclaim(&window),
        2 * 2000,
        "it was not in the samples before"
    );
    play(&mut node, &mut window, 10);
    assert_eq!(
        reclaim(&window),
        2 * 3000,
        "never more than the window each"
    );
}

#[test]
fn a_long_wait_that_ends_counts_for_the_part_in_the_window() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, 5);
    node.lasting = vec![since(&node, 100, 500)];
    play(&mut node, &mut window, 20);
    // It ends 300 ms after the last tick and is counted in full.
    node.lasting.clear();
    node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 20_800)];
    play(&mut node, &mut window, 1);
    assert_eq!(reclaim(&window), 2000 + 300);
    node.spends.clear();
    play(&mut node, &mut window, 1);
    assert_eq!(reclaim(&window), 1000 + 300);
    play(&mut node, &mut window, 2);
    assert_eq!(reclaim(&window), 0);
}

#[test]
fn only_the_cause_the_class_and_the_bdi_that_are_asked_for_count() {
    let (mut node, mut window) = window();
    node.spends = vec![
        (Cause::NfsCommit, Class::Nfsd, CLIENT, 100),
        (Cause::NfsCommit, Class::Nfsd, "0:77", 200),
        (Cause::NfsCommit, Class::Kswapd, CLIENT, 400),
        (Cause::Compaction, Class::Nfsd, "", 800),
    ];
    node.lasting = vec![
        lasts(100, Class::Nfsd, Cause::NfsCommit, "0:77"),
        lasts(101, Class::Kswapd, Cause::NfsCommit, CLIENT),
        lasts(102, Class::Nfsd, Cause::DirectReclaim, ""),
    ];
    play(&mut node, &mut window, 4);
    let own = window.time_in(Cause::NfsCommit, Class::Nfsd, |bdi| bdi == CLIENT);
    assert_eq!(own / MS, 300);
    let kswapd = window.time_in(Cause::NfsCommit, Class::Kswapd, |bdi| bdi == CLIENT);
    assert_eq!(kswapd / MS, 3 * 400 + 3000);
}

#[test]
fn a_counter_that_runs_backwards_counts_nothing_in_that_tick() {
    let (mut node, mut window) = window();
    node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 100)];
    play(&mut node, &mut window, 4);
    assert_eq!(reclaim(&window), 300);
    node.now.delays[0].sum_ns = 0;
    play(&mut node, &mut window, 1);
    assert_eq!(reclaim(&window), 200);
}

#[test]
fn reasons_of_one_cause_are_added_up() {
    use monitor_common::ThrottleReason;
    let (mut node, mut window) = window();
    node.spends = vec![(Cause::ReclaimThrottle, Class::Server, "", 100)];
    for _ in 0..4 {
        let mut observation = node.second(&Phase::IDLE);
        let mut other = observation.delays[0].clone();
        other.reason = ThrottleReason::Isolated;
        observation.delays.push(other);
        window.push(&observation);
    }
    let time = window.time_in(Cause::ReclaimThrottle, Class::Server, |_| true);
    assert_eq!(time / MS, 600);
}

#[test]
fn the_sleeps_in_reclaim_are_within_its_work_and_compaction_is_not() {
    let (mut node, mut window) = window();
    let sleeps = [
        (Cause::CongestionWait, Class::Nfsd, "", 100),
        (Cause::WaitIffCongested, Class::Nfsd, "", 100),
        (Cause::ReclaimThrottle, Class::Nfsd, "", 100),
    ];
    let work = [
        (Cause::DirectReclaim, Class::Nfsd, "", 150),
        (Cause::MemcgReclaim, Class::Nfsd, "", 150),
        (Cause::ThrottleDirectReclaim, Class::Nfsd, "", 150),
        (Cause::Compaction, Class::Nfsd, "", 150),
    ];
    node.spends = sleeps.to_vec();
    play(&mut node, &mut window, 4);
    assert_eq!(window.reclaim_ns(Class::Nfsd) / MS, 900);
    node.spends.extend(work);
    play(&mut node, &mut window, 4);
    assert_eq!(window.reclaim_ns(Class::Nfsd) / MS, 1800);
    assert_eq!(window.reclaim_ns(Class::Kswapd), 0);
}

#[test]
fn congestion_is_a_share_of_the_samples_that_tell() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, 2);
    assert_eq!(window.congested(CLIENT), None, "it is not told");
    node.congest(true);
    play(&mut node, &mut window, 1);
    assert_eq!(window.congested(CLIENT), None, "one sample of three");
    play(&mut node, &mut window, 1);
    assert_eq!(window.congested(CLIENT), Some(1.0), "two of four");
    node.congest(false);
    play(&mut node, &mut window, 2);
    assert_eq!(window.congested(CLIENT), Some(0.5));
    node.now.bdis[0].congestion = None;
    play(&mut node, &mut window, 1);
    assert_eq!(window.congested(CLIENT), None, "the newest does not tell");
}
