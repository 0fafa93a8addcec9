//! Judges the report of a client that is not NFS: its loop is known in time, and nobody else is
//! blamed for it.

use guest::{Event, Related};

use super::{Judgement, Seen, seconds};
use crate::scenario::ServedLoop;

/// Milliseconds after the first write within which a loop must be reported.
const AFTER_WRITE: u64 = 5_000;

/// Conditions that blame the client's device or mount for what its own loop does.
pub const BLAME: [&str; 4] = [
    "slow-disk",
    "nfs-server-not-responding",
    "server-not-responding",
    "hung-file-system",
];

impl Seen<'_> {
    /// The loop of the mount at `/mnt`, whose server writes to the file system at `/export`.
    pub fn served_loop(&self, wanted: &ServedLoop) -> Judgement {
        let started = self.writers_started()?;
        let client = self.mounted("/mnt")?.bdi();
        let backing = self.mounted("/export")?.device.as_str();
        let of_client: Vec<_> = self
            .reports()
            .filter(|(_, entry)| entry.client_bdi == client)
            .collect();
        let name = format!("{client}-{}", wanted.server);
        if let Some((_, other)) = of_client.iter().find(|(_, entry)| entry.name != name) {
            return Err(format!("the loop is {name}, not {other:?}").into());
        }
        let Some((_, last)) = of_client.last() else {
            return Err(format!("the loop {name} was never reported").into());
        };
        let is_right = |entry: &guest::Loop| {
            entry.client_kind == wanted.kind
                && entry.server == wanted.server
                && entry.server_bdi.as_deref() == Some(backing)
        };
        let Some((ms, _)) = of_client.iter().find(|(_, entry)| is_right(entry)) else {
            let kind = wanted.kind;
            return Err(format!("it is a {kind} client that writes to {backing}: {last:?}").into());
        };
        let after = ms.saturating_sub(started);
        if after > AFTER_WRITE {
            return Err(self.late(
                started,
                format!("the loop {name} was late: {}", seconds(after)),
            ));
        }
        if let Some(Related { kind, reason, .. }) = self.blamed(client) {
            return Err(format!("{kind} of the loop's own client {client}: {reason}").into());
        }
        Ok(format!(
            "the loop {name} known {} after the start",
            seconds(after)
        ))
    }

    fn blamed(&self, client: &str) -> Option<&Related> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Related(entry) if entry.began && entry.bdi == client => {
                BLAME.contains(&&*entry.kind).then_some(entry)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use guest::{Fact, Loop, Mounted};

    use super::*;

    const WANTED: ServedLoop = ServedLoop {
        kind: "nbd",
        server: "qemu-nbd",
    };

    /// The load starts at 10 s, and the loop is reported then.
    fn facts(at: u64, change: impl FnOnce(&mut Loop)) -> Vec<Fact> {
        let fact = |ms, event| Fact { ms, event };
        let mounted = |at: &str, device: &str| {
            Event::Mounted(Mounted {
                at: at.to_owned(),
                source: String::new(),
                device: device.to_owned(),
                bdis: vec![],
            })
        };
        let mut entry = Loop {
            name: "43:0-qemu-nbd".to_owned(),
            client_bdi: "43:0".to_owned(),
            client_kind: "nbd".to_owned(),
            server: "qemu-nbd".to_owned(),
            server_bdi: Some("254:0".to_owned()),
            ..Loop::default()
        };
        change(&mut entry);
        vec![
            fact(1, mounted("/export", "254:0")),
            fact(2, mounted("/mnt", "43:0")),
            fact(10_000, Event::WritersStarted),
            fact(at, Event::Loop(entry)),
        ]
    }

    #[test]
    fn a_loop_is_right_with_its_server_and_in_time() {
        let judged = |facts: &[Fact]| Seen(facts).served_loop(&WANTED);
        assert!(judged(&facts(8_000, |_| ())).is_ok(), "before the load");
        assert!(judged(&facts(14_000, |_| ())).is_ok());
        assert!(judged(&facts(16_000, |_| ())).is_err(), "late");
        assert!(judged(&facts(14_000, |one| one.server_bdi = None)).is_err());
        let of_another = facts(14_000, |one| "8:0".clone_into(&mut one.client_bdi));
        assert!(judged(&of_another).is_err());
        let by_another = facts(14_000, |one| "43:0-nbd-server".clone_into(&mut one.name));
        assert!(judged(&by_another).is_err());
    }

    #[test]
    fn the_client_of_a_loop_is_not_called_slow() {
        let mut facts = facts(14_000, |_| ());
        let slow = |bdi: &str| Fact {
            ms: 20_000,
            event: Event::Related(Related {
                monotonic_ms: 20_000,
                kind: "slow-disk".to_owned(),
                bdi: bdi.to_owned(),
                began: true,
                reason: String::new(),
            }),
        };
        facts.push(slow("254:0"));
        assert!(Seen(&facts).served_loop(&WANTED).is_ok());
        facts.push(slow("43:0"));
        assert!(Seen(&facts).served_loop(&WANTED).is_err());
    }

    #[test]
    fn a_cifs_mount_is_known_by_the_name_of_its_bdi() {
        let mut facts = facts(14_000, |one| {
            "cifs-1-smbd".clone_into(&mut one.name);
            "cifs-1".clone_into(&mut one.client_bdi);
            "cifs".clone_into(&mut one.client_kind);
            "smbd".clone_into(&mut one.server);
        });
        for fact in &mut facts {
            if let Event::Mounted(mounted) = &mut fact.event
                && mounted.at == "/mnt"
            {
                mounted.bdis = vec!["cifs-1".to_owned()];
            }
        }
        let wanted = ServedLoop {
            kind: "cifs",
            server: "smbd",
        };
        assert!(Seen(&facts).served_loop(&wanted).is_ok());
    }
}
