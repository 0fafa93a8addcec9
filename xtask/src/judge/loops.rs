//! Judges whether exactly the existing loops are reported.

use guest::{Counts, Event, Loop, Mounted};

use super::{Fault, Judgement, Seen, exempt, seconds, void};
use crate::scenario::LoopExpected;

/// Milliseconds after the first write within which a loop must be reported.
const AFTER_WRITE: u64 = 5_000;

/// Bytes that each server must have received for a meaningful play: some seconds of a slow writer.
const FLOW: u64 = 2_000_000;

impl Seen<'_> {
    pub fn loops(&self, wanted: &[LoopExpected]) -> Judgement {
        let mut words = Vec::new();
        for expected in wanted {
            let bytes = self.taken(expected)?;
            words.push(format!("{} {:.1} MB", expected.at, bytes as f64 / 1e6));
        }
        let flow = words.join(", ");
        if !self.has_daemon() {
            return Ok(format!("{flow}; no daemon to judge"));
        }
        if self.reports().next().is_none() {
            return Err(format!("{flow}, and the daemon never reported a loop").into());
        }
        for (_, entry) in self.reports() {
            let mut known = wanted.iter().map(|expected| self.client(expected));
            if !known.any(|client| client.is_ok_and(|mounted| mounted.device == entry.client_bdi)) {
                return Err(format!("reported a loop that is none: {entry:?}").into());
            }
        }
        // No plan here ends a loop, so a reported one must stay.
        let mut events = self.0.iter().map(|fact| &fact.event);
        if let Some(Event::LoopGone(name)) =
            events.find(|event| matches!(event, Event::LoopGone(_)))
        {
            return Err(format!("the loop {name} was taken back").into());
        }
        let mut words = Vec::new();
        for expected in wanted {
            let after = self.reported(expected)?;
            words.push(format!("{} after {}", expected.at, seconds(after)));
        }
        Ok(format!("reported: {}", words.join(", ")))
    }

    /// The time from the first write to a correct report.
    fn reported(&self, expected: &LoopExpected) -> Result<u64, Fault> {
        let at = expected.at;
        let first = self.first_write(at)?;
        let client = self.client(expected)?;
        let reports: Vec<_> = self
            .reports()
            .filter(|(_, entry)| entry.client_bdi == client.device)
            .collect();
        let Some((_, last)) = reports.last() else {
            return Err(format!("the loop of {at} was never reported").into());
        };
        if let Some((_, other)) = reports.iter().find(|(_, entry)| entry.name != last.name) {
            return Err(format!("{at} is in two loops: {other:?} and {last:?}").into());
        }
        if let Some(what) = self.differs(expected, last)? {
            return Err(format!("the loop of {at} is wrong at the end: {what}: {last:?}").into());
        }
        for (ms, entry) in &reports {
            if self.differs(expected, entry)?.is_none() {
                let after = ms.saturating_sub(first);
                if after > AFTER_WRITE {
                    return Err(format!("the loop of {at} was late: {}", seconds(after)).into());
                }
                return Ok(after);
            }
        }
        Err(format!("the loop of {at} was never right").into())
    }

    /// The wrong fact in a report, if any.
    fn differs(&self, expected: &LoopExpected, entry: &Loop) -> Result<Option<String>, Fault> {
        let client = self.client(expected)?;
        let backing = self.mounted(expected.backing)?;
        let backed = entry.server_bdi.as_ref().map_or_else(
            // The BDI of a userspace server may be unknown.
            || expected.server != "nfsd",
            |bdi| *bdi == backing.device || backing.bdis.contains(bdi),
        );
        let here = |mount: &guest::LoopMount| {
            mount.mount_point == client.at && mount.source == client.source
        };
        let mounts = !entry.mounts.is_empty() && entry.mounts.iter().all(here);
        let facts = [
            (entry.server == expected.server, expected.server.to_owned()),
            (entry.proof == expected.proof, expected.proof.to_owned()),
            (entry.scope == expected.scope, expected.scope.to_owned()),
            (
                exempt::is(entry, expected.exempt),
                format!("observed to be exempt: {}", expected.exempt),
            ),
            (mounts, format!("{} on {}", client.source, client.at)),
            (
                backed,
                format!("{} with BDI {:?}", backing.device, backing.bdis),
            ),
        ];
        let wrong = facts.into_iter().find(|(right, _)| !right);
        Ok(wrong.map(|(_, what)| format!("it is {what}")))
    }

    /// The bytes that the server of this loop received, by the kernel's own count.
    fn taken(&self, expected: &LoopExpected) -> Result<u64, Fault> {
        let device = &self.client(expected)?.device;
        let counts = self.counts().last().ok_or("the guest counted nothing")?;
        let bytes = counts.clients.get(device).copied().unwrap_or(0);
        if bytes < FLOW {
            return Err(void(format!(
                "only {bytes} bytes went through {}",
                expected.at
            )));
        }
        Ok(bytes)
    }

    pub fn counts(&self) -> impl Iterator<Item = &Counts> {
        self.0.iter().filter_map(|fact| match &fact.event {
            Event::Counted(counts) => Some(counts),
            _ => None,
        })
    }

    /// The reported loops, with their times.
    pub fn reports(&self) -> impl Iterator<Item = (u64, &Loop)> {
        self.0.iter().filter_map(|fact| match &fact.event {
            Event::Loop(entry) => Some((fact.ms, entry)),
            _ => None,
        })
    }

    fn first_write(&self, at: &str) -> Result<u64, Fault> {
        let mut facts = self.0.iter();
        facts
            .find(|fact| matches!(&fact.event, Event::FirstWrite { dir } if dir == at))
            .map(|fact| fact.ms)
            .ok_or_else(|| format!("nothing was written to {at}").into())
    }

    fn client(&self, expected: &LoopExpected) -> Result<&Mounted, Fault> {
        self.mounted(expected.at)
    }

    /// The mount at this path.
    pub fn mounted(&self, at: &str) -> Result<&Mounted, Fault> {
        let mut mounts = self.0.iter().filter_map(|fact| match &fact.event {
            Event::Mounted(mounted) => Some(mounted),
            _ => None,
        });
        mounts
            .find(|mounted| mounted.at == at)
            .ok_or_else(|| format!("nothing was mounted on {at}").into())
    }
}

#[cfg(test)]
mod tests;
