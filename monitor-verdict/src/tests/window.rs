//! Tests of the window.

use monitor_common::Class;

use super::node::{CLIENT, DISK, Node, Phase};
use crate::thresholds::Thresholds;
use crate::window::reduce::Sample;
use crate::window::{Pushed, ThreadSamples, Window};

fn window() -> (Node, Window) {
    (Node::new(8), Window::new(&Thresholds::default()))
}

fn play(node: &mut Node, window: &mut Window, phase: &Phase, seconds: u64) {
    for _ in 0..seconds {
        window.push(&node.second(phase));
    }
}

fn acked(window: &Window) -> Option<f64> {
    window
        .moved(|sample| sample.client(CLIENT)?.bytes_acked)
        .map(|moved| moved.rate())
}

fn nfsd(window: &Window) -> Option<ThreadSamples> {
    window.threads(|sample| sample.server?.threads)
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-9
}

#[test]
fn only_the_last_three_seconds_count() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::HEALTHY, 30);
    assert_eq!(window.covered_ns(), 3_000_000_000);
    assert_eq!(acked(&window), Some(30e6));
    play(&mut node, &mut window, &Phase::FROZEN_6_12, 2);
    assert_eq!(acked(&window), Some(10e6));
    play(&mut node, &mut window, &Phase::FROZEN_6_12, 1);
    assert_eq!(acked(&window), Some(0.0));
}

#[test]
fn a_window_of_one_second_is_not_an_answer_yet() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::HEALTHY, 2);
    assert_eq!(acked(&window), None);
    assert_eq!(nfsd(&window), None);
    play(&mut node, &mut window, &Phase::HEALTHY, 1);
    assert_eq!(acked(&window), Some(30e6));
    assert!(nfsd(&window).is_some());
}

#[test]
fn a_gap_and_a_step_back_restart_it_and_a_repetition_is_left_out() {
    let (mut node, mut window) = window();
    assert_eq!(window.push(&node.second(&Phase::IDLE)), Pushed::Restarted);
    assert_eq!(
        window.push(&node.second(&Phase::IDLE)),
        Pushed::Next(1_000_000_000)
    );
    assert_eq!(window.push(&node.now.clone()), Pushed::Ignored);
    node.now.monotonic_ns += 10_000_000_000;
    assert_eq!(window.push(&node.second(&Phase::IDLE)), Pushed::Restarted);
    assert_eq!(window.covered_ns(), 0);
    node.now.monotonic_ns = 7;
    assert_eq!(window.push(&node.now.clone()), Pushed::Restarted);
}

#[test]
fn one_observation_alone_shows_no_movement() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::HEALTHY, 1);
    let counter = |sample: &Sample| sample.client(CLIENT)?.bytes_acked;
    assert!(window.moved_last_second(counter).is_none());
    assert!(window.moved(counter).is_none());
    play(&mut node, &mut window, &Phase::HEALTHY, 1);
    let moved = window.moved_last_second(counter).map(|moved| moved.rate());
    assert_eq!(moved, Some(30e6));
}

#[test]
fn what_is_as_old_as_the_window_and_its_slack_is_in_it_and_what_is_older_is_not() {
    for (late_ns, covered_ns) in [(0, 3_200_000_000), (1, 2_200_000_001)] {
        let (mut node, mut window) = window();
        play(&mut node, &mut window, &Phase::IDLE, 2);
        node.now.monotonic_ns += 2_200_000_000 + late_ns;
        window.push(&node.now.clone());
        assert_eq!(window.covered_ns(), covered_ns);
    }
}

#[test]
fn it_is_bounded_however_fast_observations_come() {
    let (mut node, mut window) = window();
    for _ in 0..1000 {
        node.now.monotonic_ns += 1_000_000;
        window.push(&node.now.clone());
    }
    assert_eq!(window.covered_ns(), 63_000_000);
}

#[test]
fn a_counter_that_runs_backwards_is_unknown_until_it_has_left() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::HEALTHY, 5);
    node.now.clients[0].bytes_acked = 0;
    for _ in 0..3 {
        play(&mut node, &mut window, &Phase::HEALTHY, 1);
        assert_eq!(acked(&window), None);
    }
    play(&mut node, &mut window, &Phase::HEALTHY, 1);
    assert_eq!(acked(&window), Some(30e6));
}

#[test]
fn the_last_second_is_one_tick_or_the_ticks_within_it() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::HEALTHY, 3);
    play(&mut node, &mut window, &Phase::FROZEN_6_12, 1);
    let bytes = |window: &Window| {
        window
            .moved_last_second(|s| s.client(CLIENT)?.bytes_acked)
            .map(|moved| moved.bytes)
    };
    assert_eq!(bytes(&window), Some(0));
    node.now.clients[0].bytes_acked += 5;
    node.now.monotonic_ns += 100_000_000;
    window.push(&node.now.clone());
    assert_eq!(bytes(&window), Some(5));
    for _ in 0..9 {
        node.now.clients[0].bytes_acked += 5;
        node.now.monotonic_ns += 100_000_000;
        window.push(&node.now.clone());
    }
    assert_eq!(bytes(&window), Some(50), "ten of them");
}

#[test]
fn a_tick_of_the_freeze_weighs_as_much_as_a_tick_of_the_crawl() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::IDLE, 1);
    play(
        &mut node,
        &mut window,
        &Phase {
            bdi_dirty: 4000,
            ..Phase::CRAWL
        },
        1,
    );
    play(
        &mut node,
        &mut window,
        &Phase {
            bdi_dirty: 1000,
            ..Phase::FROZEN_6_12
        },
        2,
    );
    let means = window.pauses(DISK, Class::Nfsd).expect("paused");
    assert_eq!(means.events, 220);
    assert!(near(means.bdi_dirty, 2000.0), "{means:?}");
    assert_eq!(window.pauses(DISK, Class::User), None);
}

#[test]
fn blocked_threads_are_stuck_only_beside_a_throttled_one() {
    let (mut node, mut window) = window();
    let blocked = Phase {
        throttled: 0,
        blocked: 6,
        ..Phase::IDLE
    };
    play(&mut node, &mut window, &blocked, 4);
    let threads = nfsd(&window).expect("seen");
    assert_eq!((threads.busy, threads.stuck), (24, 0));
    // A throttled thread in one sample also counts for the sample before and after.
    play(
        &mut node,
        &mut window,
        &Phase {
            throttled: 2,
            ..blocked
        },
        1,
    );
    play(&mut node, &mut window, &blocked, 2);
    let threads = nfsd(&window).expect("seen");
    assert_eq!((threads.busy, threads.stuck), (26, 20));
    assert_eq!(
        (
            threads.throttled_ticks,
            threads.most_throttled,
            threads.most_in_dirty
        ),
        (1, 2, 2)
    );
}

#[test]
fn disk_time_is_a_share_and_unknown_without_a_disk() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::SLOW_DISK, 5);
    assert!(window.disk_busy(DISK).is_some_and(|busy| near(busy, 0.96)));
    assert_eq!(window.disk_busy(CLIENT), None);
    assert_eq!(window.disk_busy("8:0"), None);
}

#[test]
fn what_is_missing_now_moved_an_unknown_amount_in_the_last_second() {
    let (mut node, mut window) = window();
    play(&mut node, &mut window, &Phase::HEALTHY, 5);
    for _ in 0..2 {
        node.now.monotonic_ns += 300_000_000;
        window.push(&node.now.clone());
    }
    node.now.clients.clear();
    node.now.monotonic_ns += 300_000_000;
    window.push(&node.now.clone());
    let moved = window.moved_last_second(|s| s.client(CLIENT)?.bytes_acked);
    assert_eq!(moved, None);
}
