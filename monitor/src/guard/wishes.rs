//! What is wanted, setting by setting, with values that the kernel takes.

use std::collections::BTreeMap;

use monitor_model::guard::{Action, Hold, Wanted};

use super::knobs::{Bdi, FINE_PER_PERCENT, Knob, Value};

/// Of the background limit, bytes: 0 would mean that percent count.
const LEAST_BACKGROUND: u64 = 4096;

/// What a setting is to be, and for whom.
pub(super) struct Wish {
    pub(super) value: Value,
    pub(super) loop_id: String,
    pub(super) action: Action,
}

/// Of two loops on one BDI the tighter limit counts.
pub(super) fn desired(wanted: &Wanted) -> BTreeMap<Knob, Wish> {
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
        let wish = |value| Wish {
            value,
            loop_id: loop_id.to_string(),
            action: *action,
        };
        if let Some(bytes) = background_bytes {
            let bytes = (*bytes).max(LEAST_BACKGROUND);
            all.insert(Knob::Background, wish(Value::Bytes(bytes)));
        }
        if *strict_limit {
            all.insert(Knob::StrictLimit(bdi.clone()), wish(Value::Number(1)));
        }
        let Some(ratio) = max_ratio.map(|ratio| u64::from(ratio.clamp(1, 100)) * FINE_PER_PERCENT)
        else {
            continue;
        };
        let knob = Knob::MaxRatio(bdi);
        let is_tighter =
            |there: &Wish| matches!(there.value, Value::Number(value) if value <= ratio);
        if !all.get(&knob).is_some_and(is_tighter) {
            all.insert(knob, wish(Value::Number(ratio)));
        }
    }
    all
}

/// Whatever is wanted, each setting has a value that the kernel takes.
#[cfg(any(test, fuzzing))]
pub fn check(wanted: &Wanted) {
    for (knob, wish) in desired(wanted) {
        let fits = match (&knob, wish.value) {
            (Knob::StrictLimit(_), Value::Number(value)) => value == 1,
            (Knob::MaxRatio(_), Value::Number(fine)) => {
                (FINE_PER_PERCENT..=100 * FINE_PER_PERCENT).contains(&fine)
            }
            (Knob::Background, Value::Bytes(bytes)) => bytes >= LEAST_BACKGROUND,
            _ => false,
        };
        assert!(fits, "{knob}: {:?}", wish.value);
    }
}
