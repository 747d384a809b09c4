//! What a lane is made with, and whether another request for a lane of its name can mean it.

use std::any::TypeId;

use super::waiting::KeyOrder;

/// What a lane is made with.
#[derive(Clone, Debug)]
pub(crate) struct LaneSettings {
    pub(crate) limit: usize,
    pub(crate) queue_limit: Option<usize>,
    pub(crate) reserve: Option<usize>,
    pub(crate) weight: Option<usize>,
    pub(crate) keys: Option<KeySettings>,
}

/// What a keyed lane is made with.
#[derive(Clone, Debug)]
pub(crate) struct KeySettings {
    /// The type of its keys.
    pub(crate) key: TypeId,
    pub(crate) key_name: &'static str,
    pub(crate) per_key: usize,
    /// Whether `per_key` has been set, and is not the default.
    pub(crate) is_set: bool,
    /// Makes the order of its tasks. A pointer, so that a program without keyed lanes has none of
    /// that code.
    pub(crate) order: fn(usize) -> Box<dyn KeyOrder>,
}

impl LaneSettings {
    /// A plain lane of this limit.
    #[cfg(test)]
    pub(crate) fn of(limit: usize) -> Self {
        LaneSettings { limit, queue_limit: None, reserve: None, weight: None, keys: None }
    }

    /// Why a lane that was made with `self` is not the one that `wanted` asks for: what differs,
    /// with both values. What `wanted` leaves open does not differ.
    pub(crate) fn conflict(&self, wanted: &LaneSettings) -> Option<String> {
        let number = |field: &str, has: Option<usize>, wants: Option<usize>| {
            let wants = wants.filter(|wants| has != Some(*wants))?;
            let has = has.map_or("none".to_owned(), |has| has.to_string());
            Some(format!("{field} {has}, and not {wants}"))
        };
        self.key_conflict(wanted)
            .or_else(|| number("limit", Some(self.limit), Some(wanted.limit)))
            .or_else(|| number("queue_limit", self.queue_limit, wanted.queue_limit))
            .or_else(|| number("reserve", Some(self.reserve.unwrap_or(0)), wanted.reserve))
            .or_else(|| number("share", self.weight, wanted.weight))
    }

    fn key_conflict(&self, wanted: &LaneSettings) -> Option<String> {
        match (&self.keys, &wanted.keys) {
            (None, None) => None,
            (Some(has), None) => Some(format!("keys of type {}", has.key_name)),
            (None, Some(_)) => Some("no keys".to_owned()),
            (Some(has), Some(wants)) if has.key != wants.key => {
                Some(format!("keys of type {}, and not {}", has.key_name, wants.key_name))
            }
            (Some(has), Some(wants)) if wants.is_set && has.per_key != wants.per_key => {
                Some(format!("per_key {}, and not {}", has.per_key, wants.per_key))
            }
            _ => None,
        }
    }
}
