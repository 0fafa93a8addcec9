//! Slots for connections: no more than memory is set aside for. Who comes when all
//! are taken gets the place of the client that has asked for nothing for the longest,
//! so that idle clients keep nobody out, however many they are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// For one that was asked to leave; then the next is asked.
const PATIENCE: Duration = Duration::from_millis(10);

pub(super) struct ConnectionSlots {
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// The clients that have asked for nothing, the longest first.
#[derive(Default)]
struct Idle {
    next: u64,
    clients: BTreeMap<u64, Arc<Notify>>,
}

impl ConnectionSlots {
    pub(super) fn new(number: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(number));
        let idle = Mutex::default();
        Arc::new(Self { free, idle })
    }

    /// A place for a client that is here. It waits if all are busy.
    pub(super) async fn take(self: &Arc<Self>) -> Arc<Slot> {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break permit;
            }
            self.ask_one_to_leave();
            let left = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(permit)) = timeout(PATIENCE, left).await {
                break permit;
            }
        };
        let place = Arc::new(Slot {
            slots: Arc::clone(self),
            number: Mutex::default(),
            leave: Arc::default(),
            asked: AtomicBool::default(),
            _permit: permit,
        });
        place.join_the_idle();
        place
    }

    fn ask_one_to_leave(&self) {
        let first = self.idle(|idle| idle.clients.pop_first());
        if let Some((_, leave)) = first {
            leave.notify_one();
        }
    }

    fn idle<T>(&self, with: impl FnOnce(&mut Idle) -> T) -> T {
        with(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One connection's place, free again when it is dropped.
pub(super) struct Slot {
    slots: Arc<ConnectionSlots>,
    /// Among the idle; none while a request is answered.
    number: Mutex<Option<u64>>,
    leave: Arc<Notify>,
    /// Whether it ever asked for anything.
    asked: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// A request is being answered.
    pub(super) fn busy(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.leave_the_idle();
    }

    /// The client is to ask for something, or to take what it asked for.
    pub(super) fn idle(&self) {
        self.leave_the_idle();
        self.join_the_idle();
    }

    /// Ends when somebody else needs the place more; whether there may be an answer
    /// that this client has not taken yet.
    pub(super) async fn wanted(&self) -> bool {
        self.leave.notified().await;
        self.asked.load(Ordering::Relaxed)
    }

    fn leave_the_idle(&self) {
        let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = number.take() {
            self.slots.idle(|idle| idle.clients.remove(&number));
        }
    }

    fn join_the_idle(&self) {
        let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        *number = Some(self.slots.idle(|idle| {
            idle.next += 1;
            idle.clients.insert(idle.next, Arc::clone(&self.leave));
            idle.next
        }));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave_the_idle();
    }
}
