//! Measures the daemon itself: memory, processor time, scrape, start.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{
    BenchArgs,
    load::Reclaim,
    observer::{Observer, Watching, length, metric},
    report::{Report, median},
};
use crate::processes::{get, usage};

const PART: &str = "daemon";

/// Measures all of it.
pub fn measure(choice: &BenchArgs, report: &mut Report) -> Result<()> {
    report.one(
        PART,
        "the program, one static file",
        "MB",
        length(&choice.daemon)? / 1e6,
    );
    let mut starts = Vec::new();
    for _ in 0..choice.rounds {
        starts.push(Observer::Ours.start(choice)?.ready.as_secs_f64() * 1e3);
    }
    report.add(PART, "from its start until it is ready", "ms", starts);

    let daemon = Observer::Ours.start(choice)?;
    thread::sleep(Duration::from_secs(10));
    let pid = daemon.pid.context("no process")?;
    let idle = usage(pid)?;
    report.one(
        PART,
        "resident, idle",
        "MiB",
        idle.resident / f64::from(1 << 20),
    );
    report.one(
        PART,
        "resident, idle, without what is mapped from the file",
        "MiB",
        idle.anonymous / f64::from(1 << 20),
    );
    cpu(report, "idle", &daemon, 30.0, None)?;
    for (words, rate) in [
        ("10,000 waits a second wanted", 10_000),
        ("as many waits as this machine makes", 0),
    ] {
        let load = Reclaim::start(rate)?;
        cpu(report, words, &daemon, 20.0, Some(&load))?;
    }
    report.one(
        PART,
        "resident, after that",
        "MiB",
        usage(pid)?.resident / f64::from(1 << 20),
    );
    scrape(report, &daemon)?;
    growth(choice, report)?;
    if choice.soak > 0 {
        soak(choice, report, &daemon)?;
    }
    Ok(())
}

/// Its processor time over a while.
fn cpu(
    report: &mut Report,
    words: &str,
    daemon: &Watching,
    seconds: f64,
    load: Option<&Reclaim>,
) -> Result<()> {
    let pid = daemon.pid.context("no process")?;
    let waits = || -> Result<f64> {
        Ok(metric(
            &get(&format!("{}/metrics", daemon.url))?,
            "throttle_delay_seconds_count",
            "",
        ))
    };
    // The daemon counts at a tick.
    thread::sleep(Duration::from_millis(1500));
    let (before, counted) = (usage(pid)?, waits()?);
    thread::sleep(Duration::from_secs_f64(seconds));
    let (after, counts) = (usage(pid)?, waits()?);
    let share = (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / seconds * 100.0;
    report.one(PART, format!("of one core, {words}"), "%", share);
    if load.is_some() {
        report.one(
            PART,
            format!("waits a second, {words}"),
            "",
            (counts - counted) / seconds,
        );
    }
    Ok(())
}

/// The time of a scrape on a persistent connection, as Prometheus uses it.
fn scrape(report: &mut Report, daemon: &Watching) -> Result<()> {
    let page = get(&format!("{}/metrics", daemon.url))?;
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    report.one(PART, "samples of a scrape", "", samples as f64);
    report.one(PART, "size of a scrape", "kB", page.len() as f64 / 1e3);
    let address = daemon.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        read_answer(&mut stream)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    report.one(PART, "a scrape, median of 200", "ms", median(&times));
    report.one(
        PART,
        "a scrape, the longest of 200",
        "ms",
        times.iter().copied().fold(0.0, f64::max),
    );
    Ok(())
}

/// The time of a tick and its page with growing numbers of objects.
fn growth(choice: &BenchArgs, report: &mut Report) -> Result<()> {
    let output = Command::new(&choice.growth).output().context("growth")?;
    let all: Vec<Grown> = serde_json::from_slice(&output.stdout)?;
    for one in all {
        let with = format!("with {}", one.what);
        report.one(PART, format!("{with}: judging a tick"), "ms", one.judged_ms);
        report.one(
            PART,
            format!("{with}: publishing it"),
            "ms",
            one.published_ms,
        );
        report.one(
            PART,
            format!("{with}: rendering the page"),
            "ms",
            one.rendered_ms,
        );
        report.one(
            PART,
            format!("{with}: samples of the page"),
            "",
            one.samples,
        );
        report.one(
            PART,
            format!("{with}: size of the page"),
            "kB",
            one.bytes / 1e3,
        );
    }
    Ok(())
}

#[derive(Deserialize)]
struct Grown {
    what: String,
    judged_ms: f64,
    published_ms: f64,
    rendered_ms: f64,
    samples: f64,
    bytes: f64,
}

/// Reads the header, and as many bytes as it announces.
fn read_answer(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.context("an answer without its length")?];
    stream.read_exact(&mut body)?;
    Ok(())
}

/// Its growth under load: the slope of a line through its memory.
fn soak(choice: &BenchArgs, report: &mut Report, daemon: &Watching) -> Result<()> {
    let pid = daemon.pid.context("no process")?;
    let load = Reclaim::start(2_000)?;
    let mut points = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(choice.soak * 60) {
        thread::sleep(Duration::from_secs(10));
        get(&format!("{}/metrics", daemon.url))?;
        points.push((
            begin.elapsed().as_secs_f64() / 3600.0,
            usage(pid)?.resident / 1024.0,
        ));
    }
    drop(load);
    // One-time allocations are over by then.
    let settled: Vec<_> = points.iter().copied().skip(points.len() / 6).collect();
    report.add(
        PART,
        format!("resident over {} minutes of load", choice.soak),
        "KiB",
        settled.iter().map(|point| point.1).collect(),
    );
    report.one(PART, "its slope", "KiB/h", slope(&settled));
    Ok(())
}

/// The slope by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_slope_is_that_of_the_line() {
        let line = [(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)];
        assert!((super::slope(&line) - 2.0).abs() < 1e-9);
    }
}
