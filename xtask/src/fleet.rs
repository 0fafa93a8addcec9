//! What a Prometheus needs for a fleet: the metrics of many nodes, from
//! recordings, scraped by a real one with the committed rules; then its own
//! numbers, and the Fleet dashboard's queries with their times.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::processes::{Processes, answers, free_port, get};

/// How large, and how long.
#[derive(Args)]
pub struct Choice {
    /// The program that serves the metrics: examples/fleet
    #[arg(long)]
    fleet: PathBuf,
    /// The recordings that nodes play: monitor/tests/corpus
    #[arg(long)]
    recordings: PathBuf,
    /// The repository's deploy/
    #[arg(long)]
    deploy: PathBuf,
    /// How many nodes
    #[arg(long, default_value_t = 500)]
    nodes: u32,
    /// How long Prometheus scrapes before it is asked
    #[arg(long, default_value_t = 12)]
    minutes: u64,
    /// Write the numbers there, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What most nodes of a fleet are like: of each kernel.
const HEALTHY: &[&str] = &[
    "loopback-light",
    "netns-moderate",
    "netns-readonly",
    "local-slow-disk",
    "loopback-healthy",
];
const SICK: &[&str] = &["netns-livelock", "netns-drained", "loop-device"];

/// Between two scrapes.
const SCRAPE: &str = "15s";
/// A block is written after half as long again: its size over its samples is
/// what a sample takes on disk.
const BLOCK: &str = "5m";

/// What Prometheus is asked about itself: name, unit, query.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("nodes up", "", "sum(up{job=\"throttle-monitor\"})"),
    ("series", "", "prometheus_tsdb_head_series"),
    (
        "series a node, mean",
        "",
        "avg(scrape_samples_scraped{job=\"throttle-monitor\"})",
    ),
    (
        "series a node, most",
        "",
        "max(scrape_samples_scraped{job=\"throttle-monitor\"})",
    ),
    (
        "samples a second",
        "",
        "rate(prometheus_tsdb_head_samples_appended_total[5m])",
    ),
    (
        "a scrape, mean",
        "s",
        "avg(scrape_duration_seconds{job=\"throttle-monitor\"})",
    ),
    (
        "rules, slowest group",
        "s",
        "max(max_over_time(prometheus_rule_group_last_duration_seconds[5m]))",
    ),
    (
        "rules, missed evaluations",
        "",
        "sum(prometheus_rule_group_iterations_missed_total)",
    ),
    (
        "processor",
        "cores",
        "rate(process_cpu_seconds_total{job=\"prometheus\"}[5m])",
    ),
    (
        "resident memory",
        "bytes",
        "process_resident_memory_bytes{job=\"prometheus\"}",
    ),
    (
        "nodes in a livelock now",
        "",
        "count(max by (instance) (throttle_livelock_state) >= 2) or vector(0)",
    ),
    (
        "alerts firing",
        "",
        "count(ALERTS{alertstate=\"firing\"}) or vector(0)",
    ),
];

/// Measure, and print a table.
pub fn run(choice: &Choice) -> Result<()> {
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let mut processes = Processes::default();
    let (fleet, prometheus) = (free_port()?, free_port()?);
    let targets = scratch.path().join("targets.json");
    let mut arguments = vec![
        format!("--listen=127.0.0.1:{fleet}"),
        format!("--nodes={}", choice.nodes),
        format!("--targets={}", targets.display()),
        "--sick".to_owned(),
    ];
    arguments.extend(recordings(&choice.recordings, SICK)?);
    arguments.push("--".to_owned());
    arguments.extend(recordings(&choice.recordings, HEALTHY)?);
    processes.begin(&choice.fleet, &arguments)?;
    let page = format!("http://127.0.0.1:{fleet}/nodes/0/metrics");
    answers(&page)?;
    let config = scratch.path().join("prometheus.json");
    fs::write(&config, configuration(choice, prometheus, &targets)?)?;
    let data = scratch.path().join("data");
    processes.begin(
        "prometheus",
        [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--storage.tsdb.min-block-duration={BLOCK}"),
            format!("--storage.tsdb.max-block-duration={BLOCK}"),
            format!("--web.listen-address=127.0.0.1:{prometheus}"),
            "--log.level=warn".to_owned(),
        ],
    )?;
    let url = format!("http://127.0.0.1:{prometheus}");
    answers(&format!("{url}/-/ready"))?;
    println!(
        "{} nodes at {url}, for {} minutes",
        choice.nodes, choice.minutes
    );
    thread::sleep(Duration::from_secs(choice.minutes * 60));
    let mut numbers = Vec::new();
    for &(name, unit, query) in NUMBERS {
        numbers.push((name.to_owned(), unit, instant(&url, query)?));
    }
    numbers.push((
        "a page, node 0".to_owned(),
        "bytes",
        get(&page)?.len() as f64,
    ));
    numbers.push((
        "a sample on disk".to_owned(),
        "bytes",
        bytes_a_sample(&data)?,
    ));
    numbers.extend(queries(&url, choice)?);
    for (name, unit, number) in &numbers {
        println!("{name:<60} {number:>16.4} {unit}");
    }
    if let Some(path) = &choice.json {
        let all = numbers
            .iter()
            .map(|(name, unit, number)| json!({"name": name, "unit": unit, "value": number}));
        let all: Value = all.collect();
        fs::write(path, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// The recordings of these scenarios, of all kernels.
fn recordings(directory: &Path, scenarios: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let listed = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in listed {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is = |scenario: &&str| {
            name.split_once('-')
                .is_some_and(|(_, rest)| rest == *scenario)
        };
        if path.extension().is_some_and(|is| is == "tmrec") && scenarios.iter().any(is) {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    ensure!(
        !found.is_empty(),
        "{} has none of {scenarios:?}",
        directory.display()
    );
    Ok(found)
}

fn configuration(choice: &Choice, own: u16, targets: &Path) -> Result<String> {
    let rules = |name: &str| -> Result<String> {
        let path = choice.deploy.join("prometheus").join(name);
        Ok(path
            .canonicalize()
            .with_context(|| path.display().to_string())?
            .display()
            .to_string())
    };
    let config = json!({
        "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": [rules("alerts.yml")?, rules("rules.yml")?],
        "scrape_configs": [
            {"job_name": "throttle-monitor", "file_sd_configs": [{"files": [targets]}]},
            {"job_name": "prometheus", "static_configs": [{"targets": [format!("127.0.0.1:{own}")]}]},
        ],
    });
    Ok(config.to_string())
}

fn api(url: &str, call: &str, parameters: &[(&str, String)]) -> Result<Value> {
    let mut request = ureq::get(format!("{url}/api/v1/{call}"));
    for (key, value) in parameters {
        request = request.query(*key, value);
    }
    let body = request
        .call()
        .with_context(|| format!("{call} {parameters:?}"))?
        .body_mut()
        .read_to_string()?;
    Ok(serde_json::from_str(&body)?)
}

fn instant(url: &str, query: &str) -> Result<f64> {
    let answer = api(url, "query", &[("query", query.to_owned())])?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    let value = value.with_context(|| format!("{query} has no answer"))?;
    Ok(value.parse()?)
}

/// Of the blocks that were written.
fn bytes_a_sample(data: &Path) -> Result<f64> {
    let (mut bytes, mut samples) = (0, 0);
    for entry in fs::read_dir(data)?.flatten() {
        let Ok(meta) = fs::read_to_string(entry.path().join("meta.json")) else {
            continue;
        };
        let meta: Value = serde_json::from_str(&meta)?;
        samples += meta["stats"]["numSamples"].as_u64().unwrap_or(0);
        bytes += size(&entry.path())?;
    }
    ensure!(samples > 0, "no block was written: more minutes are needed");
    Ok(bytes as f64 / samples as f64)
}

fn size(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

/// Each query of the Fleet dashboard, over as long as there are samples; the
/// slowest of three.
fn queries(url: &str, choice: &Choice) -> Result<Vec<(String, &'static str, f64)>> {
    let path = choice.deploy.join("grafana/throttle-monitor-fleet.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut found = Vec::new();
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap_or_default();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = substituted(target["expr"].as_str().unwrap_or_default());
            let mut slowest: f64 = 0.0;
            for _ in 0..3 {
                let start = Instant::now();
                let parameters = [
                    ("query", query.clone()),
                    ("start", (now - choice.minutes * 60).to_string()),
                    ("end", now.to_string()),
                    ("step", SCRAPE.to_owned()),
                ];
                let answer = api(url, "query_range", &parameters)?;
                ensure!(answer["status"] == "success", "{title}: {answer}");
                slowest = slowest.max(start.elapsed().as_secs_f64());
            }
            let letter = target["refId"].as_str().unwrap_or_default();
            found.push((format!("Fleet: {title} {letter}"), "s", slowest));
        }
    }
    ensure!(!found.is_empty(), "{} has no query", path.display());
    Ok(found)
}

/// With all nodes in all clusters.
fn substituted(query: &str) -> String {
    let mut query = query.to_owned();
    for (name, value) in [
        ("$__rate_interval", "1m"),
        ("$__interval", SCRAPE),
        ("$__range", "10m"),
    ] {
        query = query.replace(name, value);
    }
    // What is left are variables that select: `=~"$node"`.
    let mut parts = query.split('$');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '{' | '}'));
        let end = part.find(name).unwrap_or(part.len());
        all.push_str(".*");
        all.push_str(&part[end..]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::substituted;

    #[test]
    fn a_dashboard_s_variables_select_everything() {
        let query = "rate(x{cluster=~\"$cluster\",instance=~\"${node}\"}[$__rate_interval])";
        let all = "rate(x{cluster=~\".*\",instance=~\".*\"}[1m])";
        assert_eq!(substituted(query), all);
    }
}
