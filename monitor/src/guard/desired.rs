//! The desired value of each setting, within the kernel's bounds.

use std::collections::BTreeMap;

use monitor_model::guard::{Action, DesiredState, Hold};

use super::tunables::{Bdi, FINE_PER_PERCENT, Tunable, Value};

/// Minimum of the background limit, bytes: 0 would select the percentage.
const LEAST_BACKGROUND: u64 = 4096;

/// The desired value of a setting, and its loop.
pub(super) struct DesiredValue {
    pub(super) value: Value,
    pub(super) loop_id: String,
    pub(super) action: Action,
}

/// If two loops share a BDI, the tighter limit counts.
pub(super) fn desired(wanted: &DesiredState) -> BTreeMap<Tunable, DesiredValue> {
    let mut all = BTreeMap::new();
    for hold in &wanted.holds {
        let Hold {
            loop_id,
            action,
            bdi,
            strict_limit,
            max_ratio,
            background_bytes,
        } = hold;
        let Ok(bdi) = Bdi::try_from(bdi.to_string()) else {
            continue;
        };
        let wish = |value| DesiredValue {
            value,
            loop_id: loop_id.to_string(),
            action: *action,
        };
        if let Some(bytes) = background_bytes {
            let bytes = (*bytes).max(LEAST_BACKGROUND);
            all.insert(Tunable::Background, wish(Value::Bytes(bytes)));
        }
        if *strict_limit {
            all.insert(Tunable::StrictLimit(bdi.clone()), wish(Value::Number(1)));
        }
        let Some(ratio) = max_ratio.map(|ratio| u64::from(ratio.clamp(1, 100)) * FINE_PER_PERCENT)
        else {
            continue;
        };
        let tunable = Tunable::MaxRatio(bdi);
        let is_tighter =
            |there: &DesiredValue| matches!(there.value, Value::Number(value) if value <= ratio);
        if !all.get(&tunable).is_some_and(is_tighter) {
            all.insert(tunable, wish(Value::Number(ratio)));
        }
    }
    all
}

/// For any desired state, each setting has a value that the kernel accepts.
#[cfg(any(test, fuzzing))]
pub fn check(wanted: &DesiredState) {
    for (tunable, wish) in desired(wanted) {
        let fits = match (&tunable, wish.value) {
            (Tunable::StrictLimit(_), Value::Number(value)) => value == 1,
            (Tunable::MaxRatio(_), Value::Number(fine)) => {
                (FINE_PER_PERCENT..=100 * FINE_PER_PERCENT).contains(&fine)
            }
            (Tunable::Background, Value::Bytes(bytes)) => bytes >= LEAST_BACKGROUND,
            _ => false,
        };
        assert!(fits, "{tunable}: {:?}", wish.value);
    }
}
