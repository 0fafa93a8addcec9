//! Measures the cost of a fleet for Prometheus. A real one, configured as
//! `deploy/prometheus/fleet`, scrapes the metrics of many nodes, which come from recordings. It
//! writes to a second one, and a third one federates it. The results are their own numbers, and the
//! times of the Fleet dashboard's queries.

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

/// The size and the duration.
#[derive(Args)]
pub struct FleetArgs {
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

/// Recordings of typical nodes, one per kernel.
const HEALTHY: &[&str] = &[
    "loopback-light",
    "netns-moderate",
    "netns-readonly",
    "local-slow-disk",
    "loopback-healthy",
];
const SICK: &[&str] = &["netns-livelock", "netns-drained", "loop-device"];

/// Time between two scrapes, as in cluster.yml.
const SCRAPE: &str = "15s";
/// A block is written after one and a half times this. Its size divided by its samples is a
/// sample's size on disk.
const BLOCK: &str = "5m";

/// The queries to each Prometheus about itself: name, unit, query.
const OWN: &[(&str, &str, &str)] = &[
    (
        "series",
        "",
        "prometheus_tsdb_head_series{job=\"prometheus\"}",
    ),
    (
        "samples a second",
        "",
        "rate(prometheus_tsdb_head_samples_appended_total{job=\"prometheus\"}[5m])",
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
    ("nodes up", "", "sum(up{job=\"throttle-monitor\"})"),
    (
        "nodes in a livelock",
        "",
        "count(max by (instance) (throttle_livelock_state) >= 2) or vector(0)",
    ),
    (
        "nodes in a livelock, as recorded",
        "",
        "count(instance:throttle_livelock_state:max >= 2) or vector(0)",
    ),
];
/// The queries to the one that scrapes the nodes.
const CLUSTER: &[(&str, &str, &str)] = &[
    (
        "samples a node, mean",
        "",
        "avg(scrape_samples_scraped{job=\"throttle-monitor\"})",
    ),
    (
        "samples a node, most",
        "",
        "max(scrape_samples_scraped{job=\"throttle-monitor\"})",
    ),
    (
        "a scrape, mean",
        "s",
        "avg(scrape_duration_seconds{job=\"throttle-monitor\"})",
    ),
    (
        "rules, slowest evaluation of a group",
        "s",
        "max(max_over_time(prometheus_rule_group_last_duration_seconds[5m]))",
    ),
    // The least, which other work on the machine does not lengthen.
    (
        "rules, least evaluation, all groups",
        "s",
        "sum(min_over_time(prometheus_rule_group_last_duration_seconds[10m]))",
    ),
    (
        "rules, least evaluation, the slowest group",
        "s",
        "max(min_over_time(prometheus_rule_group_last_duration_seconds[10m]))",
    ),
    (
        "rules, least evaluation, loops across nodes",
        "s",
        "sum(min_over_time(prometheus_rule_group_last_duration_seconds{rule_group=~\".*across.*\"}[10m]))",
    ),
    (
        "rules, least evaluation, failover",
        "s",
        "sum(min_over_time(prometheus_rule_group_last_duration_seconds{rule_group=~\".*failover.*\"}[10m]))",
    ),
    (
        "rings of nodes, stalled",
        "",
        "count(cluster_cycle:throttle_remote_mount:blocked) or vector(0)",
    ),
    (
        "rings of nodes",
        "",
        "count(cluster_cycle:throttle_remote_mount:risk) or vector(0)",
    ),
    (
        "rules, missed evaluations",
        "",
        "sum(prometheus_rule_group_iterations_missed_total)",
    ),
    (
        "written to another, samples a second",
        "",
        "sum(rate(prometheus_remote_storage_samples_total[5m]))",
    ),
    (
        "written to another, bytes a second",
        "",
        "sum(rate(prometheus_remote_storage_bytes_total[5m]))",
    ),
    (
        "alerts firing",
        "",
        "count(ALERTS{alertstate=\"firing\"}) or vector(0)",
    ),
];
/// The queries to the one that federates.
const FEDERATION: &[(&str, &str, &str)] = &[(
    "a scrape of the cluster",
    "s",
    "max(scrape_duration_seconds{job=\"throttle-monitor-federation\"})",
)];

/// Measures and prints a table.
///
/// # Errors
///
/// One of the programs failed.
pub fn run(choice: &FleetArgs) -> Result<()> {
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let mut processes = Processes::default();
    let page = nodes(choice, scratch.path(), &mut processes)?;
    let (cluster, receiver, federation) = (
        Prometheus::new("cluster", scratch.path())?,
        Prometheus::new("receiver", scratch.path())?,
        Prometheus::new("federation", scratch.path())?,
    );
    let config = |name: &str| read(&choice.deploy.join("prometheus/fleet").join(name));
    for rules in ["alerts.yml", "rules.yml"] {
        let path = choice.deploy.join("prometheus").join(rules);
        fs::write(scratch.path().join(rules), read(&path)?)?;
    }
    receiver.begin(
        &mut processes,
        "global: {scrape_interval: 15s}\nscrape_configs:\n",
        &["--web.enable-remote-write-receiver"],
    )?;
    let text = replaced(
        &config("cluster.yml")?,
        "https://metrics.example.com/api/v1/push",
        &format!("{}/api/v1/write", receiver.url),
    )?;
    // This setup has no receivers of alerts.
    let text = replaced(
        &text,
        "alertmanagers:\n    - static_configs:\n        - targets: [\"127.0.0.1:9093\"]",
        "alertmanagers: []",
    )?;
    // Blocks are written within minutes, to measure the size of a sample.
    let block = [
        format!("--storage.tsdb.min-block-duration={BLOCK}"),
        format!("--storage.tsdb.max-block-duration={BLOCK}"),
    ];
    cluster.begin(&mut processes, &text, &block.each_ref().map(String::as_str))?;
    let text = replaced(
        &config("global.yml")?,
        "cluster-1.example.com:9090",
        &format!("127.0.0.1:{}", cluster.port),
    )?;
    federation.begin(&mut processes, &text, &[])?;
    println!(
        "{} nodes at {}, for {} minutes",
        choice.nodes, cluster.url, choice.minutes
    );
    thread::sleep(Duration::from_secs(choice.minutes * 60));

    let mut table = Table::default();
    for one in [&cluster, &receiver, &federation] {
        table.ask(one, OWN)?;
    }
    table.ask(&cluster, CLUSTER)?;
    table.ask(&federation, FEDERATION)?;
    table.add("cluster: a page, node 0", "bytes", get(&page)?.len() as f64);
    table.add(
        "cluster: a sample on disk",
        "bytes",
        bytes_a_sample(&cluster.data)?,
    );
    for one in [&cluster, &receiver, &federation] {
        table.dashboard(one, choice)?;
    }
    table.print();
    if let Some(path) = &choice.json {
        fs::write(path, serde_json::to_string_pretty(&table.json())?)?;
    }
    table.judge(choice)
}

/// Starts the nodes' server, and lists them where cluster.yml looks; returns the URL of the first
/// page.
fn nodes(choice: &FleetArgs, scratch: &Path, processes: &mut Processes) -> Result<String> {
    let port = free_port()?;
    let mut arguments = vec![
        format!("--listen=127.0.0.1:{port}"),
        format!("--nodes={}", choice.nodes),
        format!(
            "--targets={}",
            scratch.join("throttle-monitor-nodes.json").display()
        ),
        "--sick".to_owned(),
    ];
    arguments.extend(recordings(&choice.recordings, SICK)?);
    arguments.push("--".to_owned());
    arguments.extend(recordings(&choice.recordings, HEALTHY)?);
    processes.begin(&choice.fleet, &arguments)?;
    let page = format!("http://127.0.0.1:{port}/nodes/0/metrics");
    answers(&page)?;
    Ok(page)
}

/// A running Prometheus.
struct Prometheus {
    name: &'static str,
    port: u16,
    url: String,
    config: PathBuf,
    data: PathBuf,
}

impl Prometheus {
    fn new(name: &'static str, scratch: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Self {
            name,
            port,
            url: format!("http://127.0.0.1:{port}"),
            config: scratch.join(format!("{name}.yml")),
            data: scratch.join(name),
        })
    }

    /// Starts it; it scrapes itself, too.
    fn begin(&self, processes: &mut Processes, config: &str, flags: &[&str]) -> Result<()> {
        let own = format!(
            "  - job_name: prometheus\n    scrape_interval: 15s\n    static_configs:\n      - targets: [\"127.0.0.1:{}\"]\n",
            self.port
        );
        fs::write(&self.config, format!("{config}{own}"))?;
        let mut arguments = vec![
            format!("--config.file={}", self.config.display()),
            format!("--storage.tsdb.path={}", self.data.display()),
            format!("--web.listen-address=127.0.0.1:{}", self.port),
            "--log.level=warn".to_owned(),
        ];
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        processes.begin("prometheus", arguments)?;
        answers(&format!("{}/-/ready", self.url))
    }
}

/// The measurements.
#[derive(Default)]
struct Table(Vec<(String, &'static str, f64)>);

impl Table {
    fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.0.push((name.into(), unit, value));
    }

    fn ask(&mut self, whom: &Prometheus, what: &[(&str, &'static str, &str)]) -> Result<()> {
        for &(name, unit, query) in what {
            self.add(
                format!("{}: {name}", whom.name),
                unit,
                instant(&whom.url, query)?,
            );
        }
        Ok(())
    }

    fn dashboard(&mut self, whom: &Prometheus, choice: &FleetArgs) -> Result<()> {
        let times = queries(&whom.url, choice)?;
        let slowest = times.iter().map(|one| one.1).fold(0.0, f64::max);
        self.add(
            format!("{}: Fleet, {} queries, slowest", whom.name, times.len()),
            "s",
            slowest,
        );
        for (panel, seconds) in times {
            self.add(format!("{}: {panel}", whom.name), "s", seconds);
        }
        Ok(())
    }

    fn print(&self) {
        for (name, unit, number) in &self.0 {
            println!("{name:<60} {number:>16.4} {unit}");
        }
    }

    fn json(&self) -> Value {
        let all = self.0.iter();
        all.map(|(name, unit, number)| json!({"name": name, "unit": unit, "value": number}))
            .collect()
    }

    /// Checks numbers that do not depend on the speed of this machine.
    fn judge(&self, choice: &FleetArgs) -> Result<()> {
        let number = |name: &str| {
            let found = self.0.iter().find(|one| one.0 == name);
            found
                .map(|one| one.2)
                .with_context(|| format!("{name} was not measured"))
        };
        for whom in ["cluster", "receiver", "federation"] {
            let up = number(&format!("{whom}: nodes up"))?;
            ensure!(
                up >= f64::from(choice.nodes),
                "{whom}: {up} of {} nodes are up",
                choice.nodes
            );
            let sick = number(&format!("{whom}: nodes in a livelock"))?;
            ensure!(sick > 0.0, "{whom}: no node is in a livelock");
        }
        let stalled = number("cluster: rings of nodes, stalled")?;
        ensure!(stalled > 0.0, "no ring of nodes is stalled");
        let missed = number("cluster: rules, missed evaluations")?;
        ensure!(
            missed == 0.0,
            "{missed} evaluations of the rules were missed"
        );
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Replaces the example's address with a local one.
fn replaced(text: &str, example: &str, here: &str) -> Result<String> {
    ensure!(text.contains(example), "{example} is not in the example");
    Ok(text.replace(example, here))
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

/// Bytes per sample in the written blocks.
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

/// The time of each query of the Fleet dashboard over all samples; the slowest of three.
fn queries(url: &str, choice: &FleetArgs) -> Result<Vec<(String, f64)>> {
    let path = choice.deploy.join("grafana/throttle-monitor-fleet.json");
    let dashboard: Value = serde_json::from_str(&read(&path)?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut found = Vec::new();
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    // Collapsed rows have theirs within.
    let all = panels.flat_map(|panel| {
        let within = panel["panels"].as_array().into_iter().flatten();
        std::iter::once(panel).chain(within)
    });
    for panel in all {
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
            found.push((format!("Fleet: {title} {letter}"), slowest));
        }
    }
    ensure!(!found.is_empty(), "{} has no query", path.display());
    Ok(found)
}

/// Selects all nodes in all clusters.
fn substituted(query: &str) -> String {
    let mut query = query.to_owned();
    for (name, value) in [
        ("$__rate_interval", "1m"),
        ("$__interval", SCRAPE),
        ("$__range", "10m"),
    ] {
        query = query.replace(name, value);
    }
    // The remaining variables are selectors: `=~"$node"`.
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
