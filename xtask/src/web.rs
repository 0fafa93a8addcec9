//! Compares the web configuration with Prometheus' exporters. For each file, a real exporter and
//! the daemon are started, and the same clients connect to both.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    processes::{Processes, free_port},
    table::between,
};

mod cases;
mod certificates;

use cases::{CASES, Case, Client};

/// The programs to compare, and their input.
#[derive(Args)]
pub struct WebArgs {
    /// An exporter of Prometheus with `--web.config.file`: prometheus-node-exporter
    #[arg(long)]
    peer: PathBuf,
    /// The daemon
    #[arg(long)]
    daemon: PathBuf,
    /// A recording for it to serve: that needs no root
    #[arg(long)]
    recording: PathBuf,
    /// The page of the docs whose table is to be as it is found
    #[arg(long)]
    docs: PathBuf,
    /// Write that table
    #[arg(long)]
    write: bool,
}

const BEGIN: &str = "<!-- written by ./dev web: begin -->";
const END: &str = "<!-- written by ./dev web: end -->";

/// Time until it listens or refuses the file: both take well below a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time after a change: the daemon checks each second.
const RELOAD: Duration = Duration::from_millis(2500);

/// Runs all cases; returns whether both agree, apart from documented differences.
pub fn run(choice: &WebArgs) -> Result<bool> {
    let mut table = String::from(
        "\n| configuration | client | exporter-toolkit | throttle-monitor | |\n|---|---|---|---|---|\n",
    );
    let (mut passed, mut failed) = (0, 0);
    for case in CASES {
        let dir = tempfile::tempdir()?;
        let peer = side(dir.path(), case, |port, config| {
            let mut child = Processes::silent();
            child.begin(
                &choice.peer,
                [
                    "--collector.disable-defaults".to_owned(),
                    "--log.level=error".to_owned(),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    format!("--web.config.file={}", config.display()),
                ],
            )?;
            Ok(child)
        })?;
        let ours = side(dir.path(), case, |port, config| {
            let mut child = Processes::silent();
            child.begin(
                &choice.daemon,
                [
                    "replay".to_owned(),
                    choice.recording.display().to_string(),
                    "--serve".to_owned(),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    format!("--web.config.file={}", config.display()),
                ],
            )?;
            Ok(child)
        })?;
        let mut differs = false;
        for ((asked, peer), (_, ours)) in peer.iter().zip(&ours) {
            differs |= peer != ours;
            writeln!(
                table,
                "| {} | {asked} | {peer} | {} | {} |",
                case.name,
                if peer == ours { "=" } else { ours },
                if peer == ours { "" } else { case.differs },
            )?;
        }
        if differs == case.differs.is_empty() {
            failed += 1;
            let said = if differs {
                "they differ"
            } else {
                "they do not differ any more"
            };
            println!("WRONG {}: {said}", case.name);
            for ((asked, peer), (_, ours)) in peer.iter().zip(&ours) {
                println!("      {asked}: exporter {peer}, throttle-monitor {ours}");
            }
        } else {
            passed += 1;
        }
    }
    println!(
        "{passed} web configurations as the exporters have them or as the docs say, {failed} wrong"
    );
    docs(choice, &table)?;
    Ok(failed == 0)
}

/// Compares the table in the docs with the result.
fn docs(choice: &WebArgs, table: &str) -> Result<()> {
    let path = &choice.docs;
    let [before, old, after] = between(path, BEGIN, END)?;
    if choice.write {
        fs::write(path, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?;
        return Ok(());
    }
    ensure!(
        old.trim() == table.trim(),
        "the table in {} is not what was found: ./dev web --write",
        path.display()
    );
    Ok(())
}

/// The result of each client of a case, for one of the two programs.
fn side(
    dir: &Path,
    case: &Case,
    start: impl Fn(u16, &Path) -> Result<Processes>,
) -> Result<Vec<(String, String)>> {
    // The previous case may have changed them.
    certificates::write(dir)?;
    let config = dir.join("web.yml");
    fs::write(&config, case.text)?;
    let port = free_port()?;
    let mut child = start(port, &config)?;
    let listens = listens(port, &mut child);
    let mut told = Vec::new();
    if !listens {
        told.push(("at the start".to_owned(), "refused".to_owned()));
        return Ok(told);
    }
    if case.asked.is_empty() {
        told.push(("at the start".to_owned(), "taken".to_owned()));
    }
    for client in case.asked {
        told.push((client.words(), ask(dir, port, *client)?));
    }
    for (what, file, text, asked) in case.then {
        match text {
            Some(text) => fs::write(dir.join(file), text)?,
            None => certificates::renew(dir)?,
        }
        thread::sleep(RELOAD);
        for client in *asked {
            told.push((
                format!("{what}: {}", client.words()),
                ask(dir, port, *client)?,
            ));
        }
    }
    Ok(told)
}

/// Whether it listens; `false`: it has ended.
fn listens(port: u16, child: &mut Processes) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE && child.run() {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The status, or that the connection failed.
fn ask(dir: &Path, port: u16, client: Client) -> Result<String> {
    let scheme = if client.is_plain() { "http" } else { "https" };
    let mut statuses = Vec::new();
    for _ in 0..client.requests() {
        let output = Command::new("curl")
            .current_dir(dir)
            .args(["--silent", "--output", "/dev/null", "--max-time", "20"])
            .args(["--write-out", "%{http_code}", "--cacert", "server.crt"])
            .args(client.arguments())
            .arg("--resolve")
            .arg(format!("localhost:{port}:127.0.0.1"))
            .arg(format!("{scheme}://localhost:{port}/metrics"))
            .output()
            .context("curl cannot be started: use ./dev")?;
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        statuses.push(if status == "000" {
            "no connection".to_owned()
        } else {
            status
        });
    }
    statuses.dedup();
    Ok(statuses.join(", then "))
}
