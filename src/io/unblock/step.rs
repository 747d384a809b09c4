//! What can be done with the value of an `Unblock`: what it is able to do, the steps, and what
//! comes of them.

use std::any::Any;
use std::io::{self, SeekFrom};

use super::items::{Items, ItemsOf};
use super::known::{ReadCached, SeekBy};

/// Where the value is.
pub(super) enum Place<T> {
    /// Here, and nobody works with it.
    Home(T),
    /// Here, and a pump has been asked for.
    Queued(T),
    /// Here, and the pump comes back for it: it wakes others, or looks for a while whether it is
    /// asked for more.
    Watched(T),
    /// With the pump.
    Out,
    /// With the handle, or gone.
    Lent,
    /// It has panicked.
    Poisoned(Poison),
}

/// What a panic in the value has left.
pub(super) struct Poison {
    pub(super) message: String,
    /// For a stream, which has no other way to tell.
    pub(super) payload: Option<Box<dyn Any + Send>>,
}

/// What the value is able to do, as far as the calls of the handle have shown.
pub(super) struct Able<T> {
    pub(super) read: Option<Reading<T>>,
    pub(super) write: Option<Writing<T>>,
    pub(super) seek: Option<SeekBy<T>>,
    pub(super) items: Option<ItemsOf<T>>,
    pub(super) read_cached: Option<ReadCached<T>>,
    /// It keeps nothing that a flush would have to write.
    pub(super) writes_through: bool,
}

/// `Read::read` of a value.
pub(super) type Reading<T> = fn(&mut T, &mut [u8]) -> io::Result<usize>;

/// `Write::write` and `Write::flush` of a value.
pub(super) struct Writing<T> {
    pub(super) write: fn(&mut T, &[u8]) -> io::Result<usize>,
    pub(super) flush: fn(&mut T) -> io::Result<()>,
}

impl<T> Clone for Writing<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Writing<T> {}

/// A seek that the caller asked for.
pub(super) enum Seeking {
    No,
    Wanted(SeekFrom),
    Running,
    Done(SeekFrom, io::Result<u64>),
}

/// A closure of `with_mut`.
pub(super) type Call<T> = Box<dyn FnOnce(&mut T) + Send>;

/// What the pump should do with the value, as far as it can be said without changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Rewind,
    Write,
    Flush,
    Seek,
    Call,
    Probe,
    Read,
    Pull,
    /// Nothing, until something is asked.
    Rest,
    /// Nothing ever again: the handle is gone.
    End,
}

/// What the pump does with the value.
pub(super) enum Step<T> {
    /// Moves the value back by so many bytes, which were read ahead.
    Rewind(SeekBy<T>, usize),
    /// Writes the bytes from the given one on.
    Write(Writing<T>, Vec<u8>, usize),
    Flush(Writing<T>),
    /// Seeks; the value is so many bytes ahead of the caller.
    Seek(SeekBy<T>, SeekFrom, usize),
    Call(Call<T>),
    /// Asks where the value is, to know whether it can seek.
    Probe(SeekBy<T>),
    /// Reads into the buffer, or one of the given size.
    Read(Reading<T>, Option<Vec<u8>>, usize),
    /// Takes up to so many items.
    Pull(ItemsOf<T>, Items, usize),
    Rest,
    End,
}

/// What came of it.
pub(super) enum Outcome {
    Rewound(io::Result<()>),
    Wrote(Vec<u8>, usize, io::Result<()>),
    Flushed(io::Result<()>),
    /// The result, and whether the value has left the place up to which it was read.
    Sought(SeekFrom, io::Result<u64>, bool),
    Called,
    Probed(io::Result<u64>),
    Read(Vec<u8>, io::Result<usize>),
    /// The items, how many, and whether there are no more.
    Pulled(Items, usize, bool),
}

/// What a step has left, to be dropped outside of the lock.
#[derive(Default)]
pub(super) struct Left {
    /// An error that nobody can be told.
    pub(super) untold: Option<io::Error>,
    /// One that nobody needs to be told.
    pub(super) useless: Option<io::Error>,
    /// What nobody can be given.
    pub(super) items: Option<Items>,
}

impl Left {
    /// Adds an error that nobody can be told. Of two the first is kept, since it came first.
    pub(super) fn tell(&mut self, error: Option<io::Error>) {
        if self.untold.is_none() {
            self.untold = error;
        } else {
            self.useless = error;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.untold.is_none() && self.useless.is_none() && self.items.is_none()
    }
}
