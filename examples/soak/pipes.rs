//! Files that are no files: FIFOs, pseudoterminals, sockets. What is written at one end arrives at
//! the other; ends that are dropped while they wait leave nothing behind.

use std::{
    ffi::CString,
    io,
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_lite::future::poll_once;
use futures_util::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
    future::{join, try_join},
};
use sidestep::{Unblock, fs};

use crate::{
    dice::Dice,
    files::bytes,
    ledger::{equal, fault},
    site::Site,
};

/// Bytes that have arrived.
pub(crate) static BYTES: AtomicU64 = AtomicU64::new(0);
/// Waits that were dropped.
pub(crate) static WAITS_DROPPED: AtomicU64 = AtomicU64::new(0);

pub(crate) async fn visit(site: &Arc<Site>, folder: &Path, dice: &mut Dice) {
    let result = match dice.below(3) {
        0 => fifo(&folder.join(format!("{:016x}", dice.next())), dice).await,
        1 => sockets(site, dice).await,
        _ => terminal(dice).await,
    };
    if let Err(error) = result {
        fault(format_args!("a file that is no file: {error}"));
    }
}

async fn fifo(name: &Path, dice: &mut Dice) -> io::Result<()> {
    let c_name = CString::new(name.as_os_str().as_bytes())?;
    // SAFETY: it is a string with an end.
    if unsafe { libc::mkfifo(c_name.as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // This end opens without the other one, so that no two calls of many wait for each other.
    let mut reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(name).await?;
    let mut writer = fs::File::options().write(true).open(name).await?;
    fs::remove_file(name).await?;
    if dice.one_in(4) {
        return abandon(&mut reader).await;
    }
    let contents = bytes(dice);
    let piece = 1 + dice.below(20_000);
    let send = async {
        for piece in contents.chunks(piece) {
            writer.write_all(piece).await?;
        }
        writer.close().await
    };
    let mut read = Vec::new();
    let (sent, got) = join(send, reader.read_to_end(&mut read)).await;
    sent?;
    arrived("a FIFO", got?, &read, &contents);
    Ok(())
}

async fn sockets(site: &Arc<Site>, dice: &mut Dice) -> io::Result<()> {
    site.has_others.store(true, Ordering::SeqCst);
    let (one, other) = UnixStream::pair()?;
    let mut one = Unblock::with_capacity(500 + dice.below(10_000), one).on(&site.pool);
    let other = Unblock::new(other).on(&site.pool);
    if dice.one_in(4) {
        return abandon(&mut one).await;
    }
    both_ways("a socket", one, other, dice).await
}

#[cfg(target_os = "linux")]
async fn terminal(dice: &mut Dice) -> io::Result<()> {
    let (main, other) = raw_terminal()?;
    let (mut main, other) = (fs::File::from_std(main), fs::File::from_std(other));
    if dice.one_in(4) {
        return abandon(&mut main).await;
    }
    both_ways("a pseudoterminal", main, other, dice).await
}

#[cfg(not(target_os = "linux"))]
async fn terminal(_dice: &mut Dice) -> io::Result<()> {
    Ok(())
}

/// Both ends of a pseudoterminal that changes nothing on the way.
#[cfg(target_os = "linux")]
fn raw_terminal() -> io::Result<(std::fs::File, std::fs::File)> {
    use std::{
        mem::MaybeUninit,
        os::fd::{FromRawFd as _, OwnedFd},
        ptr::{null, null_mut},
    };

    let (mut main, mut other) = (-1, -1);
    // SAFETY: the places are there for it to write to, and the others may be null.
    if unsafe { libc::openpty(&raw mut main, &raw mut other, null_mut(), null(), null()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has just been opened, for this function alone.
    let main = unsafe { OwnedFd::from_raw_fd(main) };
    // SAFETY: as above.
    let end = unsafe { OwnedFd::from_raw_fd(other) };
    let mut settings = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the place is there for it to write to.
    if unsafe { libc::tcgetattr(other, settings.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has filled it.
    let mut settings = unsafe { settings.assume_init() };
    // SAFETY: it changes nothing but the settings, which are this function's.
    unsafe { libc::cfmakeraw(&raw mut settings) };
    // SAFETY: it reads the settings.
    if unsafe { libc::tcsetattr(other, libc::TCSANOW, &raw const settings) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((main.into(), end.into()))
}

/// Sends something each way at once.
async fn both_ways(
    name: &str,
    one: impl AsyncRead + AsyncWrite,
    other: impl AsyncRead + AsyncWrite,
    dice: &mut Dice,
) -> io::Result<()> {
    let (here, there) = (bytes(dice), bytes(dice));
    let ((mut one_in, mut one_out), (mut other_in, mut other_out)) =
        (Box::pin(one).split(), Box::pin(other).split());
    let (piece, other_piece) = (1 + dice.below(20_000), 1 + dice.below(20_000));
    let there_and_back = try_join(
        try_join(write(&mut one_out, &here, piece), write(&mut other_out, &there, other_piece)),
        try_join(read(&mut one_in, there.len()), read(&mut other_in, here.len())),
    );
    let (_, (at_one, at_other)) = there_and_back.await?;
    arrived(name, at_one.len(), &at_one, &there);
    arrived(name, at_other.len(), &at_other, &here);
    Ok(())
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], piece: usize) -> io::Result<()> {
    for piece in bytes.chunks(piece) {
        to.write_all(piece).await?;
    }
    to.flush().await
}

async fn read(from: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Waits for what never comes, and drops the wait.
async fn abandon(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    WAITS_DROPPED.fetch_add(1, Ordering::Relaxed);
    match poll_once(from.read(&mut [0; 100])).await {
        None => Ok(()),
        Some(result) => {
            fault(format_args!("a read where nothing was written: {result:?}"));
            Ok(())
        }
    }
}

fn arrived(name: &str, count: usize, got: &[u8], sent: &[u8]) {
    equal(format_args!("bytes through {name}"), count, sent.len());
    equal(format_args!("what came through {name}"), got == sent, true);
    BYTES.fetch_add(got.len() as u64, Ordering::Relaxed);
}
