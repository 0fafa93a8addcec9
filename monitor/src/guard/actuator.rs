//! Applies the desired state, and restores what is no longer wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Instant,
};

use monitor_model::guard::{Action, DesiredState, Outcome};

use super::{
    Made, Report, Settings,
    desired::desired,
    journal::{Journal, JournalError},
    tunables::{Bdi, Tunable, Tunables, Value},
    vmstat::Vmstat,
};

/// The moving limit stays above the dirty bytes by this share of them. `wb_position_ratio`
/// (`mm/page-writeback.c`) then slows the writers, whose BDI is full, but not the server, whose BDI
/// is nearly clean. With a smaller margin both get a few pages in each pause of 200 ms, and the
/// writers fill what the server frees.
const ABOVE: u64 = 10;

/// The share of the original limit by which it may rise in a second. Writers that have just run
/// fill any rise at once. While they wait, the kernel lowers their rate by an eighth every 200 ms
/// (`wb_update_dirty_ratelimit`), until the server is faster.
const RISE: u64 = 16;

/// Steps of the limit below this share of it are skipped.
const STEP_SHARE: u64 = 128;

/// The reason why no setting can be changed.
#[derive(Debug, thiserror::Error)]
pub enum ActuatorError {
    /// The journal is unusable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// This process may not change them.
    #[error(
        "vm.dirty_bytes cannot be set: {0}. The guard's helper must be root, with /proc/sys and /sys \
         writable: see docs/guard.md"
    )]
    NotAllowed(#[source] io::Error),
    /// The counters for easing are unavailable.
    #[error("/proc/vmstat cannot be read")]
    Vmstat(#[source] io::Error),
}

/// Changes the node.
#[derive(Debug)]
pub struct Actuator {
    tunables: Tunables,
    journal: Journal,
    vmstat: Vmstat,
    share: u64,
    wanted: DesiredState,
    /// The lower bound of easing: the limit before it was first raised.
    base: Option<u64>,
    /// The time and the value of the last step.
    stepped: Option<(Instant, u64)>,
    /// Whether the easing is reported.
    told: bool,
    /// Whether reaching the share of memory is reported.
    capped: bool,
    /// Settings that could not be restored. That is reported once, but retried silently.
    stuck: BTreeSet<Tunable>,
    made: Vec<Made>,
}

impl Actuator {
    /// Opens the journal, and restores what a previous guard left.
    ///
    /// # Errors
    ///
    /// No setting can be changed, or not safely.
    pub fn open(settings: &Settings) -> Result<Self, ActuatorError> {
        let tunables = Tunables::new(&settings.procfs, &settings.sysfs);
        tunables.try_open().map_err(ActuatorError::NotAllowed)?;
        let journal = Journal::open(&settings.journal, &settings.procfs)?;
        let vmstat = Vmstat::open(settings).map_err(ActuatorError::Vmstat)?;
        let mut actuator = Self {
            tunables,
            journal,
            vmstat,
            share: settings.share.into(),
            wanted: DesiredState::default(),
            base: None,
            stepped: None,
            told: false,
            capped: false,
            stuck: BTreeSet::new(),
            made: Vec::new(),
        };
        actuator.undo_all();
        Ok(actuator)
    }

    /// The outcomes since the last call, and the current changes.
    pub fn report(&mut self) -> Report {
        let entries = self.journal.entries().iter().filter(|entry| !entry.lost);
        let active =
            entries.map(|entry| (entry.loop_id.clone(), entry.tunable.measure().to_owned()));
        Report {
            active: active.collect(),
            made: std::mem::take(&mut self.made),
        }
    }

    /// Whether this BDI has `strict_limit`, since Linux 6.2.
    #[must_use]
    pub fn offers_strict_limit(&self, bdi: &str) -> bool {
        let bdi = Bdi::try_from(bdi.to_owned());
        bdi.is_ok_and(|bdi| self.tunables.get(&Tunable::StrictLimit(bdi)).is_ok())
    }

    /// Whether [`Self::ease`] must be called.
    #[must_use]
    pub const fn is_easing(&self) -> bool {
        !self.wanted.ease.is_empty()
    }

    /// Applies this state, and restores everything else.
    pub fn want(&mut self, wanted: DesiredState) {
        let new = desired(&wanted);
        let old = desired(&std::mem::take(&mut self.wanted));
        self.wanted = wanted;
        if !self.is_easing() {
            self.rest();
        }
        let gone = |tunable: &Tunable| match tunable {
            Tunable::DirtyLimit => !self.is_easing(),
            _ => !new.contains_key(tunable),
        };
        let gone: Vec<Tunable> = self
            .journal
            .entries()
            .iter()
            .map(|entry| entry.tunable.clone())
            .filter(gone)
            .collect();
        self.undo(&gone);
        self.look_after();
        let mut told: BTreeMap<(String, Action), (Outcome, Vec<String>)> = BTreeMap::new();
        for (tunable, wish) in &new {
            if old
                .get(tunable)
                .is_some_and(|before| before.value == wish.value)
            {
                continue;
            }
            let (result, words) = self.change(tunable, wish.value, &wish.loop_id);
            let (worst, all) = told
                .entry((wish.loop_id.clone(), wish.action))
                .or_insert((Outcome::Done, Vec::new()));
            if result != Outcome::Done {
                *worst = result;
            }
            all.push(words);
        }
        for ((loop_id, action), (result, words)) in told {
            self.made.push(Made {
                loop_id,
                action,
                result,
                words: words.join("; "),
            });
        }
    }

    /// Restores everything.
    pub fn undo_all(&mut self) {
        self.wanted = DesiredState::default();
        self.rest();
        let all: Vec<Tunable> = self
            .journal
            .entries()
            .iter()
            .map(|entry| entry.tunable.clone())
            .collect();
        self.undo(&all);
    }

    /// Whether a setting is changed, or would not stay as it is.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.is_easing() || !self.journal.entries().is_empty()
    }

    /// [`Self::undo_all`], with a reason for the report of each setting.
    pub fn undo_all_because(&mut self, why: Option<&str>) {
        let before = self.made.len();
        self.undo_all();
        if let Some(why) = why {
            for made in self.made.iter_mut().skip(before) {
                made.words = format!("{why}: {}", made.words);
            }
        }
    }

    /// Gives up settings whose value another process has changed.
    pub fn look_after(&mut self) {
        let entries = self.journal.entries().iter().filter(|entry| !entry.lost);
        let mut lost = Vec::new();
        for entry in entries {
            match self.tunables.get(&entry.tunable) {
                Ok(now) if entry.ours.last() == Some(&now) => {}
                Ok(now) => lost.push((entry.clone(), Some(now))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    lost.push((entry.clone(), None));
                }
                Err(_) => {}
            }
        }
        for (entry, now) in lost {
            let Some(now) = now else {
                // It vanished with its mount.
                self.journal.strike(&entry.tunable);
                continue;
            };
            self.journal.lose(&entry.tunable);
            let action = self.action_for(&entry.loop_id);
            self.tell_lost(&entry.tunable, &entry.loop_id, action, now);
        }
    }

    /// One step of the moving limit.
    pub fn ease(&mut self) {
        let Some((loop_id, action)) = self.wanted.ease.first() else {
            return;
        };
        let (loop_id, action) = (loop_id.to_string(), *action);
        let tunable = Tunable::DirtyLimit;
        if self.journal.entry(&tunable).is_some() {
            self.look_after();
            if self.journal.entry(&tunable).is_none_or(|entry| entry.lost) {
                return;
            }
        }
        let (Ok(now), Ok(memory)) = (self.tunables.get(&tunable), self.vmstat.read()) else {
            return;
        };
        let last = self.journal.entry(&tunable).map(|_| now);
        let base = self.base.unwrap_or(match now {
            Value::Bytes(bytes) => bytes,
            _ => memory.limit,
        });
        let follows = memory.dirty.saturating_add(memory.dirty / ABOVE);
        if last.is_none() && follows <= base {
            return;
        }
        if last.is_some() && follows < base - base / 16 {
            // The dirty bytes fit under the old limit; it is raised when they do not.
            (self.base, self.stepped) = (None, None);
            let said = self.made.len();
            self.undo(&[tunable]);
            let is_news = |made: &Made| made.result != Outcome::Done;
            let new = self.made.split_off(said);
            self.made.extend(new.into_iter().filter(is_news));
            return;
        }
        let most = (memory.dirtyable / 100 * self.share).max(base);
        let rises = self.stepped.map_or(u64::MAX, |(at, limit)| {
            let ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            limit.saturating_add((base / RISE).saturating_mul(ms) / 1000)
        });
        let next = follows.clamp(base, most).min(rises);
        let is_capped = follows > most;
        if is_capped && !self.capped {
            self.capped = true;
            self.made.push(Made {
                loop_id: loop_id.clone(),
                action,
                result: Outcome::Refused,
                words: format!(
                    "vm.dirty_bytes stays at {most} bytes, {} % of the memory that can be dirty \
                     (--guard.dirty-share): {} bytes are dirty",
                    self.share, memory.dirty
                ),
            });
        }
        if let Some(Value::Bytes(last)) = last
            && next.abs_diff(last) <= last / STEP_SHARE
        {
            return;
        }
        self.base = Some(base);
        self.stepped = Some((Instant::now(), next));
        let (result, words) = self.change(&tunable, Value::Bytes(next), &loop_id);
        if !self.told || result != Outcome::Done {
            self.told = true;
            self.made.push(Made {
                loop_id,
                action,
                result,
                words: format!("{words}, and it follows the dirty pages from now on"),
            });
        }
    }

    /// Ends the easing.
    fn rest(&mut self) {
        (self.base, self.stepped) = (None, None);
        self.told = false;
        self.capped = false;
    }

    /// Changes a setting, after its old value is in the journal.
    fn change(&mut self, tunable: &Tunable, value: Value, loop_id: &str) -> (Outcome, String) {
        let failed =
            |error: &io::Error| (Outcome::Failed, format!("{tunable} cannot be set: {error}"));
        let now = match self.tunables.get(tunable) {
            Ok(now) => now,
            Err(error) => return failed(&error),
        };
        let from_to = format!(
            "{tunable}: {} -> {}",
            tunable.words(now),
            tunable.words(value)
        );
        if self.journal.entry(tunable).is_some_and(|entry| entry.lost) {
            return (
                Outcome::LeftAlone,
                format!("{tunable} was changed by something else"),
            );
        }
        if now == value && self.journal.entry(tunable).is_none() {
            return (
                Outcome::Done,
                format!("{tunable} is {} already", tunable.words(now)),
            );
        }
        if let Err(error) = self.journal.note(tunable, loop_id, now, value) {
            let words = format!(
                "{tunable} is not changed, because its old value cannot be recorded: {error}"
            );
            return (Outcome::Failed, words);
        }
        match self.tunables.set(tunable, value) {
            Ok(()) => (Outcome::Done, from_to),
            Err(error) => {
                let old = self.journal.entry(tunable).map(|entry| entry.old);
                if self.tunables.get(tunable).ok() == old {
                    self.journal.strike(tunable);
                }
                failed(&error)
            }
        }
    }

    fn undo(&mut self, tunables: &[Tunable]) {
        let mut told: BTreeMap<String, (Outcome, Vec<String>)> = BTreeMap::new();
        // Restore the strict limit last, to hold the client meanwhile.
        let mut tunables = tunables.to_vec();
        tunables.sort_by(|a, b| b.cmp(a));
        for tunable in tunables {
            let Some(entry) = self.journal.entry(&tunable).cloned() else {
                continue;
            };
            let (result, words) = self.put_back(&tunable, entry.old, &entry.ours, entry.lost);
            if result != Outcome::Failed {
                self.journal.strike(&tunable);
                self.stuck.remove(&tunable);
            } else if !self.stuck.insert(tunable) {
                continue;
            }
            let (worst, all) = told
                .entry(entry.loop_id)
                .or_insert((Outcome::Done, Vec::new()));
            if result != Outcome::Done {
                *worst = result;
            }
            all.extend(words);
        }
        for (loop_id, (result, words)) in told {
            if words.is_empty() {
                continue;
            }
            self.made.push(Made {
                loop_id,
                action: Action::Undo,
                result,
                words: words.join("; "),
            });
        }
    }

    fn put_back(
        &self,
        tunable: &Tunable,
        old: Value,
        ours: &[Value],
        lost: bool,
    ) -> (Outcome, Option<String>) {
        let now = match self.tunables.get(tunable) {
            Ok(now) => now,
            // The setting and its change vanished with the mount.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Outcome::Done, None),
            Err(error) => {
                return (
                    Outcome::Failed,
                    Some(format!("{tunable} cannot be read: {error}")),
                );
            }
        };
        if now == old {
            return (
                Outcome::Done,
                Some(format!("{tunable} is {} again", tunable.words(old))),
            );
        }
        if lost || !ours.contains(&now) {
            let words = format!(
                "{tunable} stays {}: something else has set it",
                tunable.words(now)
            );
            return (Outcome::LeftAlone, Some(words));
        }
        match self.tunables.set(tunable, old) {
            Ok(()) => {
                let words = format!(
                    "{tunable}: {} -> {}",
                    tunable.words(now),
                    tunable.words(old)
                );
                (Outcome::Done, Some(words))
            }
            Err(error) => (
                Outcome::Failed,
                Some(format!("{tunable} cannot be restored: {error}")),
            ),
        }
    }

    fn action_for(&self, loop_id: &str) -> Action {
        let holds = self.wanted.holds.iter();
        let mut actions = holds
            .filter(|hold| hold.loop_id == loop_id)
            .map(|hold| hold.action);
        actions.next().unwrap_or(Action::Undo)
    }

    fn tell_lost(&mut self, tunable: &Tunable, loop_id: &str, action: Action, now: Value) {
        self.made.push(Made {
            loop_id: loop_id.to_owned(),
            action,
            result: Outcome::LeftAlone,
            words: format!(
                "{tunable} is {} now: something else has set it, and it stays",
                tunable.words(now)
            ),
        });
    }
}
