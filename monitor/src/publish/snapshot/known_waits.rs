//! Which (cause, class) pairs ever waited.

use monitor_common::{Cause, Class};
use monitor_model::observation::Observation;

// One bit for each pair.
const _: () = assert!(
    Cause::ALL.len() * Class::ALL.len() <= 128,
    "more pairs than bits"
);

/// The (cause, class) pairs that ever waited: a series that was there once
/// stays, at zero, rather than vanish with the wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownWaits(u128);

impl KnownWaits {
    /// Remembers the pairs of this observation, finished waits and lasting.
    pub fn learn(&mut self, observation: &Observation) {
        for delay in &observation.delays {
            self.insert(delay.cause, delay.class);
        }
        for wait in &observation.waits {
            self.insert(wait.cause, wait.class);
        }
    }

    /// Remembers one pair.
    pub const fn insert(&mut self, cause: Cause, class: Class) {
        self.0 |= Self::bit(cause, class);
    }

    /// The pairs, in the order of the words' numbers.
    pub fn iter(self) -> impl Iterator<Item = (Cause, Class)> {
        Cause::ALL
            .iter()
            .flat_map(|&cause| Class::ALL.iter().map(move |&class| (cause, class)))
            .filter(move |&(cause, class)| self.0 & Self::bit(cause, class) != 0)
    }

    const fn bit(cause: Cause, class: Class) -> u128 {
        // The words are numbered from zero without a gap.
        1 << (cause as usize * Class::ALL.len() + class as usize)
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::{Cause, Class};

    use super::KnownWaits;

    #[test]
    fn every_pair_has_a_bit_of_its_own() {
        let mut known = KnownWaits::default();
        let mut pairs = Vec::new();
        for &cause in Cause::ALL {
            for &class in Class::ALL {
                known.insert(cause, class);
                pairs.push((cause, class));
                assert!(
                    known.iter().eq(pairs.iter().copied()),
                    "after {cause:?} {class:?}"
                );
            }
        }
    }
}
