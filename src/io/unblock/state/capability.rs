//! What a value is able to do: what the calls of the handle have shown, and what is known of the
//! types of `std`.
//!
//! An `Unblock` is one type for all values, so `Read`, `Write`, `Seek` and `Iterator` are no bounds
//! of it. Each call of the handle has the bound, and leaves the function of its trait here, for the
//! pump.
//!
//! # The table of the types of `std`
//!
//! A reader that is asked ahead of its caller has moved on too far when the caller turns to
//! writing, or wants the value back. A value that can seek is moved back then. That a type can seek
//! is known where `Seek` is a bound, but `Unblock::new` has none; so the types of `std` are
//! recognised by their `TypeId`, and others are declared by `Unblock::seekable`.
//!
//! One that cannot seek must not be read ahead if it can also be written to: the read would block
//! until the peer sends something, which it may do only once it has got the answer that waits
//! behind the read. That a type can not be written to no bound can say, so again those of `std` are
//! listed, and others are declared by `Unblock::read_ahead`.

use std::any::{Any, TypeId};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Empty, Read, Repeat, Seek, SeekFrom, Stdin};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;

use crate::io::unblock::buffers::items::Items;
use crate::sys::descriptor::{DescriptorOf, descriptor_of};
use crate::sys::pipe::{PipeTypes, StdPipes};
use crate::sys::pread::{self, Cached};

/// What the value is able to do, as far as the calls of the handle have shown.
pub(crate) struct Capabilities<T> {
    pub(crate) read: Option<ReadFn<T>>,
    pub(crate) write: Option<WriteFns<T>>,
    pub(crate) seek: Option<SeekFn<T>>,
    pub(crate) pull: Option<PullFn<T>>,
    /// Reads of the page cache are worth a try.
    pub(crate) page_cache: bool,
    /// Whether the value is read past the page cache, until that has been asked.
    pub(crate) bypasses_cache: Option<fn(&T) -> bool>,
    /// The value keeps nothing that a flush would have to write.
    pub(crate) writes_through: bool,
    /// How the descriptor of the value is found, which may be one to wait for.
    pub(crate) descriptor: Option<DescriptorOf<T>>,
}

impl<T: 'static> Capabilities<T> {
    /// What the type alone shows.
    pub(crate) fn of_type() -> Self {
        Capabilities {
            read: None,
            write: None,
            seek: seek(),
            pull: None,
            page_cache: cfg!(target_os = "linux") && is_file::<T>(),
            bypasses_cache: Some(bypasses_cache),
            writes_through: is_file::<T>(),
            descriptor: descriptor_of::<T>(),
        }
    }
}

/// `Read::read` of a value.
pub(crate) type ReadFn<T> = fn(&mut T, &mut [u8]) -> io::Result<usize>;

/// Reads what the page cache has of a value, without blocking.
pub(crate) type PageCacheFn<T> = fn(&T, &mut [u8]) -> Cached;

/// `Seek::seek` of a value.
pub(crate) type SeekFn<T> = fn(&mut T, SeekFrom) -> io::Result<u64>;

/// Takes up to so many items from an iterator. Returns how many there were, and whether the
/// iterator has ended.
pub(crate) type PullFn<T> = fn(&mut T, &mut Items, usize) -> (usize, bool);

/// `Write::write` and `Write::flush` of a value.
pub(crate) struct WriteFns<T> {
    pub(crate) write: fn(&mut T, &[u8]) -> io::Result<usize>,
    pub(crate) flush: fn(&mut T) -> io::Result<()>,
}

impl<T> Clone for WriteFns<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for WriteFns<T> {}

macro_rules! seekable {
    ($($type:ty),+ $(,)?) => {
        fn is_seekable(id: TypeId) -> bool {
            [$(TypeId::of::<$type>()),+].contains(&id)
        }

        fn seek_listed<T: 'static>(value: &mut T, to: SeekFrom) -> io::Result<u64> {
            let value: &mut dyn Any = value;
            $(if let Some(value) = value.downcast_mut::<$type>() {
                return value.seek(to);
            })+
            Err(io::ErrorKind::NotSeekable.into())
        }
    };
}

seekable! {
    File,
    Arc<File>,
    BufReader<File>,
    Cursor<Vec<u8>>,
    Cursor<Box<[u8]>>,
    Cursor<&'static [u8]>,
    Cursor<String>,
    Cursor<&'static str>,
    Empty,
}

/// How to seek in a `T`, if the type is listed.
pub(crate) fn seek<T: 'static>() -> Option<SeekFn<T>> {
    is_seekable(TypeId::of::<T>()).then_some(seek_listed::<T>)
}

/// Whether a `T` is a file, as opposed to other types with a descriptor: its flush does nothing,
/// the page cache may have its bytes, and closing it means a flush if it is a regular one.
pub(crate) fn is_file<T: 'static>() -> bool {
    [TypeId::of::<File>(), TypeId::of::<Arc<File>>()].contains(&TypeId::of::<T>())
}

/// The value as a file, if it is one.
pub(crate) fn as_file<T: 'static>(value: &T) -> Option<&File> {
    let value: &dyn Any = value;
    value.downcast_ref::<File>().or_else(|| value.downcast_ref::<Arc<File>>().map(|file| &**file))
}

/// Whether the value is a file that is read and written past the page cache.
pub(crate) fn bypasses_cache<T: 'static>(value: &T) -> bool {
    as_file(value).is_some_and(pread::bypasses_cache)
}

/// Whether the value is a file that is none on a disk, but a device, a pipe or the like: a seek may
/// succeed there and do nothing.
pub(crate) fn is_device<T: 'static>(value: &T) -> bool {
    as_file(value).is_some_and(|file| file.metadata().is_ok_and(|metadata| !metadata.is_file()))
}

/// Whether a `T` is known not to be one that can be written to but not seek.
pub(crate) fn may_read_ahead<T: 'static>() -> bool {
    let only_read = [
        TypeId::of::<ChildStdout>(),
        TypeId::of::<ChildStderr>(),
        TypeId::of::<<StdPipes as PipeTypes>::Reader>(),
        TypeId::of::<Stdin>(),
        TypeId::of::<Repeat>(),
        TypeId::of::<&'static [u8]>(),
        TypeId::of::<Box<dyn Read + Send>>(),
        TypeId::of::<Box<dyn Read + Send + Sync>>(),
    ];
    let id = TypeId::of::<T>();
    is_seekable(id) || only_read.contains(&id)
}

#[cfg(test)]
mod tests;
