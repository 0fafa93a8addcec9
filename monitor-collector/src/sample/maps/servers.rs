//! Which processes the programs take for servers.

use std::collections::BTreeSet;

use aya::maps::{HashMap, MapData};
use monitor_common::{Class, MAX_SERVERS};
use monitor_model::observation::ServerProcess;

/// The processes that the programs were told.
pub struct Servers {
    map: HashMap<MapData, u32, u8>,
    told: BTreeSet<u32>,
}

impl Servers {
    /// The programs know none yet.
    pub const fn new(map: HashMap<MapData, u32, u8>) -> Self {
        Self {
            map,
            told: BTreeSet::new(),
        }
    }

    /// Tells those that are new, and takes back those that are gone.
    pub fn tell(&mut self, processes: &[ServerProcess]) {
        let (gone, new) = changes(&self.told, processes);
        for tgid in gone {
            let _ = self.map.remove(&tgid);
            self.told.remove(&tgid);
        }
        for tgid in new {
            // What finds no room is tried again at the next tick.
            if self.map.insert(tgid, 1, 0).is_ok() {
                self.told.insert(tgid);
            }
        }
    }

    /// The class of a task. A wait may have begun before its process was known to be a server.
    pub fn class(&self, tgid: u32, class: u8) -> Option<Class> {
        class_of(&self.told, tgid, class)
    }
}

fn class_of(servers: &BTreeSet<u32>, tgid: u32, class: u8) -> Option<Class> {
    match Class::from_u8(class)? {
        Class::User if servers.contains(&tgid) => Some(Class::Server),
        class => Some(class),
    }
}

/// Who is to be taken back, and who is to be told.
fn changes(told: &BTreeSet<u32>, processes: &[ServerProcess]) -> (Vec<u32>, Vec<u32>) {
    let room = usize::try_from(MAX_SERVERS).unwrap_or(0);
    let wanted = processes.iter().map(|process| process.tgid);
    let wanted: BTreeSet<u32> = wanted.filter(|tgid| *tgid != 0).take(room).collect();
    let gone = told.difference(&wanted).copied().collect();
    let new = wanted.difference(told).copied().collect();
    (gone, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes(tgids: impl IntoIterator<Item = u32>) -> Vec<ServerProcess> {
        let process = |tgid| ServerProcess {
            tgid,
            ..ServerProcess::default()
        };
        tgids.into_iter().map(process).collect()
    }

    #[test]
    fn the_programs_are_told_who_is_new_and_who_is_gone() {
        let told = BTreeSet::from([10, 20]);
        let (gone, new) = changes(&told, &processes([20, 30, 30]));
        assert_eq!((gone, new), (vec![10], vec![30]));
        let (gone, new) = changes(&told, &processes([20, 10]));
        assert!(gone.is_empty() && new.is_empty());
    }

    #[test]
    fn no_more_servers_are_told_than_there_is_room_for_and_none_without_a_number() {
        let (_, new) = changes(&BTreeSet::new(), &processes(0..1000));
        assert_eq!(new.len(), 256);
        assert!(!new.contains(&0));
    }

    #[test]
    fn a_wait_that_began_before_its_process_was_known_is_a_server_s() {
        let servers = BTreeSet::from([10]);
        let class = |tgid, class: Class| class_of(&servers, tgid, class as u8);
        assert_eq!(class(10, Class::User), Some(Class::Server));
        assert_eq!(class(11, Class::User), Some(Class::User));
        assert_eq!(class(10, Class::Kworker), Some(Class::Kworker));
        assert_eq!(class_of(&servers, 10, 200), None);
    }
}
