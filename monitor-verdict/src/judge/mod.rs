//! Judges one loop: conditions and time become a state.

mod conditions;
mod loop_judge;
mod machine;

pub(crate) use loop_judge::LoopJudge;
