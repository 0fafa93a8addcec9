//! What was seen to come of each action, in guests: a server in a network
//! namespace of its own, four endless buffered writers, 320 MB of memory, a
//! disk of 30-100 MB/s; each watched for a minute.

use super::action::Action;

/// A kernel on which it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    V5_10,
    V6_1,
    V6_12,
    V7_2,
}

impl Kernel {
    pub const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7_2];

    pub const fn version(self) -> (u32, u32) {
        match self {
            Self::V5_10 => (5, 10),
            Self::V6_1 => (6, 1),
            Self::V6_12 => (6, 12),
            Self::V7_2 => (7, 2),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_2 => "7.2",
        }
    }

    /// The one that is most alike. 5.16 changed reclaim's sleeps, 6.2 brought
    /// `strict_limit`, 7.0 is where the last of them begin to differ.
    pub fn nearest(release: (u32, u32)) -> Self {
        match release {
            release if release < (5, 16) => Self::V5_10,
            release if release < (6, 2) => Self::V6_1,
            release if release < (7, 0) => Self::V6_12,
            _ => Self::V7_2,
        }
    }
}

/// What came of an action on one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It went on, and stayed so; or it never stopped.
    Helped(&'static str),
    /// It went on, with a stop.
    Partly(&'static str),
    /// It stood still, or did again at once.
    InVain(&'static str),
    /// Nobody tried, or the kernel cannot.
    Unmeasured,
}

impl Outcome {
    pub const fn words(self) -> Option<&'static str> {
        match self {
            Self::Helped(words) | Self::Partly(words) | Self::InVain(words) => Some(words),
            Self::Unmeasured => None,
        }
    }
}

/// An action, with what came of it on [`Kernel::ALL`].
pub(super) struct Row {
    pub action: Action,
    pub outcomes: [Outcome; 4],
}

impl Row {
    pub const fn on(&self, kernel: Kernel) -> Outcome {
        let [v5_10, v6_1, v6_12, v7_2] = self.outcomes;
        match kernel {
            Kernel::V5_10 => v5_10,
            Kernel::V6_1 => v6_1,
            Kernel::V6_12 => v6_12,
            Kernel::V7_2 => v7_2,
        }
    }
}

use Outcome::{Helped, InVain, Partly, Unmeasured};

/// On a loop that stands still. Of what helps as well, what stops nobody is
/// first.
pub(super) const WAYS_OUT: &[Row] = &[
    Row {
        action: Action::StrictDirtyBytes,
        outcomes: [
            Unmeasured,
            Unmeasured,
            Helped("went on within 1 s and stayed so"),
            Unmeasured,
        ],
    },
    Row {
        action: Action::StopDirtyBytes,
        outcomes: [
            Unmeasured,
            Unmeasured,
            Helped("all was written in 2 s"),
            Unmeasured,
        ],
    },
    Row {
        action: Action::DirtyBytes,
        outcomes: [
            InVain(
                "moved after 1.1 s, then stood still for 58 s at the new limit; in an earlier run it \
                 went on",
            ),
            Helped("went on after 0.6 s without another stop, 14.7 MB/s"),
            InVain("moved for 2 s, then stood still for 57 s at the new limit"),
            Unmeasured,
        ],
    },
    Row {
        action: Action::MaxRatioDirtyBytes,
        outcomes: [
            Partly("went on after 1.1 s, stood still once more for 34 s, then 16 MB/s"),
            Helped("went on after 1.3 s without another stop, 18.7 MB/s"),
            InVain("moved after 0.5 s, then stood still for 59 s"),
            Partly("went on after 0.5 s, no stop over 1.5 s, 25 MB/s; one OOM kill"),
        ],
    },
    Row {
        action: Action::KillDirtyBytes,
        outcomes: [Unmeasured; 4],
    },
    Row {
        action: Action::Strict,
        outcomes: [Unmeasured; 4],
    },
    Row {
        action: Action::MaxRatio,
        outcomes: [Unmeasured, Unmeasured, InVain("nothing"), Unmeasured],
    },
    Row {
        action: Action::StrictLimit,
        outcomes: [Unmeasured, Unmeasured, InVain("nothing"), Unmeasured],
    },
    Row {
        action: Action::MaxBytes,
        outcomes: [Unmeasured, Unmeasured, InVain("nothing"), Unmeasured],
    },
    Row {
        action: Action::Sync,
        outcomes: [Unmeasured, Unmeasured, InVain("hangs itself"), Unmeasured],
    },
    Row {
        action: Action::KillWriters,
        outcomes: [
            Unmeasured,
            Unmeasured,
            InVain("nothing for 20 s"),
            Unmeasured,
        ],
    },
];

/// Before the load.
pub(super) const PREVENTIONS: &[Row] = &[
    Row {
        action: Action::HoldTenth,
        outcomes: [
            Unmeasured,
            Unmeasured,
            Helped("never stood still, 22.5 MB/s"),
            Helped("never stood still, 22.3 MB/s"),
        ],
    },
    Row {
        action: Action::MaxRatio,
        outcomes: [
            Unmeasured,
            Unmeasured,
            InVain("stood still all the same"),
            Unmeasured,
        ],
    },
    Row {
        action: Action::StrictLimit,
        outcomes: [
            Unmeasured,
            Unmeasured,
            InVain("stood still all the same"),
            Unmeasured,
        ],
    },
];
