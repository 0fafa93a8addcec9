use std::path::Path;

use super::*;

const MS: u64 = 1_000_000;
const BDI: &str = "254:0";

fn offsets() -> Offsets {
    Offsets {
        bdp_limit: 40,
        bdp_dirty: 56,
        bdp_bdi_setpoint: 64,
        bdp_bdi_dirty: 72,
        ..Offsets::UNKNOWN
    }
}

fn settings(procfs: &Path) -> Settings {
    let mut bounds_ns = [u64::MAX; HIST_BUCKETS - 1];
    bounds_ns[..2].copy_from_slice(&[10 * MS, 100 * MS]);
    Settings {
        offsets: offsets(),
        threshold_ns: 100 * MS,
        bounds_ns,
        nfs_servers: vec!["ganesha.nfsd".to_owned()],
        procfs: procfs.into(),
    }
}

fn counts() -> Counts {
    Counts::new(&settings(Path::new("/nowhere")))
}

/// Of one task, in milliseconds.
fn pause(tid: u32, at_ms: u64, before_ms: u64, pause_ms: u64) -> Pause {
    Pause {
        now_ns: at_ms * MS,
        tid,
        tgid: tid,
        comm: *b"dd\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        bdi: bdi(BDI),
        limit: 1000,
        dirty: 900,
        bdi_setpoint: 500,
        bdi_dirty: 48,
        task_ratelimit: 7,
        paused_ms: before_ms,
        pause_ms,
        cgroup: 1,
    }
}

fn bdi(name: &str) -> [u64; BDI_NAME_LEN / 8] {
    let mut bytes = [0; BDI_NAME_LEN];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let mut words = [0; BDI_NAME_LEN / 8];
    for (to, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *to = u64::from_ne_bytes(from.try_into().unwrap());
    }
    words
}

#[test]
fn a_pause_counts_for_its_device_and_its_task() {
    let mut counts = counts();
    for (at_ms, before_ms, pause_ms) in [(1000, 0, 10), (1010, 10, 200)] {
        counts.add(&pause(7, at_ms, before_ms, pause_ms), Class::User);
    }
    let (key, delay) = counts.delays().next().unwrap();
    assert_eq!(key.bdi, BdiId::from_name(BDI).0);
    assert_eq!(
        (delay.sum_ns, &delay.buckets[..3]),
        (210 * MS, &[1, 0, 1][..])
    );
    let (_, dirty) = counts.dirty().next().unwrap();
    assert_eq!((dirty.events, dirty.pause_ns), (2, 210 * MS));
    assert_eq!((dirty.dirty, dirty.bdi_dirty), (1800, 96));
    assert_eq!((dirty.last_ns, dirty.last_limit), (1010 * MS, 1000));
    let (_, task) = counts.tasks().next().unwrap();
    assert_eq!((task.waits, task.delay_ns), (2, 210 * MS));
    let name = counts.name(key.bdi).unwrap();
    assert_eq!(BdiId::from_words(name).0, key.bdi);
    assert!(counts.bdis().eq([key.bdi]));
}

/// 7.x reports the limit of a memory cgroup, too; `dirty` may be below zero there.
#[test]
fn what_is_said_of_a_memory_cgroup_is_not_the_nodes() {
    let mut counts = counts();
    counts.add(&pause(7, 1000, 0, 10), Class::User);
    let of_cgroup = Pause {
        cgroup: 4711,
        limit: 20,
        dirty: (-3_i64).cast_unsigned(),
        bdi_dirty: 2,
        ..pause(7, 1020, 0, 10)
    };
    counts.add(&of_cgroup, Class::User);
    let (_, dirty) = counts.dirty().next().unwrap();
    assert_eq!((dirty.events, dirty.node_events), (2, 1));
    assert_eq!((dirty.dirty, dirty.limit), (900, 1000));
    assert_eq!((dirty.last_dirty, dirty.last_limit), (900, 1000));
    assert_eq!((dirty.last_ns, dirty.bdi_dirty), (1020 * MS, 50));
    assert_eq!(counts.delays().next().unwrap().1.sum_ns, 20 * MS);
}

#[test]
fn pauses_of_one_call_are_one_wait_that_lasts_from_the_first_to_the_end_of_the_last() {
    let mut counts = counts();
    counts.add(&pause(7, 1000, 0, 200), Class::User);
    counts.add(&pause(7, 1200, 204, 200), Class::User);
    let (_, wait) = counts.waits().next().unwrap();
    assert_eq!((wait.since_ns, wait.until_ns), (1000 * MS, 1400 * MS));
    counts.end(1500 * MS, 300 * MS);
    assert_eq!(counts.waits().count(), 1, "the next pause may be late");
    counts.end(1701 * MS, 300 * MS);
    assert_eq!(counts.waits().count(), 0);
    let [ended] = counts.ended[..] else {
        panic!("{:?}", counts.ended)
    };
    assert_eq!((ended.tid, ended.delay_ns), (7, 400 * MS));
}

#[test]
fn the_next_call_of_a_task_ends_the_one_before() {
    let mut counts = counts();
    counts.add(&pause(7, 1000, 0, 150), Class::User);
    counts.add(&pause(7, 1200, 0, 20), Class::User);
    assert_eq!(counts.ended.len(), 1);
    assert_eq!(counts.ended[0].delay_ns, 150 * MS);
    let (_, wait) = counts.waits().next().unwrap();
    assert_eq!(wait.since_ns, 1200 * MS);
    // It was short, and is told to nobody.
    counts.end(9000 * MS, 300 * MS);
    assert_eq!(counts.ended.len(), 1);
}

#[test]
fn of_too_many_tasks_the_half_goes_that_waited_longest_ago() {
    let mut counts = counts();
    for tid in 0..=u32::try_from(MAX_TASKS).unwrap() {
        counts.add(&pause(tid, u64::from(tid), 0, 1), Class::User);
    }
    assert!(counts.tasks().count() <= MAX_TASKS / 2 + 1);
    assert!(counts.tasks().all(|(key, _)| key.tid >= 2047));
}

#[test]
fn waits_are_bounded_and_what_finds_no_room_is_said() {
    let mut counts = counts();
    for tid in 0..=u32::try_from(MAX_WAITS).unwrap() {
        counts.add(&pause(tid, 1000, 0, 200), Class::User);
    }
    assert_eq!((counts.waits().count(), counts.lost()), (MAX_WAITS, 1));
}

#[test]
fn too_many_devices_are_lost_and_said() {
    let mut counts = counts();
    for number in 0..=MAX_DEVICES {
        let mut one = pause(7, 1000, 0, 1);
        one.bdi = bdi(&format!("0:{number}"));
        counts.add(&one, Class::User);
    }
    assert_eq!((counts.lost(), counts.delays().count()), (1, MAX_DEVICES));
}

#[test]
fn a_pause_without_a_name_has_the_one_that_its_task_had_a_moment_ago() {
    let mut counts = counts();
    let one = pause(7, 1000, 0, 10);
    counts.add(&one, Class::User);
    assert_eq!(counts.comm(7, 7, 9 * BELIEVED_NS), None, "nobody read it");
    counts.named(7, 1000 * MS);
    let soon = 999 * MS + BELIEVED_NS;
    assert_eq!(counts.comm(7, 7, soon), Some(one.comm));
    assert_eq!(
        counts.comm(7, 7, soon + MS),
        None,
        "it may have executed another program"
    );
    assert_eq!(
        counts.comm(7, 8, soon),
        None,
        "another process has the number now"
    );
    assert_eq!(counts.comm(8, 8, soon), None);
}

#[test]
fn a_wait_is_that_of_a_server_as_soon_as_its_task_is_known_for_one() {
    let mut counts = counts();
    counts.add(&pause(7, 1000, 0, 200), Class::User);
    counts.add(&pause(7, 1200, 204, 200), Class::Server);
    let (_, wait) = counts.waits().next().unwrap();
    assert_eq!(
        (wait.since_ns, wait.class),
        (1000 * MS, Class::Server as u8)
    );
}

#[test]
fn where_the_kernel_does_not_tell_the_state_of_its_dirty_pages_the_pause_counts_all_the_same() {
    let mut settings = settings(Path::new("/nowhere"));
    settings.offsets.bdp_limit = -1;
    let mut counts = Counts::new(&settings);
    counts.add(&pause(7, 1000, 0, 10), Class::User);
    assert_eq!(counts.dirty().next().unwrap().1.events, 0);
    assert_eq!(counts.delays().next().unwrap().1.sum_ns, 10 * MS);
}

#[test]
fn rings_are_read_when_half_of_them_are_full_and_soon_where_they_may_have_been_full() {
    let ms = Duration::from_millis;
    assert_eq!(pace(ms(1000), 0, 248), None);
    assert_eq!(pace(ms(1240), 124, 248), Some(ms(1240)));
    assert_eq!(pace(ms(20), 2, 248), Some(ms(1240)));
    assert_eq!(pace(ms(1000), 200, 248), Some(SHORTEST));
    assert_eq!(pace(ms(5), 31, 31), Some(SHORTEST));
}
