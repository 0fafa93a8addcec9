mod stage;

use monitor_common::{Cause, Class};
use monitor_model::{
    evidence::{Picture, Station, StepKind},
    observation::{LoopDevice, ServerThread, Stack, ThreadState, UserServer},
    verdict::{Conditions, Signature},
};

use self::stage::{Stage, congested};
use crate::tests::node::{CLIENT, DISK};

#[test]
fn dirty_throttle_goes_from_the_writers_over_the_limit_back_to_the_client() {
    let mut stage = Stage::new(Signature::DirtyThrottle);
    stage.wait(
        412..414,
        "dd",
        Class::User,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(
        100..102,
        "nfsd",
        Class::Nfsd,
        Cause::BalanceDirtyPages,
        DISK,
    );
    stage.wait(9..10, "cron", Class::User, Cause::BalanceDirtyPages, DISK);
    stage.server(|thread| {
        thread.state = ThreadState::Blocked;
        thread.behind_throttled = true;
        thread.blocked_in = Some("rwsem_down_write_slowpath".into());
    });
    let frames = "schedule_timeout io_schedule_timeout balance_dirty_pages generic_perform_write \
                  ext4_buffered_write_iter nfsd_vfs_write nfsd4_write nfsd4_proc_compound \
                  svc_process nfsd kthread ret_from_fork";
    stage.observation.stacks = vec![Stack {
        tid: 101,
        comm: "nfsd".into(),
        frames: frames.split(' ').map(Into::into).collect(),
    }];
    assert_eq!(
        stage.draw(),
        "\
dd[412], dd[413] wait in balance_dirty_pages on /mnt (0:29) for 10.0 s
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 of the
     node's 20031 dirty pages (limit 19529); only WRITEs to nfsd clean them: 1 unanswered, 0 B/s
     acknowledged
    -> nfsd[100], nfsd[101] wait in balance_dirty_pages on /export (254:0) for 10.0 s
       stack of nfsd[101]: schedule_timeout < io_schedule_timeout < balance_dirty_pages <
       generic_perform_write < ext4_buffered_write_iter < nfsd_vfs_write < nfsd4_write <
       nfsd4_proc_compound < svc_process < nfsd < kthread < ret_from_fork
       nfsd[102], nfsd[103], nfsd[104], nfsd[105] ... (6) wait for a lock behind one that is
       throttled (rwsem_down_write_slowpath)
       /export (254:0, ext4 /dev/vda) has 48 of 10437 setpoint pages dirty; paused 30 times in the
       last 3.0 s, 6.0 s in all; its disk is 0 % busy
      -> which ends when the node's dirty pages fall below the limit: 99 % of those that are not of
         /export (254:0) are of /mnt (0:29), and only nfsd cleans them [the cycle closes]
beside the cycle: cron[9] waits in balance_dirty_pages on /export (254:0)"
    );
}

#[test]
fn reclaim_congestion_goes_over_the_memory_that_the_server_wants() {
    let mut stage = Stage::new(Signature::ReclaimCongestion);
    congested(&mut stage);
    stage.verdict.server_bdi = None;
    stage.wait(
        412..413,
        "dd",
        Class::User,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(55..56, "kswapd0", Class::Kswapd, Cause::CongestionWait, "");
    stage.wait(100..107, "nfsd", Class::Nfsd, Cause::DirectReclaim, "");
    stage.wait(100..105, "nfsd", Class::Nfsd, Cause::WaitIffCongested, "");
    assert_eq!(
        stage.draw(),
        "\
dd[412] waits in balance_dirty_pages on /mnt (0:29) for 10.0 s
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 pages;
     only WRITEs to nfsd clean them: 1 unanswered, 0 B/s acknowledged
     /mnt (0:29) is congested for 12.0 s (flag)
    -> nfsd[100], nfsd[101], nfsd[102], nfsd[103] ... (5) wait in direct_reclaim >
       wait_iff_congested for 10.0 s
       nfsd[105], nfsd[106] wait in direct_reclaim for 10.0 s
       the device that nfsd writes to is unknown
      -> which ends when pages under writeback are written: /mnt (0:29) has 38.9 MiB of them, and
         only nfsd answers their WRITEs [the cycle closes]
beside the cycle: kswapd0[55] waits in congestion_wait"
    );
}

#[test]
fn commit_wait_goes_over_whoever_frees_the_clients_pages() {
    let mut stage = Stage::new(Signature::CommitWait);
    stage.wait(
        412..413,
        "dd",
        Class::User,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(100..101, "nfsd", Class::Nfsd, Cause::DirectReclaim, "");
    stage.wait(100..101, "nfsd", Class::Nfsd, Cause::NfsCommit, CLIENT);
    stage.wait(102..103, "nfsd", Class::Nfsd, Cause::DirectReclaim, "");
    stage.observation.stacks = vec![Stack {
        tid: 55,
        comm: "kcompactd0".into(),
        frames: [
            "__schedule",
            "nfs_wb_folio",
            "nfs_release_folio",
            "kcompactd",
        ]
        .map(Into::into)
        .to_vec(),
    }];
    stage.observation.clients[0].commits_sent = 3;
    assert_eq!(
        stage.draw(),
        "\
dd[412] waits in balance_dirty_pages on /mnt (0:29) for 10.0 s
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 of the
     node's 20031 dirty pages (limit 19529); only WRITEs to nfsd clean them: 1 unanswered, 0 B/s
     acknowledged
    -> nfsd[100] waits in direct_reclaim > nfs_commit on /mnt (0:29) for 10.0 s
       nfsd[102] waits in direct_reclaim for 10.0 s
       kcompactd0[55] sleeps in nfs_wb_folio
       stack of kcompactd0[55]: __schedule < nfs_wb_folio < nfs_release_folio < kcompactd
       /export (254:0, ext4 /dev/vda) has 48 of 10437 setpoint pages dirty; paused 30 times in the
       last 3.0 s, 6.0 s in all; its disk is 0 % busy
      -> which ends when pages of /mnt (0:29) are written and committed (unanswered: 1 WRITE calls,
         3 COMMIT calls), and only nfsd does that [the cycle closes]"
    );
}

#[test]
fn request_starvation_goes_over_the_memory_for_requests() {
    let mut stage = Stage::new(Signature::RequestStarvation);
    congested(&mut stage);
    stage.wait(
        412..413,
        "dd",
        Class::User,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(100..108, "nfsd", Class::Nfsd, Cause::SvcAllocArg, "");
    stage.observation.memory.available_bytes = Some(3_000_000);
    stage.observation.memory.total_bytes = Some(256_000_000);
    assert_eq!(
        stage.draw(),
        "\
dd[412] waits in balance_dirty_pages on /mnt (0:29) for 10.0 s
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 of the
     node's 20031 dirty pages (limit 19529); only WRITEs to nfsd clean them: 1 unanswered, 0 B/s
     acknowledged
     /mnt (0:29) is congested for 12.0 s (flag)
    -> nfsd[100], nfsd[101], nfsd[102], nfsd[103] ... (8) wait in svc_alloc_arg for 10.0 s
       /export (254:0, ext4 /dev/vda) has 48 of 10437 setpoint pages dirty; paused 30 times in the
       last 3.0 s, 6.0 s in all; its disk is 0 % busy
      -> which ends when memory is free for their requests (2.9 MiB of 244 MiB available): /mnt
         (0:29) has 38.9 MiB under writeback, and only nfsd answers those WRITEs [the cycle closes]"
    );
}

fn loop_device(on: &str) -> LoopDevice {
    LoopDevice {
        bdi: "7:0".into(),
        file: "/mnt/disk.img".into(),
        on: on.into(),
        ..LoopDevice::default()
    }
}

#[test]
fn a_loop_device_on_the_client_stands_between_the_writers_and_the_client() {
    let mut stage = Stage::new(Signature::LoopDevice);
    stage.topology().loop_devices.push(loop_device(CLIENT));
    stage.wait(412..414, "cp", Class::User, Cause::BalanceDirtyPages, "7:0");
    stage.wait(
        77..78,
        "loop0",
        Class::LoopDevice,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(
        100..101,
        "nfsd",
        Class::Nfsd,
        Cause::BalanceDirtyPages,
        DISK,
    );
    assert_eq!(
        stage.draw(),
        "\
cp[412], cp[413] wait in balance_dirty_pages on 7:0 for 10.0 s
  -> 7:0 is a loop device: the file /mnt/disk.img on /mnt (0:29)
    -> loop0[77] waits in balance_dirty_pages on /mnt (0:29) for 10.0 s
      -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 of the
         node's 20031 dirty pages (limit 19529); only WRITEs to nfsd clean them: 1 unanswered, 0 B/s
         acknowledged
        -> nfsd[100] waits in balance_dirty_pages on /export (254:0) for 10.0 s
           /export (254:0, ext4 /dev/vda) has 48 of 10437 setpoint pages dirty; paused 30 times in
           the last 3.0 s, 6.0 s in all; its disk is 0 % busy
          -> which ends when the node's dirty pages fall below the limit: 99 % of those that are not
             of /export (254:0) are of /mnt (0:29), and only nfsd cleans them [the cycle closes]"
    );
}

#[test]
fn a_loop_device_under_the_server_stands_between_the_server_and_the_client() {
    let mut stage = Stage::new(Signature::LoopDevice);
    stage.verdict.server_bdi = Some("7:0".into());
    stage.topology().loop_devices.push(loop_device(CLIENT));
    stage.wait(
        412..413,
        "dd",
        Class::User,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(
        77..78,
        "kworker/u8:1-loop0",
        Class::Kworker,
        Cause::BalanceDirtyPages,
        CLIENT,
    );
    stage.wait(
        100..101,
        "nfsd",
        Class::Nfsd,
        Cause::BalanceDirtyPages,
        "7:0",
    );
    assert_eq!(
        stage.draw(),
        "\
dd[412] waits in balance_dirty_pages on /mnt (0:29) for 10.0 s
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 pages;
     only WRITEs to nfsd clean them: 1 unanswered, 0 B/s acknowledged
    -> nfsd[100] waits in balance_dirty_pages on 7:0 for 10.0 s
       7:0: no thread of nfsd was paused on it in the last 3.0 s; its disk's busy time is unknown
      -> 7:0 is a loop device: the file /mnt/disk.img on /mnt (0:29)
        -> kworker/u8:1-loop0[77] waits in balance_dirty_pages on /mnt (0:29) for 10.0 s
          -> which ends when the node's dirty pages fall below the limit: 99 % of those that are not
             of 7:0 are of /mnt (0:29), and only nfsd cleans them [the cycle closes]"
    );
}

#[test]
fn a_userspace_server_is_called_by_its_name_and_its_other_processes_are_not_it() {
    let mut stage = Stage::new(Signature::DirtyThrottle);
    stage.verdict.server = "ganesha.nfsd".into();
    let thread = |tid| ServerThread {
        tid,
        state: ThreadState::Throttled,
        write_since_ns: None,
        blocked_in: None,
        behind_throttled: false,
    };
    let server = |name: &str, tgid| UserServer {
        stopped: false,
        name: name.into(),
        tgid,
        threads: vec![thread(tgid), thread(tgid + 1)],
        ..UserServer::default()
    };
    stage.observation.user_servers = vec![server("ganesha.nfsd", 900), server("unfsd", 800)];
    stage.wait(
        900..902,
        "g_worker",
        Class::Server,
        Cause::BalanceDirtyPages,
        DISK,
    );
    stage.wait(
        800..801,
        "unfsd",
        Class::Server,
        Cause::BalanceDirtyPages,
        DISK,
    );
    assert_eq!(
        stage.draw(),
        "\
no task waits for /mnt (0:29) at this moment
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 pages;
     only WRITEs to ganesha.nfsd clean them: 1 unanswered, 0 B/s acknowledged
    -> g_worker[900], g_worker[901] wait in balance_dirty_pages on /export (254:0) for 10.0 s
       /export (254:0, ext4 /dev/vda): no thread of ganesha.nfsd was paused on it in the last 3.0 s;
       its disk is 0 % busy
      -> which ends when the node's dirty pages fall below the limit: 99 % of those that are not of
         /export (254:0) are of /mnt (0:29), and only ganesha.nfsd cleans them [the cycle closes]
beside the cycle: unfsd[800] waits in balance_dirty_pages on /export (254:0)"
    );
}

#[test]
fn what_is_not_seen_at_this_moment_is_said_so_and_the_window_speaks() {
    let mut stage = Stage::new(Signature::DirtyThrottle);
    stage.server(|thread| {
        if thread.tid > 105 {
            thread.state = ThreadState::Running;
        }
    });
    stage.verdict.conditions.closing_edge.holds = None;
    stage.verdict.conditions.closing_edge.value = None;
    assert_eq!(
        stage.draw(),
        "\
no task waits for /mnt (0:29) at this moment
  -> /mnt (0:29, 127.0.0.1:/srv) holds 38.9 MiB dirty and 38.9 MiB under writeback, 19900 of the
     node's 20031 dirty pages (limit 19529); only WRITEs to nfsd clean them: 1 unanswered, 0 B/s
     acknowledged
    -> no thread of nfsd is in balance_dirty_pages at this moment
       nfsd[106], nfsd[107] run
       /export (254:0, ext4 /dev/vda) has 48 of 10437 setpoint pages dirty; paused 30 times in the
       last 3.0 s, 6.0 s in all; its disk is 0 % busy
      -> which ends when the node's dirty pages fall below the limit: an unknown share of those that
         are not of /export (254:0) are of /mnt (0:29), and only nfsd cleans them [unknown whether
         the cycle closes]"
    );
}

#[test]
fn a_step_says_which_threads_and_which_device_it_is_about() {
    let mut stage = Stage::new(Signature::DirtyThrottle);
    let pages = Cause::BalanceDirtyPages;
    stage.wait(412..414, "dd", Class::User, pages, CLIENT);
    stage.wait(100..102, "nfsd", Class::Nfsd, pages, DISK);
    stage.observation.stacks = vec![Stack {
        tid: 101,
        comm: "nfsd".into(),
        frames: vec!["balance_dirty_pages".into()],
    }];
    let steps = stage.steps();
    let all: Vec<_> = steps
        .iter()
        .map(|step| (step.kind, &*step.tids, step.bdi.as_deref()))
        .collect();
    assert_eq!(
        all,
        [
            (StepKind::Waits, &[412, 413][..], Some(CLIENT)),
            (StepKind::Waits, &[], Some(CLIENT)),
            (StepKind::Waits, &[100, 101], Some(DISK)),
            (StepKind::Stack, &[101], Some(DISK)),
            (StepKind::Beside, &[], Some(DISK)),
            (StepKind::Closes, &[], Some(CLIENT)),
        ]
    );
}

/// Names and lines of the stations.
fn stations(picture: &Picture) -> Vec<String> {
    let stations = picture.stations.iter();
    let words = |one: &Station| {
        let bdi = one.bdi.as_deref().unwrap_or("none");
        format!("{} at {bdi}: {}", one.name, one.lines.join(", "))
    };
    stations.map(words).collect()
}

#[test]
fn the_picture_has_who_waits_what_flows_and_who_waits_for_whom() {
    let mut stage = Stage::new(Signature::DirtyThrottle);
    let pages = Cause::BalanceDirtyPages;
    stage.wait(412..414, "dd", Class::User, pages, CLIENT);
    stage.wait(100..102, "nfsd", Class::Nfsd, pages, DISK);
    stage.server(|thread| {
        thread.state = match thread.tid {
            100..102 => ThreadState::Throttled,
            102..107 => ThreadState::Blocked,
            _ => ThreadState::Idle,
        };
    });
    let picture = stage.picture();
    assert_eq!(
        stations(&picture),
        [
            "Writers at none: 2 waiting, for 10.0 s",
            "/mnt at 0:29: 77.7 MiB held, 1 WRITE open",
            "nfsd at none: 7 of 8 stuck, 2 throttled, 5 blocked, for 10.0 s",
            "/export at 254:0: 0 B held, ext4 /dev/vda",
        ]
    );
    let arrows: Vec<_> = picture
        .arrows
        .iter()
        .map(|one| {
            (
                one.from,
                one.to,
                one.waits,
                format!("{} {}", one.value, one.unit),
            )
        })
        .collect();
    assert_eq!(
        arrows,
        [
            (0, 1, false, "77.2 MiB to write".to_owned()),
            (1, 2, false, "0 B/s acknowledged".to_owned()),
            (2, 3, false, "100 % waiting".to_owned()),
            (2, 1, true, "99 % is the client's".to_owned()),
        ],
        "the one that closes it leaves from the threads that wait, not from the disk"
    );
    let closing = "Closed: nfsd waits for pages of /mnt (0:29); only nfsd can clean them";
    assert_eq!(picture.closing, closing);
}

#[test]
fn a_picture_invents_nothing_where_little_is_known() {
    let mut stage = Stage::new(Signature::CommitWait);
    stage.verdict.server = "ganesha.nfsd".into();
    stage.verdict.server_bdi = None;
    stage.verdict.conditions = Conditions::default();
    stage.observation.bdis.clear();
    stage.observation.clients.clear();
    let picture = stage.picture();
    assert_eq!(
        stations(&picture),
        [
            "Writers at none: none waits",
            "/mnt at 0:29: size unknown",
            "ganesha.nfsd at none: not seen",
            "Disk at none: not known yet",
        ]
    );
    assert!(
        picture
            .arrows
            .iter()
            .all(|one| one.value == "?" && one.holds.is_none())
    );
    let closing = "Unknown: whether ganesha.nfsd waits for commits of /mnt (0:29)";
    assert_eq!(picture.closing, closing);
    stage.verdict.conditions.closing_edge.holds = Some(false);
    let open = "Open: ganesha.nfsd does not wait for commits of /mnt (0:29)";
    assert_eq!(stage.picture().closing, open);
}
