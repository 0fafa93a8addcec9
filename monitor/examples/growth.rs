//! How a tick and a page of metrics grow with what is on the node: loops, BDIs, tasks that
//! wait, samples. Prints JSON, a list; `./dev bench` reads it.

#[path = "../src/recording/tests/node.rs"]
mod node;

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::observation::{Bdi, Delay, Observation, Waiting};
use monitor_verdict::{Engine, Thresholds};
use serde_json::json;
use throttle_monitor::{metrics, pipeline::replay_publisher::ReplayPublisher, recording::Header};

/// Of what there is more and more.
#[derive(Clone, Copy)]
enum Of {
    Loops,
    Bdis,
    Waits,
    Histograms,
}

fn main() -> Result<()> {
    let growth = [
        ("loops", Of::Loops, [1, 10, 100, 300]),
        ("BDIs", Of::Bdis, [10, 100, 1_000, 3_000]),
        ("waiting tasks", Of::Waits, [10, 100, 1_000, 8_000]),
        ("histograms", Of::Histograms, [1, 50, 550, 5_500]),
    ];
    let mut all = Vec::new();
    for (name, of, numbers) in growth {
        for number in numbers {
            let (mut judging, mut publishing, mut rendering) = (Vec::new(), Vec::new(), Vec::new());
            let mut engine = Engine::new(Thresholds::default());
            let mut stage = ReplayPublisher::new(&Header::default(), None);
            let mut page = String::new();
            for observation in node::life(10, 20, 0) {
                let observation = grown(observation, of, number);
                let begin = Instant::now();
                let changes = engine.observe(&observation);
                judging.push(begin.elapsed());
                let begin = Instant::now();
                stage.tick(&observation, &changes, &engine, 1);
                publishing.push(begin.elapsed());
                let snapshot = stage.shared().load();
                let begin = Instant::now();
                page = metrics::render(&snapshot)?;
                rendering.push(begin.elapsed());
            }
            let ms = |mut times: Vec<std::time::Duration>| {
                times.sort();
                times[times.len() / 2].as_secs_f64() * 1e3
            };
            all.push(json!({
                "what": format!("{number} {name}"),
                "judged_ms": ms(judging),
                "published_ms": ms(publishing),
                "rendered_ms": ms(rendering),
                "samples": page.lines().filter(|line| !line.starts_with('#')).count(),
                "bytes": page.len(),
            }));
        }
    }
    println!("{}", json!(all));
    Ok(())
}

/// The same with so many of them.
fn grown(mut now: Observation, of: Of, number: usize) -> Observation {
    match of {
        Of::Loops => loops(&mut now, number),
        Of::Bdis => now.bdis.extend((0..number).map(|minor| Bdi {
            bdi: format!("7:{minor}").into(),
            dirty_bytes: Some(4096),
            writeback_bytes: Some(0),
            ..Bdi::default()
        })),
        Of::Waits => now
            .waits
            .extend((1_000_000..).take(number).map(|tid| Waiting {
                tid,
                tgid: 1_000_000,
                comm: "writer".into(),
                cause: Cause::BalanceDirtyPages,
                class: Class::User,
                reason: ThrottleReason::None,
                bdi: node::CLIENT.into(),
                since_ns: now.monotonic_ns - 1_000_000,
            })),
        Of::Histograms => now.delays = (0..number).map(delay).collect(),
    }
    now
}

/// More mounts of the same server, each with a BDI and an RPC client of its own.
fn loops(now: &mut Observation, number: usize) {
    let (client, rpc, bdi) = (
        now.clients[0].clone(),
        now.rpc_clients[0].clone(),
        now.bdis[0].clone(),
    );
    let topology = Arc::make_mut(&mut now.topology);
    let mount = topology.mounts[0].clone();
    for minor in (1_u32..).take(number - 1) {
        let name = format!("0:{}", 1000 + minor);
        now.clients.push({
            let mut client = client.clone();
            client.bdi = name.as_str().into();
            client
        });
        now.rpc_clients.push({
            let mut rpc = rpc.clone();
            rpc.bdi = name.as_str().into();
            rpc.id += minor;
            rpc
        });
        now.bdis.push({
            let mut bdi = bdi.clone();
            bdi.bdi = name.as_str().into();
            bdi
        });
        topology.mounts.push({
            let mut mount = mount.clone();
            mount.bdi = name.as_str().into();
            mount.mount_points = vec![format!("/mnt/{minor}").into()];
            mount
        });
    }
}

fn delay(number: usize) -> Delay {
    Delay {
        cause: Cause::BalanceDirtyPages,
        class: Class::Nfsd,
        reason: ThrottleReason::None,
        bdi: format!("7:{number}").into(),
        sum_ns: 1_234_567_890,
        buckets: [17; _],
    }
}
