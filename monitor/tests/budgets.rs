//! What the daemon may take, by counts that are the same on every machine:
//! allocations of a tick and of a scrape, and the kernel's memory for the maps.
//! docs/performance.md shows what it takes; `xtask budgets` counts instructions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{fs::File, io::BufReader, path::Path};

use allocation_counter::{AllocationInfo, measure};
use aya_obj::generated::bpf_map_type::{self, *};
use monitor_model::observation::Observation;
use monitor_verdict::{Engine, Thresholds};
use throttle_monitor::{
    metrics,
    pipeline::replay_publisher::ReplayPublisher,
    recording::{Header, Replayer},
};

/// A livelock with both ends of a loop.
const LIVELOCK: &str = "6.12-netns-recovery.tmrec";
/// What is set up once is set up by then.
const WARM: usize = 20;

fn observations(name: &str) -> Vec<Observation> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name);
    let mut all = Vec::new();
    let part = Replayer::new(Some(Thresholds::default())).play(
        BufReader::new(File::open(path).unwrap()),
        |observation, _, _| all.push(observation.clone()),
    );
    assert!(part.error.is_none());
    all
}

/// The middle one, and the most.
fn told(what: &str, mut each: Vec<AllocationInfo>) -> (u64, u64) {
    each.sort_by_key(|one| one.count_total);
    let (middle, most) = (each[each.len() / 2], each[each.len() - 1]);
    println!(
        "{what}: {} allocations ({} bytes), at most {} ({} bytes)",
        middle.count_total, middle.bytes_total, most.count_total, most.bytes_total
    );
    (middle.count_total, most.count_total)
}

#[test]
fn a_tick_judges_publishes_and_is_scraped_within_its_allocations() {
    let all = observations(LIVELOCK);
    let mut engine = Engine::new(Thresholds::default());
    let mut stage = ReplayPublisher::new(&Header::default(), None);
    let (mut judged, mut published, mut scraped) = (Vec::new(), Vec::new(), Vec::new());
    for (at, observation) in all.iter().enumerate() {
        let mut changes = None;
        let judging = measure(|| {
            changes = Some(engine.observe(observation));
            let _ = engine.verdicts();
        });
        let changes = changes.unwrap();
        let publishing = measure(|| stage.tick(observation, &changes, &engine, at as u64));
        let snapshot = stage.shared().load();
        let scraping = measure(|| {
            metrics::render(&snapshot).unwrap();
        });
        // A document of evidence is a thing of its own: at the begin and the end of a livelock.
        if at >= WARM && changes.evidence.is_empty() {
            judged.push(judging);
            published.push(publishing);
            scraped.push(scraping);
        }
    }
    assert!(judged.len() >= 30, "{} ticks", all.len());
    let (judged, judged_most) = told("judging a tick", judged);
    let (published, published_most) = told("publishing it", published);
    let (scraped, scraped_most) = told("a scrape", scraped);
    // What was measured, and a quarter more.
    assert!(judged <= 130 && judged_most <= 160);
    assert!(published <= 40 && published_most <= 70);
    assert!(scraped <= 1200 && scraped_most <= 1400);
}

/// What the kernel sets aside for a map's keys and values, without what it adds to each.
fn bytes(map: &aya_obj::Map, processors: u64) -> u64 {
    let kind = bpf_map_type::try_from(map.map_type())
        .ok()
        .expect("a known type");
    let entries = u64::from(map.max_entries());
    let (key, value) = (u64::from(map.key_size()), u64::from(map.value_size()));
    match kind {
        BPF_MAP_TYPE_RINGBUF => entries,
        BPF_MAP_TYPE_PERCPU_HASH | BPF_MAP_TYPE_LRU_PERCPU_HASH | BPF_MAP_TYPE_PERCPU_ARRAY => {
            entries * (key + value.next_multiple_of(8) * processors)
        }
        _ => entries * (key + value),
    }
}

#[test]
fn the_maps_are_bounded_and_small() {
    let object = monitor_collector::kernel::attach::OBJECT;
    let object = aya_obj::Object::parse(object).unwrap();
    let whole = |processors| -> u64 {
        let all = object.maps.iter();
        all.map(|(_, map)| bytes(map, processors)).sum()
    };
    let mut maps: Vec<_> = object.maps.iter().collect();
    maps.sort_by_key(|(_, map)| std::cmp::Reverse(bytes(map, 2)));
    for (name, map) in maps {
        println!(
            "{name}: {} bytes with 2 processors, {} with 64",
            bytes(map, 2),
            bytes(map, 64)
        );
    }
    let mib = |bytes: u64| bytes >> 10;
    println!(
        "all: {} KiB with 2 processors, {} with 64",
        mib(whole(2)),
        mib(whole(64))
    );
    assert!(
        whole(2) <= 3 << 20,
        "{} KiB with 2 processors",
        mib(whole(2))
    );
    assert!(
        whole(64) <= 15 << 20,
        "{} KiB with 64 processors",
        mib(whole(64))
    );
}
