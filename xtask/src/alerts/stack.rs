//! A site's Prometheus and Alertmanager, on loopback.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use super::hook::Labels;
use crate::processes::{Processes, answers, free_port, get};

/// The guest's name.
pub const INSTANCE: &str = "guest";

/// How fast it goes.
pub struct Pace {
    /// The interval of scrapes and evaluations.
    every: &'static str,
    /// What differs from the committed configuration of the rules.
    config: &'static str,
}

/// Alerts after seconds instead of minutes.
pub const HURRIED: Pace = Pace {
    every: "1s",
    config: "{ durations+: { livelock: '0s', suspected: '10m', loop: '5s', blind: '5s', \
             stuck: '5s', absent: '5s', losesEvents: '5s' }, loopGone: '10s', \
             keepFiring+: { livelock: '0s', suspected: '0s', dirtyLimitHeld: '0s' } }",
};

/// The committed rules.
pub const COMMITTED: Pace = Pace {
    every: "5s",
    config: "{}",
};

/// Both processes; they end with this value.
pub struct Stack {
    _processes: Processes,
    prometheus: String,
    alertmanager: String,
}

impl Stack {
    /// Starts both: they scrape `daemons`, ports of loopback by their instance, and call `hook`.
    pub fn start(
        deploy: &Path,
        scratch: &Path,
        daemons: &[(&str, u16)],
        hook: u16,
        pace: &Pace,
    ) -> Result<Self> {
        let (prometheus, alertmanager) = (free_port()?, free_port()?);
        let write = |name: &str, text: &str| {
            let path = scratch.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        for (name, of) in [
            ("alerts.json", "prometheusAlerts"),
            ("rules.json", "prometheusRules"),
        ] {
            write(name, &rendered(deploy, of, pace)?)?;
        }
        write("alertmanager.yml", &routes(deploy, hook)?)?;
        let target = |(instance, port): &(&str, u16)| json!({"targets": [format!("127.0.0.1:{port}")], "labels": {"instance": instance}});
        let every = pace.every;
        let config = json!({
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": ["alerts.json", "rules.json"],
            "alerting": {"alertmanagers": [
                {"static_configs": [{"targets": [format!("127.0.0.1:{alertmanager}")]}]}
            ]},
            "scrape_configs": [{
                "job_name": "throttle-monitor",
                "static_configs": daemons.iter().map(target).collect::<Vec<_>>(),
            }],
        });
        write("prometheus.json", &config.to_string())?;
        let mut processes = Processes::default();
        let data = |name: &str| scratch.join(name).display().to_string();
        let mut with_templates = with_templates()?;
        with_templates.extend([
            format!("--config.file={}", data("alertmanager.yml")),
            format!("--storage.path={}", data("alertmanager")),
            format!("--web.listen-address=127.0.0.1:{alertmanager}"),
            "--cluster.listen-address=".to_owned(),
            "--log.level=warn".to_owned(),
        ]);
        processes.begin("unshare", with_templates)?;
        processes.begin(
            "prometheus",
            [
                format!("--config.file={}", data("prometheus.json")),
                format!("--storage.tsdb.path={}", data("prometheus")),
                format!("--web.listen-address=127.0.0.1:{prometheus}"),
                "--log.level=warn".to_owned(),
            ],
        )?;
        let stack = Self {
            _processes: processes,
            prometheus: format!("http://127.0.0.1:{prometheus}"),
            alertmanager: format!("http://127.0.0.1:{alertmanager}"),
        };
        for url in [&stack.prometheus, &stack.alertmanager] {
            answers(&format!("{url}/-/ready"))?;
        }
        Ok(stack)
    }

    pub fn prometheus(&self) -> String {
        self.prometheus.clone()
    }

    pub fn alertmanager(&self) -> String {
        self.alertmanager.clone()
    }
}

/// Debian's Alertmanager reads its templates only from /usr/share. For a package that is only
/// unpacked, a mount namespace puts the unpacked ones there. Returns the arguments of `unshare`, up
/// to Alertmanager's own.
fn with_templates() -> Result<Vec<String>> {
    const NAME: &str = "prometheus-alertmanager";
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).map(|directory| directory.join(NAME));
    let program = found.find(|program| program.exists());
    let program = program.with_context(|| format!("{NAME} is not in PATH: ./dev unpacks it"))?;
    let usr = program.parent().and_then(Path::parent).context("no /usr")?;
    let mut words = vec!["--mount".to_owned()];
    if !rustix::process::geteuid().is_root() {
        words.push("--map-root-user".to_owned());
    }
    let script = "mount --bind \"$0\" /usr/share && exec \"$@\"";
    words.extend(["sh", "-c", script].map(str::to_owned));
    words.push(usr.join("share").display().to_string());
    words.push(program.display().to_string());
    Ok(words)
}

/// The committed rules, with the pace's changes.
fn rendered(deploy: &Path, of: &str, pace: &Pace) -> Result<String> {
    let program = format!(
        "((import 'mixin.libsonnet') + {{ _config+:: {} }}).{of}",
        pace.config
    );
    let output = Command::new("jsonnet")
        .arg("-J")
        .arg(deploy.join("mixin"))
        .args(["-e", &program])
        .output()
        .context("jsonnet cannot be started: ./dev unpacks it")?;
    ensure!(
        output.status.success(),
        "jsonnet: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The committed configuration of Alertmanager with shorter times and another receiver.
fn routes(deploy: &Path, hook: u16) -> Result<String> {
    let path = deploy.join("alertmanager/alertmanager.yml");
    let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let hook = format!("http://127.0.0.1:{hook}/");
    for (from, to) in [
        ("http://127.0.0.1:9095/", hook.as_str()),
        ("group_wait: 10s", "group_wait: 1s"),
        ("group_interval: 2m", "group_interval: 1s"),
    ] {
        ensure!(text.contains(from), "{} has no {from}", path.display());
        text = text.replace(from, to);
    }
    Ok(text)
}

/// The alerts that an Alertmanager would send now: active, and not inhibited.
pub fn active(alertmanager: &str) -> Result<Vec<Labels>> {
    #[derive(Deserialize)]
    struct Alert {
        labels: Labels,
    }
    let url = format!("{alertmanager}/api/v2/alerts?active=true&inhibited=false&silenced=false");
    let alerts: Vec<Alert> = serde_json::from_str(&get(&url)?)?;
    Ok(alerts.into_iter().map(|alert| alert.labels).collect())
}
