//! One play: of a guest, or of a guest and its monitoring stack.

use anyhow::Result;
use guest::Fact;

use crate::{
    Files, across, alerts, initramfs,
    judge::{self, Judgement},
    kernels::Kernel,
    qemu::{self, Outcome},
    scenario::{Expect, Scenario},
};

/// Plays a scenario and judges it; `each` receives the facts at once.
pub fn play(
    kernel: Kernel,
    scenario: &Scenario,
    files: &Files,
    each: &mut dyn FnMut(usize, &Fact),
) -> Result<(Outcome, Judgement)> {
    if matches!(scenario.expect, Expect::Told) {
        return alerts::play(kernel, files, each);
    }
    if let Expect::Across(wanted) = scenario.expect {
        return across::play(kernel, scenario, wanted, files, each);
    }
    let base = initramfs::base(kernel, &scenario.parts(), files)?;
    let outcome = qemu::play(kernel, scenario, &base, files, each)?;
    let judgement = judge::judge(scenario, &outcome);
    Ok((outcome, judgement))
}
