//! What is known of the types of `std` that an `Unblock` may wrap.
//!
//! A reader that is asked ahead of its caller has moved on too far when the caller turns to
//! writing, or wants the value back. A value that can seek is moved back then. That a type can seek
//! is known where `Seek` is a bound, but `Unblock::new` has none; so the types of `std` are told by
//! their `TypeId`, and others are declared by `Unblock::seekable`.
//!
//! One that cannot seek must not be read ahead if it can also be written to: the read would block
//! until the peer sends something, which it may do only once it has got the answer that waits
//! behind the read. That a type can not be written to no bound can say, so again those of `std` are
//! listed, and others are declared by `Unblock::read_ahead`.

use std::any::{Any, TypeId};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Empty, PipeReader, Read, Repeat, Seek, SeekFrom, Stdin};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;

use crate::sys::pread::{self, Cached};

/// Calls `Seek::seek` of a value whose type is listed.
pub(super) type SeekBy<T> = fn(&mut T, SeekFrom) -> io::Result<u64>;

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

/// How to seek in a `T`, if that is listed.
pub(super) fn seek<T: 'static>() -> Option<SeekBy<T>> {
    is_seekable(TypeId::of::<T>()).then_some(seek_listed::<T>)
}

/// Reads from a value without blocking, as [`pread::read`] does.
pub(super) type ReadCached<T> = fn(&T, &mut [u8]) -> Cached;

/// Whether a `T` is a file, the flush of which does nothing.
pub(super) fn writes_through<T: 'static>() -> bool {
    [TypeId::of::<File>(), TypeId::of::<Arc<File>>()].contains(&TypeId::of::<T>())
}

/// How to read from a `T` without blocking, if it is a file.
pub(super) fn read_cached<T: 'static>() -> Option<ReadCached<T>> {
    fn read<T: 'static>(value: &T, buffer: &mut [u8]) -> Cached {
        let value: &dyn Any = value;
        let file = value.downcast_ref::<File>();
        let file = file.or_else(|| value.downcast_ref::<Arc<File>>().map(|file| &**file));
        file.map_or(Cached::Never, |file| pread::read(file, buffer, None))
    }
    (writes_through::<T>() && cfg!(target_os = "linux")).then_some(read::<T>)
}

/// Whether a `T` is known not to be one that can be written to but not seek.
pub(super) fn may_read_ahead<T: 'static>() -> bool {
    let only_read = [
        TypeId::of::<ChildStdout>(),
        TypeId::of::<ChildStderr>(),
        TypeId::of::<PipeReader>(),
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
