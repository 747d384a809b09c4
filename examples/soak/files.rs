//! Files, readers, writers and iterators, on the global pool and on one of ours.

use std::{io, path::Path, sync::Arc, sync::atomic::Ordering};

use futures_lite::future::poll_once;
use futures_util::{
    AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, StreamExt as _, TryStreamExt as _,
};
use sidestep::{Unblock, fs, io as sio};

use crate::{
    dice::Dice,
    ledger::{equal, fault},
    site::Site,
};

/// Something with files in `folder`, or with a pipe.
pub(crate) async fn visit(site: &Arc<Site>, folder: &Path, dice: &mut Dice) {
    let name = folder.join(format!("{:016x}", dice.next()));
    let result = match dice.below(4) {
        0 => whole(&name, dice).await,
        1 => in_pieces(&name, dice).await,
        2 => pipe(site, dice).await,
        _ => streams(site, dice).await,
    };
    if let Err(error) = result {
        fault(format_args!("a file or pipe: {error}"));
    }
}

pub(crate) fn bytes(dice: &mut Dice) -> Vec<u8> {
    let (length, first) = (dice.below(100_000), dice.below(256));
    (0..length).map(|index| (first + index) as u8).collect()
}

async fn whole(name: &Path, dice: &mut Dice) -> io::Result<()> {
    let contents = bytes(dice);
    fs::write(name, contents.clone()).await?;
    if dice.one_in(3) {
        drop(poll_once(Box::pin(fs::read(name))).await);
    }
    equal("bytes of a file", fs::read(name).await? == contents, true);
    let copy = name.with_extension("copy");
    equal("bytes copied", fs::copy(name, &copy).await?, contents.len() as u64);
    if let Some(folder) = name.parent() {
        let entries = fs::read_dir(folder).await?.take(5).try_collect::<Vec<_>>().await;
        // Other threads remove theirs meanwhile.
        drop(entries);
    }
    fs::remove_file(copy).await?;
    fs::remove_file(name).await
}

async fn in_pieces(name: &Path, dice: &mut Dice) -> io::Result<()> {
    let contents = bytes(dice);
    let mut file = fs::File::options().read(true).write(true).create(true).truncate(true).open(name).await?;
    for piece in contents.chunks(1 + dice.below(20_000)) {
        file.write_all(piece).await?;
    }
    file.flush().await?;
    file.seek(io::SeekFrom::Start(0)).await?;
    let mut read = Vec::new();
    if dice.one_in(3) {
        // The drop finds it at work.
        let _ = poll_once(Box::pin(file.read(&mut [0; 100]))).await;
    } else {
        file.read_to_end(&mut read).await?;
        equal("bytes read", read == contents, true);
    }
    drop(file);
    fs::remove_file(name).await
}

async fn pipe(site: &Arc<Site>, dice: &mut Dice) -> io::Result<()> {
    site.has_others.store(true, Ordering::SeqCst);
    let contents = bytes(dice);
    let (reader, writer) = io::pipe()?;
    let mut reader = Unblock::with_capacity(500 + dice.below(10_000), reader).on(&site.pool);
    let mut writer = Unblock::with_capacity(500 + dice.below(10_000), writer).on(&site.pool);
    let send = async {
        writer.write_all(&contents).await?;
        writer.flush().await?;
        drop(writer);
        io::Result::Ok(())
    };
    let mut read = Vec::new();
    if dice.one_in(4) {
        let send = Box::pin(send);
        let (first, _) = futures_util::future::join(reader.read(&mut [0; 10]), poll_once(send)).await;
        first?;
        return Ok(());
    }
    let (sent, got) = futures_util::future::join(send, reader.read_to_end(&mut read)).await;
    sent?;
    equal("bytes through a pipe", got?, contents.len());
    equal("what came through a pipe", read == contents, true);
    Ok(())
}

async fn streams(site: &Arc<Site>, dice: &mut Dice) -> io::Result<()> {
    site.has_others.store(true, Ordering::SeqCst);
    let (length, taken) = (dice.below(500), dice.below(500));
    let items = sio::iter(0..length).on(&site.pool).take(taken);
    equal("items of an iterator", items.count().await, length.min(taken));
    let produced = sio::producer_with(site.pool.options(), 1 + dice.below(8), move |sink| {
        for item in 0..length {
            if sink.send(item).is_err() {
                return;
            }
        }
    });
    equal("items of a producer", produced.take(taken).count().await, length.min(taken));
    Ok(())
}
