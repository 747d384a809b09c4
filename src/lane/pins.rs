//! What a keyed lane answers about its keys. The protocol is that of `keyed`.

use std::sync::Arc;

use super::LaneCore;
use super::deadlock::HeldSlot;
use super::waiting::{ErasedKey, KeyId};
use crate::task::TaskRef;

impl LaneCore {
    /// A pin on a key of this hash whose number is above `after`, and the key; or on what `fresh`
    /// returns, which is a new key then. `fresh` runs no user code. `None` in a forked child.
    pub(crate) fn pin_key(
        &self,
        hash: u64,
        after: u64,
        fresh: &mut dyn FnMut() -> ErasedKey,
    ) -> Option<(KeyId, Option<ErasedKey>)> {
        Some(self.queue.lock()?.waiting.order()?.pin(hash, after, fresh))
    }

    /// Takes a pin off.
    pub(crate) fn unpin_key(&self, key: KeyId) {
        let Some(mut queue) = self.queue.lock() else { return };
        queue.waiting.order().into_iter().for_each(|order| order.unpin(key));
        let gone = queue.waiting.take_gone();
        drop(queue);
        drop(gone);
    }

    /// How many keys there are. Those whose tasks have all been cancelled are let go first.
    pub(crate) fn keys(&self) -> usize {
        let Some(mut queue) = self.queue.lock() else { return 0 };
        let swept = queue.sweep_beyond(|| self.account.counters.counts().tasks.queued());
        if swept.is_some() {
            self.show_waiting(&queue);
        }
        let keys = queue.waiting.order().map_or(0, |order| order.keys());
        drop(queue);
        // The drop of the last reference to a tombstone, and of a key, may run user code.
        drop(swept);
        keys
    }

    /// The slot that `task` holds, which has begun.
    pub(crate) fn slot_of(&self, task: &TaskRef) -> HeldSlot {
        let key = self.settings.keys.as_ref().and_then(|keys| {
            let key = self.key_of(task)?;
            Some((key, keys.per_key))
        });
        HeldSlot { lane: self.owner().addr(), limit: Arc::clone(&self.limit), key }
    }

    /// The key under which `task` waits, or whose place it has.
    pub(crate) fn key_of(&self, task: &TaskRef) -> Option<KeyId> {
        self.settings.keys.as_ref()?;
        self.queue.lock()?.waiting.order()?.key_of(task)
    }
}
