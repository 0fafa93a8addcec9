//! Compares the bytes on `/metrics` with the kernel's counts.

use std::collections::BTreeMap;

use guest::{Counts, Event};

use super::{Judgement, Seen, void};

impl Seen<'_> {
    /// The first count is from the daemon's start, the last from the end, when nothing moves any
    /// more. So the numbers must be equal to the byte.
    pub fn counters(&self) -> Judgement {
        let counts: Vec<_> = self.counts().collect();
        let [before, .., after] = counts.as_slice() else {
            return Err("the guest did not count twice".into());
        };
        let moved = moved(before, after);
        if moved.nfsd == 0 || moved.clients.values().any(|&bytes| bytes == 0) {
            return Err(void(format!("not all mounts were written to: {moved:?}")));
        }
        let words = format!(
            "{} bytes through {} mounts",
            moved.clients.values().sum::<u64>(),
            moved.clients.len()
        );
        if !self.has_daemon() {
            return Ok(format!("{words}; no daemon to judge"));
        }
        let page = self.metrics().ok_or("the metrics were not fetched")?;
        for name in ["sent", "acked"] {
            let name = format!("throttle_nfs_write_{name}_bytes_total");
            for (bdi, &bytes) in &moved.clients {
                let value = value(page, &name, &format!("bdi=\"{bdi}\""));
                if value != Some(bytes) {
                    return Err(
                        format!("{name} of {bdi} is {value:?}, and the kernel: {bytes}").into(),
                    );
                }
            }
        }
        let value = value(page, "throttle_nfsd_written_bytes_total", "");
        if value != Some(moved.nfsd) {
            let nfsd = moved.nfsd;
            return Err(format!("nfsd wrote {value:?}, and by the kernel {nfsd}").into());
        }
        Ok(format!("{words}, all as the kernel counts"))
    }

    fn metrics(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|fact| match &fact.event {
            Event::Served { path, text, .. } if path == "/metrics" => Some(text.as_str()),
            _ => None,
        })
    }
}

fn moved(before: &Counts, after: &Counts) -> Counts {
    let client = |(bdi, bytes): (&String, &u64)| {
        let then = before.clients.get(bdi).copied().unwrap_or(0);
        (bdi.clone(), bytes.saturating_sub(then))
    };
    Counts {
        clients: after.clients.iter().map(client).collect::<BTreeMap<_, _>>(),
        nfsd: after.nfsd.saturating_sub(before.nfsd),
    }
}

/// The value of the series with this label, an integer.
fn value(page: &str, name: &str, label: &str) -> Option<u64> {
    page.lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .find_map(|line| line.rsplit(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests;
