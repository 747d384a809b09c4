//! The two streams of a child, read to their ends at once: a child that fills one pipe while its
//! reader waits for the other would wait for ever. So would one that fills a pipe of which there is
//! no reader.

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
        if out.is_none() {
            if let Poll::Ready(bytes) = stdout.as_mut().poll(context) {
                out = Some(bytes?);
            }
        }
        if err.is_none() {
            if let Poll::Ready(bytes) = stderr.as_mut().poll(context) {
                err = Some(bytes?);
            }
        }
        match (&mut out, &mut err) {
            (Some(out), Some(err)) => Poll::Ready(Ok((std::mem::take(out), std::mem::take(err)))),
            _ => Poll::Pending,
        }
    })
    .await
}

/// Waits for `end`, and meanwhile reads what comes from both, as far as they are there, and loses
/// it. Does not wait for their ends: a child of the child may have them.
pub(super) async fn drain_until<O, E, R>(
    stdout: Option<O>,
    stderr: Option<E>,
    end: impl Future<Output = R>,
) -> R
where
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
{
    let (mut stdout, mut stderr, mut end) = (pin!(drain(stdout)), pin!(drain(stderr)), pin!(end));
    let (mut out, mut err) = (false, false);
    poll_fn(|context| {
        out = out || stdout.as_mut().poll(context).is_ready();
        err = err || stderr.as_mut().poll(context).is_ready();
        end.as_mut().poll(context)
    })
    .await
}

/// Reads to the end, or to the first error.
async fn drain(stream: Option<impl AsyncRead + Unpin>) {
    let Some(mut stream) = stream else { return };
    let mut lost = vec![0; FIRST];
    while poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut lost))
        .await
        .is_ok_and(|count| count > 0)
    {}
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
