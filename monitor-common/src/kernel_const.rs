//! What differs from kernel to kernel and stands in the instructions themselves.
//!
//! The verifier takes a load from a tracepoint's record or from a BTF pointer only at an
//! offset that it knows, and what is looked up at each event costs at each event. C
//! has relocations for this (CO-RE), rustc emits none. So such a load is compiled with
//! an offset that no field has, and the daemon puts the true one there before the
//! programs are loaded.

/// Loads of at most this many bytes from the placeholder on belong to it.
const ROOM: i16 = 32;
/// The first placeholder: no record and no struct is that long.
const FIRST: i16 = 0x6000;

/// Something that only the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum KernelConst {
    /// `balance_dirty_pages`: `bdi`.
    PauseBdi,
    /// `balance_dirty_pages`: `limit`.
    PauseLimit,
    /// `balance_dirty_pages`: `dirty`.
    PauseDirty,
    /// `balance_dirty_pages`: `bdi_setpoint` or `wb_setpoint`.
    PauseBdiSetpoint,
    /// `balance_dirty_pages`: `bdi_dirty` or `wb_dirty`.
    PauseBdiDirty,
    /// `balance_dirty_pages`: `task_ratelimit`.
    PauseTaskRatelimit,
    /// `balance_dirty_pages`: `paused`.
    PausePaused,
    /// `balance_dirty_pages`: `pause`.
    PausePause,
    /// `balance_dirty_pages`: `cgroup_ino`.
    PauseCgroup,
}

impl KernelConst {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::PauseBdi,
        Self::PauseLimit,
        Self::PauseDirty,
        Self::PauseBdiSetpoint,
        Self::PauseBdiDirty,
        Self::PauseTaskRatelimit,
        Self::PausePaused,
        Self::PausePause,
        Self::PauseCgroup,
    ];

    /// The offset that it is compiled with.
    #[must_use]
    pub const fn placeholder(self) -> i16 {
        FIRST + self as i16 * ROOM
    }

    /// Which of them an offset in an instruction stands for, and how far behind its
    /// beginning.
    #[must_use]
    pub fn at(offset: i16) -> Option<(Self, i16)> {
        let behind = offset.checked_sub(FIRST)?;
        let index = usize::try_from(behind / ROOM).ok()?;
        Some((*Self::ALL.get(index)?, behind % ROOM)).filter(|_| behind >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_and_what_lies_behind_it_are_found_again() {
        for known in KernelConst::ALL {
            let at = known.placeholder();
            assert_eq!(KernelConst::at(at), Some((known, 0)));
            assert_eq!(KernelConst::at(at + ROOM - 8), Some((known, ROOM - 8)));
        }
        for none in [0, FIRST - 1, i16::MIN, i16::MAX] {
            assert_eq!(KernelConst::at(none), None);
        }
    }
}
