//! The two ends of one TCP stream, whatever their addresses: both have counted the same bytes.
//!
//! What the client's end had acknowledged is what the server's end received (one more, the SYN, on
//! the side that connected), and the other way round, in 64-bit counters, at any time when nothing
//! is on its way. While bytes are on their way, what the server received lies between what was
//! acknowledged before and what was sent after.
//!
//! Chance: two streams that have nothing to do with each other agree in a total of one direction
//! with the probability that a number between zero and what they move meets another: at most 1 in
//! 65,536 for [`GROWTH`]. A proof takes the agreement twice with that much moved in between (or
//! four different values), and both directions. With n sockets to compare that is n in 2^32 without
//! the other direction: for 5,000 sockets one in a million. Streams that are not independent, a
//! relay's two connections or two clients in the same state, agree as well: if a second pair fits,
//! there is no proof. Where nothing moves any more, at least [`BULK`] must have moved, the pair must
//! agree in both directions, and so must the times of the last bytes.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

/// Maximum number of looks.
const LOOKS: usize = 8;
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// A client that moved less is not looked at: too many streams are alike.
pub const GROWTH: u64 = 64 << 10;
/// Totals from which on they count without growth.
const BULK: u64 = 1 << 20;
/// The lesser direction's total for the same: some NFS calls and their answers.
const LESSER: u64 = 1 << 10;
/// Time between two looks that count as two where nothing moves.
const APART: Duration = Duration::from_millis(100);
/// Tolerance of the times of the last bytes: a tick of 100 Hz at each end, and the way.
const TOLERANCE: Duration = Duration::from_millis(50);
/// Maximum number of pairs.
const MAX_PAIRS: usize = 4096;

/// A connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Its network namespace.
    pub net: u64,
    /// Its own address.
    pub local: SocketAddr,
    /// The other end, as this one sees it.
    pub remote: SocketAddr,
    /// The inode of its file.
    pub inode: u64,
}

/// What it has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `tcpi_bytes_acked`: with the SYN, at the side that connected.
    pub acked: u64,
    /// `tcpi_bytes_received`.
    pub received: u64,
    /// `tcpi_bytes_sent` without `tcpi_bytes_retrans`.
    pub sent: u64,
    /// Milliseconds since the last data was sent.
    pub sent_ms_ago: u32,
    /// Milliseconds since the last data came.
    pub received_ms_ago: u32,
}

/// Reads counters. The tests have streams of their own.
pub trait Look {
    /// The counters of these sockets, in this order; `None`: it is gone.
    fn look(&mut self, streams: &[Stream]) -> Vec<Option<Counters>>;
    /// A clock.
    fn now(&mut self) -> Duration;
    /// Waits.
    fn pause(&mut self, time: Duration);
}

/// The sockets to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// The clients' ends whose other ends are searched for.
    pub clients: Vec<Stream>,
    /// All that may be the other end of one.
    pub servers: Vec<Stream>,
    /// All others that may be a client of one of these servers.
    pub rivals: Vec<Stream>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// The clients that have moved enough for an answer.
    pub busy: Vec<Stream>,
    /// Clients with their servers.
    pub pairs: Vec<(Stream, Stream)>,
    /// Whether there were too many pairs to compare.
    pub too_many: bool,
}

/// Compares the sockets over a few looks.
pub fn watch(sockets: &Sockets, look: &mut dyn Look) -> Watched {
    let mut watched = Watched::default();
    let counted = look.look(&sockets.clients);
    let of_clients = sockets.clients.iter().copied().zip(counted);
    watched.busy = of_clients
        .filter(|(_, counters)| {
            counters.is_some_and(|c| c.acked.saturating_add(c.received) >= GROWTH)
        })
        .map(|(client, _)| client)
        .collect();
    if watched.busy.is_empty() || sockets.servers.is_empty() {
        return watched;
    }
    let Some(mut pairs) = first(sockets, &watched.busy, look) else {
        watched.too_many = true;
        return watched;
    };
    for _ in 0..LOOKS {
        pairs.look(look);
        let undecided = |client: &Stream| !pairs.is_decided(*client);
        if !watched.busy.iter().any(undecided) {
            break;
        }
        look.pause(PAUSE);
    }
    watched.pairs = watched
        .busy
        .iter()
        .filter_map(|client| Some((*client, pairs.proven(*client)?)))
        .collect();
    watched
}

/// The pairs that one look does not rule out; `None`: too many.
fn first(sockets: &Sockets, busy: &[Stream], look: &mut dyn Look) -> Option<Pairs> {
    let everyone = sockets.clients.iter().chain(&sockets.rivals);
    let addresses: BTreeSet<_> = everyone.map(|stream| stream.local).collect();
    // A server that sees the address of a client of this node has that one.
    let sees = |server: &Stream, client: &Stream| {
        server.remote == client.local || !addresses.contains(&server.remote)
    };
    let mut pairs = Pairs::default();
    pairs.add(busy, &sockets.servers, &sees, look)?;
    let servers: Vec<_> = pairs.of(|pair| pair.server).into_iter().collect();
    let others = sockets.clients.iter().filter(|one| !busy.contains(one));
    let rivals: Vec<_> = others
        .chain(&sockets.rivals)
        .filter(|one| servers.iter().any(|server| sees(server, one)))
        .copied()
        .collect();
    pairs.add(&rivals, &servers, &sees, look)?;
    Some(pairs)
}

/// A client's end and a server's that may belong together.
#[derive(Clone, Debug)]
struct Pair {
    client: Stream,
    server: Stream,
    sights: Vec<Sight>,
}

/// A look at a pair.
#[expect(
    clippy::struct_excessive_bools,
    reason = "two independent comparisons, in two directions each"
)]
#[derive(Clone, Copy, Debug)]
struct Sight {
    at: Duration,
    acked: u64,
    received: u64,
    /// Whether the totals agree exactly, from the client to the server and back.
    there: bool,
    back: bool,
    /// Whether the times of the last bytes agree, in these directions.
    when_there: bool,
    when_back: bool,
}

/// All pairs that were not ruled out.
#[derive(Debug, Default)]
struct Pairs(Vec<Pair>);

impl Pairs {
    /// Adds the pairs that are possible after one look. `None`: too many.
    fn add(
        &mut self,
        clients: &[Stream],
        servers: &[Stream],
        sees: &dyn Fn(&Stream, &Stream) -> bool,
        look: &mut dyn Look,
    ) -> Option<()> {
        let before = look.look(clients);
        let counted = look.look(servers);
        let after = look.look(clients);
        let clients = clients.iter().zip(before.into_iter().zip(after));
        for (client, (before, after)) in clients {
            let (Some(before), Some(after)) = (before, after) else {
                continue;
            };
            for (server, counters) in servers.iter().zip(&counted) {
                let possible = counters.is_some_and(|at| fits(&before, &at, &after));
                if !possible || !sees(server, client) {
                    continue;
                }
                if self.0.len() == MAX_PAIRS {
                    return None;
                }
                self.0.push(Pair {
                    client: *client,
                    server: *server,
                    sights: Vec::new(),
                });
            }
        }
        Some(())
    }

    fn of(&self, which: impl Fn(&Pair) -> Stream) -> BTreeSet<Stream> {
        self.0.iter().map(which).collect()
    }

    /// Looks at each, and drops what does not fit.
    fn look(&mut self, look: &mut dyn Look) {
        let clients: Vec<_> = self.of(|pair| pair.client).into_iter().collect();
        let servers: Vec<_> = self.of(|pair| pair.server).into_iter().collect();
        let at = look.now();
        let before = look.look(&clients);
        let counted = look.look(&servers);
        let after = look.look(&clients);
        let took = look.now().saturating_sub(at);
        let find = |all: &[Stream], counters: &[Option<Counters>], one: &Stream| {
            let at = all.binary_search(one).ok()?;
            *counters.get(at)?
        };
        self.0.retain_mut(|pair| {
            let sight = || {
                let before = find(&clients, &before, &pair.client)?;
                let after = find(&clients, &after, &pair.client)?;
                let server = find(&servers, &counted, &pair.server)?;
                fits(&before, &server, &after).then(|| sight(at, took, &before, &server, &after))
            };
            let seen = sight();
            pair.sights.extend(seen);
            seen.is_some()
        });
    }

    /// The server of a client, if the pair is proven and no other fits.
    fn proven(&self, client: Stream) -> Option<Stream> {
        let mut servers = self.0.iter().filter(|pair| pair.client == client);
        let pair = servers.next()?;
        let is_only = servers.next().is_none();
        let mut clients = self.0.iter().filter(|one| one.server == pair.server);
        (is_only && clients.nth(1).is_none() && pair.is_proven()).then_some(pair.server)
    }

    fn is_decided(&self, client: Stream) -> bool {
        let is_possible = self.0.iter().any(|pair| pair.client == client);
        !is_possible || self.proven(client).is_some()
    }
}

impl Pair {
    fn is_proven(&self) -> bool {
        let both = self.sights.iter().filter(|sight| sight.there && sight.back);
        if both.clone().count() >= 2 {
            let grown = grown(both.clone());
            let still = |sight: &Sight| sight.when_there && sight.when_back;
            if grown >= GROWTH || is_bulk(&both.filter(|one| still(one)).collect::<Vec<_>>()) {
                return true;
            }
        }
        // Bytes are on their way at each look: one direction agrees, in different values.
        let one = self.sights.iter().filter(|sight| sight.there || sight.back);
        let there = values(one.clone().filter(|s| s.there).map(|s| s.acked));
        let back = values(one.clone().filter(|s| s.back).map(|s| s.received));
        if there + back >= 4 && grown(one) >= GROWTH {
            return true;
        }
        // The server takes nothing any more, and bytes stay on their way.
        let back = self.sights.iter().filter(|s| s.back && s.when_back);
        let there = self.sights.iter().filter(|s| s.there && s.when_there);
        is_bulk(&back.collect::<Vec<_>>()) || is_bulk(&there.collect::<Vec<_>>())
    }
}

fn values(all: impl Iterator<Item = u64>) -> usize {
    all.collect::<BTreeSet<_>>().len()
}

/// What moved between the first and the last look.
fn grown<'a>(mut sights: impl Iterator<Item = &'a Sight>) -> u64 {
    let Some(first) = sights.next() else {
        return 0;
    };
    let last = sights.last().unwrap_or(first);
    let there = last.acked.saturating_sub(first.acked);
    there.saturating_add(last.received.saturating_sub(first.received))
}

/// Whether these are two looks at totals that say something without growth.
fn is_bulk(sights: &[&Sight]) -> bool {
    let (Some(first), Some(last)) = (sights.first(), sights.last()) else {
        return false;
    };
    last.at.saturating_sub(first.at) >= APART
        && last.acked.saturating_add(last.received) >= BULK
        && last.acked.min(last.received) >= LESSER
}

/// Whether a server's end may be the other end of a client's, of which it was looked at before and
/// after.
fn fits(before: &Counters, server: &Counters, after: &Counters) -> bool {
    before.acked.saturating_sub(1) <= server.received
        && server.received <= after.sent
        && before.received <= server.sent
        && server.acked <= after.received
}

fn sight(
    at: Duration,
    took: Duration,
    before: &Counters,
    server: &Counters,
    after: &Counters,
) -> Sight {
    let near = |one: u32, other: u32| {
        Duration::from_millis(one.abs_diff(other).into()) <= TOLERANCE + took
    };
    Sight {
        at,
        acked: before.acked,
        received: before.received,
        there: before.acked == after.acked && server.received == before.acked.saturating_sub(1),
        back: before.received == after.received && server.acked == before.received,
        when_there: near(before.sent_ms_ago, server.received_ms_ago),
        when_back: near(before.received_ms_ago, server.sent_ms_ago),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Counters, GROWTH, Look, Sockets, Stream, Watched, watch};

    /// A made-up stream: what each side has sent, how much of it has arrived, and been acknowledged.
    #[derive(Clone, Copy, Debug, Default)]
    struct Pipe {
        sent: [u64; 2],
        arrived: [u64; 2],
        acked: [u64; 2],
        moved: [Duration; 2],
        /// Bytes in a millisecond.
        rate: [u64; 2],
        /// Bytes that stay on their way.
        queue: [u64; 2],
    }

    impl Pipe {
        fn at_rest(there: u64, back: u64) -> Self {
            let all = [there, back];
            Self {
                sent: all,
                arrived: all,
                acked: all,
                ..Self::default()
            }
        }

        fn run(&mut self, now: Duration, ms: u64) {
            for side in 0..2 {
                if self.rate[side] > 0 && ms > 0 {
                    self.sent[side] += self.rate[side] * ms;
                    self.moved[side] = now;
                }
                self.arrived[side] = self.sent[side].saturating_sub(self.queue[side]);
                self.acked[side] = self.arrived[side].saturating_sub(self.queue[side]);
            }
        }

        fn end(&self, side: usize, now: Duration) -> Counters {
            let ago = |side: usize| {
                let ago = now.saturating_sub(self.moved[side]).as_millis();
                u32::try_from(ago).unwrap()
            };
            Counters {
                acked: self.acked[side] + u64::from(side == 0),
                received: self.arrived[1 - side],
                sent: self.sent[side],
                sent_ms_ago: ago(side),
                received_ms_ago: ago(1 - side),
            }
        }
    }

    /// Which end of which pipe a socket is, by its inode.
    struct Node {
        pipes: Vec<Pipe>,
        now: Duration,
    }

    impl Look for Node {
        fn look(&mut self, streams: &[Stream]) -> Vec<Option<Counters>> {
            let one = |stream: &Stream| {
                let inode = usize::try_from(stream.inode).unwrap();
                let pipe = self.pipes.get(inode / 2)?;
                Some(pipe.end(inode % 2, self.now))
            };
            streams.iter().map(one).collect()
        }

        fn now(&mut self) -> Duration {
            self.now
        }

        fn pause(&mut self, time: Duration) {
            self.now += time;
            let ms = u64::try_from(time.as_millis()).unwrap();
            self.pipes
                .iter_mut()
                .for_each(|pipe| pipe.run(self.now, ms));
        }
    }

    impl Node {
        fn new(pipes: Vec<Pipe>) -> Self {
            let now = Duration::from_secs(1000);
            Self { pipes, now }
        }
    }

    /// A client behind a service address: the server sees it under its own or the node's.
    fn stream(pipe: u64, side: u64) -> Stream {
        let port = u16::try_from(700 + pipe).unwrap();
        let (local, remote) = if side == 0 {
            (([10, 9, 0, 1], port), ([10, 96, 7, 7], 2049))
        } else {
            (([10, 9, 0, 2], 2049), ([10, 9, 0, 254], port))
        };
        Stream {
            net: 1 + side,
            local: local.into(),
            remote: remote.into(),
            inode: 2 * pipe + side,
        }
    }

    /// The first client is searched for, among all these.
    fn sockets(clients: u64, servers: &[u64]) -> Sockets {
        Sockets {
            clients: vec![stream(0, 0)],
            servers: servers.iter().map(|pipe| stream(*pipe, 1)).collect(),
            rivals: (1..clients).map(|pipe| stream(pipe, 0)).collect(),
        }
    }

    fn watched(pipes: Vec<Pipe>, sockets: &Sockets) -> Watched {
        watch(sockets, &mut Node::new(pipes))
    }

    fn frozen() -> Pipe {
        Pipe::at_rest(103_838_092, 14_280)
    }

    fn moving(rate: u64) -> Pipe {
        Pipe {
            rate: [rate, rate / 1000 + 1],
            ..Pipe::at_rest(200_000, 20_000)
        }
    }

    fn found(pipe: u64) -> Vec<(Stream, Stream)> {
        vec![(stream(0, 0), stream(pipe, 1))]
    }

    #[test]
    fn the_ends_of_a_frozen_stream_are_found() {
        let others = [
            Pipe::at_rest(103_838_093, 14_280),
            Pipe::at_rest(103_838_092, 14_281),
        ];
        let pipes = vec![frozen(), others[0], others[1]];
        assert_eq!(watched(pipes, &sockets(3, &[0, 1, 2])).pairs, found(0));
    }

    #[test]
    fn of_two_that_fit_neither_is_the_other_end() {
        let twins = || vec![frozen(), frozen()];
        assert_eq!(watched(twins(), &sockets(1, &[0, 1])).pairs, []);
        assert_eq!(watched(twins(), &sockets(2, &[0])).pairs, [], "two clients");
        assert_eq!(
            watched(twins(), &sockets(2, &[1])).pairs,
            [],
            "of the other"
        );
    }

    #[test]
    fn who_sees_a_clients_own_address_is_no_other_clients_server() {
        let mut all = sockets(2, &[0, 1]);
        all.servers[0].remote = stream(0, 0).local;
        all.servers[1].remote = stream(1, 0).local;
        let pairs = watched(vec![frozen(), frozen()], &all).pairs;
        assert_eq!(pairs, [(all.clients[0], all.servers[0])]);
    }

    #[test]
    fn equal_totals_without_the_same_last_moments_prove_nothing() {
        let mut twin = frozen();
        twin.moved = [Duration::from_mins(15); 2];
        let pipes = vec![frozen(), twin];
        // The server of the first is not on this node.
        assert_eq!(watched(pipes, &sockets(1, &[1])).pairs, []);
    }

    #[test]
    fn a_stream_that_moves_is_found_at_any_speed() {
        for rate in [500, 5_000, 500_000] {
            let mut pipe = moving(rate);
            assert_eq!(watched(vec![pipe], &sockets(1, &[0])).pairs, found(0));
            pipe.sent[0] = 1_000_000;
            pipe.queue = [300_000, 0];
            pipe.run(Duration::ZERO, 0);
            let answer = watched(vec![pipe], &sockets(1, &[0]));
            assert_eq!(answer.pairs, found(0), "{rate}, with bytes on their way");
        }
    }

    #[test]
    fn what_a_stuck_server_does_not_take_stays_on_its_way() {
        let mut pipe = frozen();
        pipe.queue = [2_000_000, 0];
        pipe.run(Duration::ZERO, 0);
        assert_eq!(watched(vec![pipe], &sockets(1, &[0])).pairs, found(0));
    }

    #[test]
    fn a_client_that_moved_little_is_not_asked_about() {
        let pipe = Pipe::at_rest(GROWTH - 300, 100);
        let answer = watched(vec![pipe], &sockets(1, &[0]));
        assert_eq!(answer, Watched::default());
        let pipe = Pipe::at_rest(GROWTH, 100);
        let answer = watched(vec![pipe], &sockets(1, &[0]));
        assert_eq!(
            (answer.busy.len(), answer.pairs.len()),
            (1, 0),
            "no proof yet"
        );
    }

    #[test]
    fn a_socket_that_is_gone_is_no_end() {
        assert_eq!(watched(vec![frozen()], &sockets(1, &[7])).pairs, []);
        assert_eq!(watched(Vec::new(), &sockets(1, &[0])), Watched::default());
    }

    fn any_pipe() -> impl Strategy<Value = Pipe> {
        let total = || {
            prop_oneof![
                0..200_000u64,
                1_000_000..1_000_100u64,
                any::<u32>().prop_map(u64::from)
            ]
        };
        let rate = prop_oneof![Just(0u64), 0..3u64, 0..100_000u64];
        let queue = || prop_oneof![Just(0u64), 0..2_000_000u64];
        let moved = 0..900u64;
        (total(), total(), rate, queue(), moved, any::<bool>()).prop_map(
            |(there, back, rate, queue, moved, writes)| {
                let mut pipe = Pipe::at_rest(there, back);
                pipe.rate = if writes {
                    [rate, rate / 1000]
                } else {
                    [rate / 1000, rate]
                };
                pipe.queue = [queue, 0];
                pipe.moved = [Duration::from_secs(moved); 2];
                pipe.run(Duration::from_secs(moved), 0);
                pipe
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn two_different_streams_are_never_taken_for_one(
            pipes in prop::collection::vec(any_pipe(), 1..20), here in prop::collection::vec(any::<bool>(), 20)
        ) {
            let n = u64::try_from(pipes.len()).unwrap();
            // Some of the clients' servers are on other hosts, and some of the servers' clients.
            let servers: Vec<_> = (0..n).filter(|pipe| here[usize::try_from(*pipe).unwrap()]).collect();
            let answer = watched(pipes, &sockets(n, &servers));
            for (client, server) in answer.pairs {
                prop_assert_eq!(client.inode / 2, server.inode / 2);
            }
        }

        #[test]
        fn the_other_end_of_a_stream_at_rest_is_found_among_others(
            others in prop::collection::vec(any_pipe(), 0..20), there in 1_048_576..1u64 << 40, back in 1_024..1u64 << 20
        ) {
            let mut pipes = vec![Pipe::at_rest(there, back)];
            pipes.extend(others);
            let n = u64::try_from(pipes.len()).unwrap();
            let servers: Vec<_> = (0..n).collect();
            let answer = watched(pipes, &sockets(n, &servers));
            prop_assert_eq!(answer.pairs, found(0));
        }
    }
}
