use std::fs;

use super::*;

const MS: u64 = 1_000_000;
const BDI: &str = "254:0";

fn offsets() -> Offsets {
    Offsets {
        task_flags: 44,
        bdp_bdi: 8,
        bdp_limit: 40,
        bdp_dirty: 56,
        bdp_bdi_setpoint: 64,
        bdp_bdi_dirty: 72,
        bdp_task_ratelimit: 88,
        bdp_paused: 104,
        bdp_pause: 112,
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
    let settings = settings(Path::new("/nowhere"));
    Counts::new(&settings, Record::of(&settings.offsets))
}

/// Of one task, in milliseconds.
fn pause(tid: u32, at_ms: u64, before_ms: u64, pause_ms: i64) -> Pause {
    let mut record = [0; PAUSE_RECORD];
    record[8..8 + BDI.len()].copy_from_slice(BDI.as_bytes());
    for (at, value) in [
        (40, 1000),
        (56, 900),
        (64, 500),
        (72, 48),
        (88, 7),
        (104, before_ms),
        (112, pause_ms.cast_unsigned()),
    ] {
        record[at..at + 8].copy_from_slice(&u64::to_ne_bytes(value));
    }
    Pause {
        now_ns: at_ms * MS,
        tid,
        tgid: tid,
        comm: *b"dd\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        record,
    }
}

#[test]
fn a_pause_counts_for_its_device_and_its_task() {
    let mut counts = counts();
    for (at_ms, before_ms, pause_ms) in [(1000, 0, 10), (1010, 10, 200), (1210, 210, -1)] {
        counts.add(&pause(7, at_ms, before_ms, pause_ms), Class::User);
    }
    let (key, delay) = counts.delays().next().unwrap();
    assert_eq!(key.bdi, BdiId::from_name(BDI).0);
    assert_eq!(
        (delay.sum_ns, &delay.buckets[..3]),
        (210 * MS, &[2, 0, 1][..])
    );
    let (_, dirty) = counts.dirty().next().unwrap();
    assert_eq!((dirty.events, dirty.pause_ns), (3, 210 * MS));
    assert_eq!((dirty.dirty, dirty.bdi_dirty), (2700, 144));
    assert_eq!((dirty.last_ns, dirty.last_limit), (1210 * MS, 1000));
    let (_, task) = counts.tasks().next().unwrap();
    assert_eq!((task.waits, task.delay_ns), (3, 210 * MS));
    let name = counts.name(key.bdi).unwrap();
    assert_eq!(BdiId::from_words(name).0, key.bdi);
    assert!(counts.bdis().eq([key.bdi]));
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
        let name = format!("0:{number}");
        one.record[8..8 + BDI_NAME_LEN].fill(0);
        one.record[8..8 + name.len()].copy_from_slice(name.as_bytes());
        counts.add(&one, Class::User);
    }
    assert_eq!((counts.lost(), counts.delays().count()), (1, MAX_DEVICES));
}

#[test]
fn a_record_whose_fields_are_missing_or_beyond_what_is_kept_is_not_for_this() {
    assert!(Record::of(&offsets()).is_some());
    let needed: [fn(&mut Offsets) -> &mut i32; 3] = [
        |all| &mut all.bdp_bdi,
        |all| &mut all.bdp_pause,
        |all| &mut all.bdp_paused,
    ];
    for field in needed {
        for bad in [-1, 156] {
            let mut all = offsets();
            *field(&mut all) = bad;
            assert!(Record::of(&all).is_none());
        }
    }
    // What only the state of dirty pages is taken from may be missing, but not be beyond.
    let with_limit = |bdp_limit| {
        Record::of(&Offsets {
            bdp_limit,
            ..offsets()
        })
    };
    assert!(with_limit(-1).unwrap().state.is_none());
    assert!(with_limit(156).is_none());
}

#[test]
fn a_servers_process_is_told_by_its_name_and_where_none_can_be_read_it_is_said() {
    let procfs = tempfile::tempdir().unwrap();
    let comm = |pid: u32, name: &str| {
        let process = procfs.path().join(pid.to_string());
        fs::create_dir(&process).unwrap();
        fs::write(process.join("comm"), format!("{name}\n")).unwrap();
    };
    let names = settings(procfs.path()).nfs_servers;
    let mut servers = Servers::new(procfs.path(), &names);
    assert!(!servers.can_be_told());
    comm(1, "systemd");
    comm(7, "dd");
    comm(8, "ganesha.nfsd");
    assert!(servers.can_be_told());
    assert_eq!(servers.class(7), Class::User);
    assert_eq!(servers.class(9), Class::User);
    assert!(!servers.found);
    assert_eq!(servers.class(8), Class::NfsServer);
    assert!(servers.found);
}
