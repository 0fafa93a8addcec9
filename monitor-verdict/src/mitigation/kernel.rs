//! The kernels on which the actions were measured.

/// A kernel on which actions were measured.
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
    /// `strict_limit`; what differs between 6.12 and 7.2 is somewhere between.
    pub fn nearest(release: (u32, u32)) -> Self {
        match release {
            release if release < (5, 16) => Self::V5_10,
            release if release < (6, 2) => Self::V6_1,
            release if release < (7, 0) => Self::V6_12,
            _ => Self::V7_2,
        }
    }
}
