//! What a page of metrics takes by the number of its samples: histograms of more and more
//! BDIs. Prints JSON, a list; `./dev bench` reads it.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use throttle_monitor::{
    cli::stage::Stage,
    export::metrics,
    recording::Header,
    sample::Observation,
    verdict::{Changes, Engine, Thresholds, observation::Delay},
};

const ROUNDS: usize = 51;

fn main() -> Result<()> {
    let mut pages = Vec::new();
    let bare = samples(&page(0)?);
    let each = samples(&page(1)?) - bare;
    for wanted in [100, 1_000, 10_000, 100_000] {
        let histograms = wanted_histograms(wanted, bare, each);
        let stage = staged(histograms);
        let snapshot = stage.shared().load();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            let page = metrics::render(&snapshot)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            std::hint::black_box(page);
        }
        times.sort_by(f64::total_cmp);
        let page = metrics::render(&snapshot)?;
        pages.push(json!({
            "samples": samples(&page),
            "bytes": page.len(),
            "ms": times[ROUNDS / 2],
        }));
    }
    println!("{}", json!(pages));
    Ok(())
}

fn wanted_histograms(samples: usize, bare: usize, each: usize) -> usize {
    samples.saturating_sub(bare) / each.max(1)
}

fn samples(page: &str) -> usize {
    page.lines().filter(|line| !line.starts_with('#')).count()
}

fn page(histograms: usize) -> Result<String> {
    Ok(metrics::render(&staged(histograms).shared().load())?)
}

/// A tick with so many histograms.
fn staged(histograms: usize) -> Stage {
    use monitor_common::{Cause, Class, ThrottleReason};
    let delay = |number: usize| Delay {
        cause: Cause::BalanceDirtyPages,
        class: Class::Nfsd,
        reason: ThrottleReason::None,
        bdi: format!("0:{number}").into(),
        sum_ns: 1_234_567_890,
        buckets: [17; _],
    };
    let observation = Observation {
        monotonic_ns: 1,
        delays: (0..histograms).map(delay).collect(),
        ..Observation::default()
    };
    let engine = Engine::new(Thresholds::default());
    let header = Header::default();
    let mut stage = Stage::new(&header, None);
    stage.tick(&observation, &Changes::default(), &engine, 1);
    stage
}
