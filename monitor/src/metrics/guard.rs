//! The guard's mode and actions.

use monitor_model::guard::Mode;
use prometheus::Result;

use super::family::{Family, MetricsPage};
use crate::guard::GuardNow;

pub(super) fn write(guard: &GuardNow, page: &mut MetricsPage) -> Result<()> {
    let mut mode = Family::gauge(
        "throttle_guard_mode",
        "What the guard may do: 0 nothing, 1 advise, 2 prevent, 3 break. Source: --guard.",
    );
    mode.add(&[], guard.mode.metric());
    page.put(mode)?;
    if guard.mode == Mode::Off {
        return Ok(());
    }
    if let Some(up) = guard.helper_up {
        let mut helper = Family::gauge(
            "throttle_guard_helper_up",
            "Whether the process that changes settings for the guard answers: 0 or 1. Source: its answers, one a tick.",
        );
        helper.add(&[], f64::from(u8::from(up)));
        page.put(helper)?;
    }
    if let Some(count) = guard.helper_restarts {
        let mut restarts = Family::counter(
            "throttle_guard_helper_restarts_total",
            "How often the daemon has started its own helper again after it ended. Source: the daemon.",
        );
        restarts.add(&[], count as f64);
        page.put(restarts)?;
    }
    let mut actions = Family::counter(
        "throttle_guard_actions_total",
        "Actions of the guard (prevent, break, undo) by what came of them (advised, done, failed, left_alone, refused), since the daemon started. Source: the guard.",
    );
    for (action, result, count) in guard.tallies.all() {
        let labels = [("action", action.as_str()), ("result", result.as_str())];
        actions.add(&labels, count as f64);
    }
    page.put(actions)?;
    let mut active = Family::gauge(
        "throttle_guard_active",
        "Always 1: a setting that the guard has changed and not yet put back (strict_limit, max_ratio, dirty_background_bytes, dirty_bytes). Source: the guard.",
    );
    for (name, measure) in &guard.active {
        active.add(&[("loop", name), ("measure", measure)], 1.0);
    }
    page.put(active)
}
