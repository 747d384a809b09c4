//! An `UnsafeCell` whose every access is a closure, so that loom can check that no two of them
//! overlap, and a mark by which it sees that what carries it is freed.

#[cfg(sidestep_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// `std::cell::UnsafeCell` with loom's shape.
#[cfg(not(sidestep_loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(sidestep_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for reading and writing.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// What carries this must be dropped before a model ends. Elsewhere it is nothing.
#[derive(Debug)]
pub(crate) struct Tracked {
    #[cfg(sidestep_loom)]
    _track: loom::alloc::Track<()>,
    #[cfg(sidestep_loom)]
    uses: UnsafeCell<()>,
}

#[cfg(sidestep_loom)]
// SAFETY: there is no value that could be used, and the checker allows for several threads.
unsafe impl Sync for Tracked {}

impl Tracked {
    pub(crate) fn new() -> Self {
        Tracked {
            #[cfg(sidestep_loom)]
            _track: loom::alloc::Track::new(()),
            #[cfg(sidestep_loom)]
            uses: UnsafeCell::new(()),
        }
    }

    /// What carries this has been used by this thread, perhaps beside others.
    pub(crate) fn share(&self) {
        #[cfg(sidestep_loom)]
        self.uses.with(|_| ());
    }

    /// From here on what carries this is the caller's alone: the checker sees that every use comes
    /// before.
    pub(crate) fn own(&self) {
        #[cfg(sidestep_loom)]
        self.uses.with_mut(|_| ());
    }
}
