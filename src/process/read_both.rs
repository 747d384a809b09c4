//! The two streams of a child, read to their ends at once: a child that fills one pipe while its
//! reader waits for the other would wait for ever.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_io::AsyncRead;

/// So much room for what is read there is at first.
const FIRST: usize = 8 << 10;

/// Reads both to their ends, as far as they are there.
pub(super) async fn read_both<O, E>(stdout: Option<O>, stderr: Option<E>) -> io::Result<(Vec<u8>, Vec<u8>)>
where
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
{
    let (mut stdout, mut stderr) = (pin!(read_to_end(stdout)), pin!(read_to_end(stderr)));
    let (mut out, mut err) = (None, None);
    poll_fn(|context| {
        if out.is_none()
            && let Poll::Ready(bytes) = stdout.as_mut().poll(context)
        {
            out = Some(bytes?);
        }
        if err.is_none()
            && let Poll::Ready(bytes) = stderr.as_mut().poll(context)
        {
            err = Some(bytes?);
        }
        match (&mut out, &mut err) {
            (Some(out), Some(err)) => Poll::Ready(Ok((std::mem::take(out), std::mem::take(err)))),
            _ => Poll::Pending,
        }
    })
    .await
}

async fn read_to_end(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let (mut bytes, mut filled) = (Vec::new(), 0);
    let Some(mut stream) = stream else { return Ok(bytes) };
    loop {
        if filled == bytes.len() {
            bytes.resize((2 * filled).max(FIRST), 0);
        }
        match poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut bytes[filled..])).await? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
