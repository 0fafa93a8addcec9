//! Serves the metrics of many nodes from a few recordings: for measuring what a
//! Prometheus needs for a fleet. Each node plays one of them, begins somewhere in
//! it and has BDIs of its own; at its end it begins anew, as after a restart. The recordings are of
//! single nodes: what each mounts of others is made up here, in rings of two, three and four nodes.
//!
//! `./dev fleet` starts it beside real ones.

use std::{
    fmt::Write as _,
    fs::File,
    io::BufReader,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use axum::{
    Router,
    extract::{Path as UrlPath, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use clap::Parser;
use throttle_monitor::{
    metrics,
    pipeline::replay_publisher::ReplayPublisher,
    recording::{Reader, RecordingItem, Replayer},
};

/// The metrics of many nodes, from recordings
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9747")]
    listen: SocketAddr,
    /// How many nodes
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// Clusters that they are spread over
    #[arg(long, default_value_t = 5)]
    clusters: usize,
    /// Of a thousand nodes, so many play a recording of `--sick`
    #[arg(long, default_value_t = 20)]
    sick_per_mille: usize,
    /// Write the targets there, for `file_sd_configs`
    #[arg(long)]
    targets: Option<PathBuf>,
    /// What the sick nodes play
    #[arg(long, num_args = 1..)]
    sick: Vec<PathBuf>,
    /// What the others play
    #[arg(required = true)]
    healthy: Vec<PathBuf>,
}

/// A page for each tick of a recording.
type Pages = Arc<Vec<String>>;

struct Node {
    pages: Pages,
    /// The tick with which it begins.
    phase: usize,
    /// What its anonymous BDIs' minor numbers begin with.
    digit: usize,
    /// Its edges of loops across nodes.
    across: String,
}

struct Fleet {
    start: Instant,
    nodes: Vec<Node>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let read = |paths: &[PathBuf]| -> Result<Vec<Pages>> {
        paths.iter().map(|path| pages(path).map(Arc::new)).collect()
    };
    let (healthy, sick) = (read(&args.healthy)?, read(&args.sick)?);
    ensure!(
        args.nodes > 0 && args.clusters > 0,
        "no node is not a fleet"
    );
    let nodes = (0..args.nodes).map(|number| node(number, &args, &healthy, &sick));
    let fleet = Arc::new(Fleet {
        start: Instant::now(),
        nodes: nodes.collect(),
    });
    let router = Router::new()
        .route("/nodes/{number}/metrics", get(page))
        .with_state(fleet);
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    if let Some(path) = &args.targets {
        let text = targets(&args, address);
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    println!(
        "{} nodes at http://{address}/nodes/0/metrics and on",
        args.nodes
    );
    axum::serve(listener, router).await?;
    Ok(())
}

/// Spread evenly, and alike each time: a multiplicative hash.
fn mixed(number: usize) -> usize {
    number.wrapping_mul(0x9E37_79B1) >> 7
}

fn node(number: usize, args: &Args, healthy: &[Pages], sick: &[Pages]) -> Node {
    let is_sick = |number: usize| number * args.sick_per_mille % 1000 < args.sick_per_mille;
    let all = if !sick.is_empty() && is_sick(number) {
        sick
    } else {
        healthy
    };
    let mixed = mixed(number);
    let pages = &all[mixed % all.len()];
    Node {
        pages: Arc::clone(pages),
        phase: mixed / 7 % pages.len(),
        digit: 1 + mixed / 3 % 9,
        across: across(number, args.clusters, is_sick),
    }
}

/// Of ten nodes of a cluster, rings of two, of three and of four, and one in none.
const RINGS: [std::ops::Range<usize>; 3] = [0..2, 2..5, 5..9];
/// What a mount of another node holds, bytes.
const HELD: usize = 50 << 20;

/// What a node serves, and what it mounts: of the next node of its ring, and of the first node of
/// its cluster. A ring is stalled where its first node is sick.
fn across(number: usize, clusters: usize, is_sick: impl Fn(usize) -> bool) -> String {
    let (cluster, member) = (number % clusters, number / clusters);
    let address = |member: usize| format!("10.{cluster}.{}.{}", member / 250, 1 + member % 250);
    let mut text = format!(
        "throttle_node_number {number}\nthrottle_node_address{{address=\"{}\",pod_uid=\"\"}} 1\n\
         throttle_node_address{{address=\"fd00::{cluster:x}:{member:x}\",pod_uid=\"\"}} 1\n",
        address(member)
    );
    let mut mount = |bdi: &str, of: usize, blocked: bool| {
        let of = address(of);
        let labels = format!(
            "bdi=\"0:{bdi}\",mount=\"/mnt/{of}\",export=\"{of}:/export\",server_address=\"{of}\",pod_uid=\"\""
        );
        let _ = write!(
            text,
            "throttle_remote_mount_held_bytes{{{labels}}} {HELD}\nthrottle_remote_mount_blocked{{{labels}}} {}\n",
            u8::from(blocked)
        );
    };
    if member > 0 {
        mount("8", 0, false);
    }
    let (tens, ones) = (member / 10 * 10, member % 10);
    if let Some(ring) = RINGS.iter().find(|ring| ring.contains(&ones)) {
        let next = if ones + 1 == ring.end {
            ring.start
        } else {
            ones + 1
        };
        let first = (tens + ring.start) * clusters + cluster;
        mount("9", tens + next, is_sick(first));
    }
    text
}

async fn page(
    UrlPath(number): UrlPath<usize>,
    State(fleet): State<Arc<Fleet>>,
) -> impl IntoResponse {
    let Some(node) = fleet.nodes.get(number) else {
        let words = format!("there is no node {number}\n");
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let ticks = usize::try_from(fleet.start.elapsed().as_secs()).unwrap_or(usize::MAX);
    let page = &node.pages[ticks.wrapping_add(node.phase) % node.pages.len()];
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0.0, |now| now.as_secs_f64());
    let mut text = page.replace("\"0:", &format!("\"0:{}", node.digit));
    let _ = writeln!(text, "{LAST_TICK} {now}\n{}", node.across.trim_end());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// What is not as it was recorded: when, and what the node is to others.
const NEW: [&str; 3] = [LAST_TICK, "throttle_node_", "throttle_remote_mount_"];
const LAST_TICK: &str = "throttle_monitor_tick_last_success_timestamp_seconds";

fn pages(path: &Path) -> Result<Vec<String>> {
    let open = || File::open(path).map(BufReader::new);
    let name = || path.display().to_string();
    let mut reader = Reader::open(open().with_context(name)?).with_context(name)?;
    let Some(RecordingItem::Segment(header)) = reader.item().with_context(name)? else {
        bail!("{}: it is empty", path.display());
    };
    let mut stage = ReplayPublisher::new(&header, None);
    let shared = stage.shared();
    let mut pages = Vec::new();
    let mut failed = None;
    let mut player = Replayer::new(None);
    player.play(
        open().with_context(name)?,
        |observation, changes, engine| {
            stage.tick(observation, changes, engine, observation.unix_ms);
            match metrics::render(&shared.load()) {
                Ok(page) => pages.push(without_new(&page)),
                Err(error) => failed = Some(error),
            }
        },
    );
    if let Some(error) = failed {
        return Err(error).with_context(name);
    }
    ensure!(
        !pages.is_empty(),
        "{}: nothing could be read",
        path.display()
    );
    Ok(pages)
}

fn without_new(page: &str) -> String {
    let kept = page
        .lines()
        .filter(|line| !NEW.iter().any(|name| line.starts_with(name)));
    kept.fold(String::with_capacity(page.len()), |mut text, line| {
        text.push_str(line);
        text.push('\n');
        text
    })
}

fn targets(args: &Args, address: SocketAddr) -> String {
    let group = |number: usize| {
        serde_json::json!({
            "targets": [address.to_string()],
            "labels": {
                "__metrics_path__": format!("/nodes/{number}/metrics"),
                "instance": format!("node-{number:05}"),
                "cluster": format!("cluster-{}", number % args.clusters),
            },
        })
    };
    let groups: serde_json::Value = (0..args.nodes).map(group).collect();
    groups.to_string()
}
