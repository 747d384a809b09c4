//! How does a blocking compressor work in the middle of an async program?
//!
//! A file is compressed by one closure and decompressed by another; what goes from the one to the
//! other passes through a `current_thread` runtime, in chunks. The compressor writes into a
//! [`producer`], the decoder reads from a [`SyncReader`]. Then both run on the runtime's own
//! thread, for comparison.
//!
//! ```text
//! cargo run --release --example gzip -- [FILE]
//! ```
//!
//! Without a file it takes the library's own source, several times over.

#[path = "common/ticker.rs"]
mod ticker;

use std::{
    fs::{self, File},
    io::{self, BufRead, Read as _, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use futures_util::{
    AsyncBufRead,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use sidestep::io::{ItemSender, SyncReader, producer};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use walkdir::WalkDir;

use ticker::{Ticker, Ticks};

/// How often the library's source goes into the default input.
const COPIES: usize = 16;
/// How many chunks the decoder may be behind.
const CHUNKS: usize = 16;

/// Compresses a file without stopping the event loop, and compares that with stopping it.
#[derive(Parser)]
#[command(name = "gzip")]
struct Args {
    /// What to compress. Without it, the library's own source, several times over.
    file: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let input = Input::new(args.file).context("cannot make the default input")?;
    let file = input.path();
    // It also has the file in memory before the clock runs.
    let expected = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;

    let aside = measure(on_the_pool(file.to_owned())).await?;
    let inline = measure(async { on_this_thread(file) }).await?;
    let packed = inline.output.packed;
    anyhow::ensure!(aside.output.packed == packed, "the two ways have not compressed alike");
    for way in [&aside, &inline] {
        anyhow::ensure!(way.output.unpacked == expected, "what was decompressed is not what the file holds");
    }

    println!("{} bytes, compressed to {packed}; decompressed, equal to the file", expected.len());
    println!("{:<18}{:>12}{:>24}{:>8}", "", "wall time", "loop held up, at most", "ticks");
    aside.print("on the pool");
    inline.print("on the loop");
    Ok(())
}

/// The two closures, and the runtime's thread between them.
async fn on_the_pool(file: PathBuf) -> anyhow::Result<Output> {
    let mut chunks = producer(move |sink| {
        if let Err(error) = compress(&file, Chunks(sink)) {
            let _ = sink.send(Err(error));
        }
    });
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let reader = SyncReader::new(async_reader(receiver));
    let unpacked = sidestep::spawn(move || decompress(reader));

    let mut packed = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.context("cannot compress")?;
        packed += chunk.len();
        if sender.send(chunk).await.is_err() {
            break; // the decoder has failed, and says why below
        }
    }
    drop(sender);
    let unpacked = unpacked.await?.context("cannot decompress")?;
    Ok(Output { packed, unpacked })
}

/// The same calls, one after the other.
fn on_this_thread(file: &Path) -> anyhow::Result<Output> {
    let mut packed = Vec::new();
    compress(file, &mut packed).context("cannot compress")?;
    let unpacked = decompress(&packed[..]).context("cannot decompress")?;
    Ok(Output { packed: packed.len(), unpacked })
}

/// Blocking code that knows nothing of async: it wants a [`Write`].
fn compress(file: &Path, into: impl Write) -> io::Result<()> {
    let mut encoder = GzEncoder::new(into, Compression::default());
    io::copy(&mut File::open(file)?, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

/// Blocking code that knows nothing of async: it wants a [`BufRead`].
fn decompress(from: impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(from).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A writer whose every write becomes an item of the stream.
struct Chunks<'a>(&'a ItemSender<io::Result<Vec<u8>>>);

impl Write for Chunks<'_> {
    /// Blocks while the stream's reader is behind, and fails once it has gone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(Ok(bytes.to_vec()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes through a channel, as the bytes of a socket would.
fn async_reader(mut chunks: mpsc::Receiver<Vec<u8>>) -> impl AsyncBufRead + Send + Unpin {
    stream::poll_fn(move |context| chunks.poll_recv(context)).map(Ok).into_async_read()
}

/// What has come of it: how many bytes compressed, and which decompressed.
struct Output {
    packed: usize,
    unpacked: Vec<u8>,
}

/// One way to do it, and what the other tasks of the runtime have felt of it.
struct Way {
    output: Output,
    wall: Duration,
    ticks: Ticks,
}

async fn measure(work: impl Future<Output = anyhow::Result<Output>>) -> anyhow::Result<Way> {
    let ticker = Ticker::start();
    let began = Instant::now();
    let output = work.await?;
    let wall = began.elapsed();
    let ticks = ticker.stop().await.context("the ticker is gone")?;
    Ok(Way { output, wall, ticks })
}

impl Way {
    fn print(&self, name: &str) {
        let wall = self.wall.as_secs_f64() * 1e3;
        let held_up = self.ticks.longest_gap.as_secs_f64() * 1e3;
        println!("{name:<18}{wall:>9.1} ms{held_up:>21.1} ms{:>8}", self.ticks.count);
    }
}

/// What to compress.
enum Input {
    Given(PathBuf),
    Made(NamedTempFile),
}

impl Input {
    fn new(given: Option<PathBuf>) -> anyhow::Result<Input> {
        match given {
            Some(file) => Ok(Input::Given(file)),
            None => source_code().map(Input::Made),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Input::Given(file) => file,
            Input::Made(file) => file.path(),
        }
    }
}

/// A temporary file with all of the library's source in it, [`COPIES`] times.
fn source_code() -> anyhow::Result<NamedTempFile> {
    let mut once = Vec::new();
    for entry in WalkDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            once.extend(fs::read(entry.path())?);
        }
    }
    let mut file = NamedTempFile::new()?;
    for _ in 0..COPIES {
        file.write_all(&once)?;
    }
    Ok(file)
}
