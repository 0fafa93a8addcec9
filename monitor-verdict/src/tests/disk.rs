//! Tests of the server's disk: shared with others, or not a disk.

use monitor_model::verdict::LivelockState::{Livelock, None as Nothing};

use super::node::{DISK, Phase, Watched};

#[test]
fn a_disk_that_is_busy_with_reads_does_not_hide_a_livelock() {
    let mut watched = Watched::new(8);
    watched.node.writes = vec![(DISK, 0)];
    let read = Phase {
        disk_busy_ms: 980,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&read, 10), Livelock, "{:?}", watched.verdict());
    let reason = watched.verdict().reason;
    assert!(
        reason.contains("disk 98 % busy for others, 0 B/s written to it"),
        "{reason}"
    );
}

#[test]
fn a_busy_disk_that_writes_however_slowly_refutes_one() {
    for rate in [70_000, 500_000, 5_000_000] {
        let mut watched = Watched::new(8);
        watched.node.writes = vec![(DISK, rate)];
        let slow = Phase {
            disk_busy_ms: 980,
            ..Phase::FROZEN_6_12
        };
        watched.play(&slow, 60);
        assert_eq!(
            watched.first(Livelock),
            None,
            "{rate} B/s: {:?}",
            watched.timeline
        );
    }
}

#[test]
fn writes_past_the_page_cache_are_not_the_servers() {
    let mut watched = Watched::new(8);
    watched.node.writes = vec![(DISK, 0)];
    let busy = Phase {
        disk_busy_ms: 980,
        ..Phase::FROZEN_6_12
    };
    watched.play_with(&busy, 10, |n, o| {
        o.bdis[1].disk_sectors_written = Some(n * 100_000);
    });
    assert_eq!(watched.state(), Livelock);
}

#[test]
fn without_debugfs_what_the_disk_writes_decides() {
    for (sectors, livelock) in [(0, true), (10_000, false)] {
        let mut watched = Watched::new(8);
        let busy = Phase {
            disk_busy_ms: 980,
            ..Phase::FROZEN_6_12
        };
        watched.play_with(&busy, 12, |n, o| {
            o.bdis[1].disk_sectors_written = Some(n * sectors);
        });
        assert_eq!(watched.state() == Livelock, livelock, "{sectors} a second");
    }
}

#[test]
fn the_slow_disk_writes_without_a_break_and_has_no_verdict() {
    let mut watched = Watched::new(8);
    watched.node.writes = vec![(DISK, 5_000_000)];
    watched.play(&Phase::HEALTHY, 5);
    for stall in [4, 9, 6, 9, 5, 9] {
        watched.play(&Phase::SLOW_DISK, stall);
        watched.play(&Phase::SLOW_DISK_MOVES, 1);
    }
    assert_eq!(watched.timeline, []);
}

#[test]
fn writeback_shows_whether_a_bdi_without_a_disk_works() {
    for (rate, state) in [(0, Livelock), (300_000, Livelock), (1_000_000, Nothing)] {
        let mut watched = Watched::new(8);
        watched.node.now.bdis[1].disk_busy_ms = None;
        watched.node.writes = vec![(DISK, rate)];
        assert_eq!(watched.play(&Phase::FROZEN_6_12, 11), state, "{rate} B/s");
        let confidence = watched.verdict().confidence;
        assert!((confidence.share - 0.95).abs() < 1e-9, "{confidence:?}");
    }
}

#[test]
fn a_disk_without_counters_lowers_the_confidence() {
    let mut watched = Watched::new(8);
    watched.node.now.bdis[1].disk_busy_ms = None;
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
    let confidence = watched.verdict().confidence;
    assert!((confidence.share - 0.8).abs() < 1e-9, "{confidence:?}");
}

/// The server's BDI holds so many pages.
fn with_pages(mut watched: Watched, pages: u64) -> Watched {
    watched.node.now.bdis[1].writeback_bytes = Some(pages * 4096);
    watched
}

#[test]
fn a_disk_that_hangs_is_not_one_that_is_busy_for_others() {
    for (pages, livelock) in [(9000, false), (50, true)] {
        let mut watched = with_pages(Watched::new(8), pages);
        watched.node.writes = vec![(DISK, 0)];
        let hangs = Phase {
            disk_busy_ms: 1000,
            held: 12_000,
            ..Phase::FROZEN_6_12
        };
        watched.play(&hangs, 20);
        assert_eq!(watched.state() == Livelock, livelock, "{pages} pages");
    }
}

#[test]
fn reclaim_over_a_disk_that_hangs_does_not_close_the_edge_though_it_looks_idle() {
    for (pages, livelock) in [(7000, false), (800, true)] {
        let mut watched = with_pages(super::reclaim::frozen(), pages);
        watched.play(&Phase::FROZEN_RECLAIM, 60);
        let found = watched.first(Livelock).is_some();
        assert_eq!(found, livelock, "{pages} pages: {:?}", watched.verdict());
        let why = watched.verdict().conditions.closing_edge.why;
        assert_eq!(
            why.contains("pages of its own to write"),
            !livelock,
            "{why}"
        );
    }
}

#[test]
fn a_disk_works_from_half_of_the_time_on() {
    for (busy, livelock) in [(499, true), (500, false)] {
        let mut watched = Watched::new(8);
        watched.play(&Phase::HEALTHY, 5);
        let phase = Phase {
            disk_busy_ms: busy,
            ..Phase::FROZEN_6_12
        };
        watched.play(&phase, 12);
        assert_eq!(watched.state() == Livelock, livelock, "{busy} ms a second");
    }
}

#[test]
fn a_disk_that_works_is_not_reported_as_working_for_others() {
    let mut watched = Watched::new(8);
    watched.node.writes = vec![(DISK, 5_000_000)];
    watched.play(&Phase::SLOW_DISK, 5);
    let why = watched.verdict().conditions.closing_edge.why;
    assert!(why.contains("9126, disk 96 % busy, the client's"), "{why}");
}

#[test]
fn an_idle_disk_is_not_reported_as_working_for_others() {
    let mut watched = Watched::new(8);
    watched.node.writes = vec![(DISK, 0)];
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
    let reason = watched.verdict().reason;
    assert!(reason.contains("disk 0 % busy) while"), "{reason}");
}
