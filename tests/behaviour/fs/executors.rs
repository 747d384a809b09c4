//! Files and other blocking values on every kind of executor, with the traits of `futures-io` and
//! with those of tokio.

use std::future::Future;
use std::io::{self, Cursor, SeekFrom, Write};
use std::path::Path;

use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, StreamExt, TryStreamExt};
use sidestep::fs::{self, File};
use sidestep::{Pool, Unblock};

use crate::support::{pool, soon};

/// A little of everything; an `Unblock` has the given pool work for it, if there is one.
async fn errands(dir: &Path, pool: Option<&Pool>) -> io::Result<()> {
    let path = dir.join("new");
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).await?;
    for line in 0..1_000 {
        file.write_all(format!("line {line}\n").as_bytes()).await?;
    }
    file.seek(SeekFrom::Start(0)).await?;
    let lines: Vec<String> = file.lines().try_collect().await?;
    assert_eq!((lines.len(), &*lines[999]), (1_000, "line 999"));
    let names: Vec<_> = fs::read_dir(dir).await?.map_ok(|entry| entry.file_name()).try_collect().await?;
    assert!(names.contains(&"new".into()));

    memory_and_pipes(pool).await
}

async fn memory_and_pipes(pool: Option<&Pool>) -> io::Result<()> {
    let mut cursor = given(Unblock::new(Cursor::new(vec![7; 100_000])), pool);
    let mut bytes = Vec::new();
    cursor.read_to_end(&mut bytes).await?;
    assert_eq!(bytes.len(), 100_000);
    cursor.write_all(b"end").await?;
    assert_eq!(cursor.into_inner().await?.into_inner().len(), 100_003);

    let (reader, mut writer) = io::pipe()?;
    let mut reader = given(Unblock::new(reader), pool);
    let mut bytes = [0; 4];
    let mut late = Box::pin(reader.read_exact(&mut bytes));
    assert!(futures_util::poll!(&mut late).is_pending());
    writer.write_all(b"late")?;
    late.await?;
    assert_eq!(&bytes, b"late");
    let numbers = given(Unblock::new(0..1_000), pool);
    assert_eq!(
        numbers.map(|number: u32| number * 2).fold(0, async |sum, number| sum + number).await,
        999_000
    );
    Ok(())
}

fn given<T: Send + 'static>(unblock: Unblock<T>, pool: Option<&Pool>) -> Unblock<T> {
    match pool {
        Some(pool) => unblock.on(pool),
        None => unblock,
    }
}

/// Runs the same on one executor.
type Executor = fn(&mut dyn FnMut() -> std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

#[test]
fn every_kind_of_executor_will_do() {
    let executors: [Executor; 4] = [
        |make| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(make()).unwrap();
        },
        |make| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(async { tokio::spawn(make()).await.unwrap() }).unwrap();
        },
        |make| futures_lite::future::block_on(make()).unwrap(),
        |make| {
            let (outer, future) = (pool(1, 1), make());
            soon(outer.spawn(|| sidestep::block_on(future))).unwrap().unwrap();
        },
    ];
    for executor in executors {
        for own in [None, Some(pool(1, 1))] {
            executor(&mut || {
                let own = own.clone();
                Box::pin(async move {
                    let dir = tempfile::tempdir()?;
                    errands(dir.path(), own.as_ref()).await
                })
            });
        }
    }
}

#[cfg(feature = "tokio")]
mod with_tokio {
    //! The traits of tokio.

    use std::io::{ErrorKind, SeekFrom};

    use sidestep::fs::File;
    use tokio::io::{
        AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufStream, copy, copy_buf,
    };

    #[test]
    fn the_traits_of_tokio_do_the_same() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
            let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
            let mut file = File::options().read(true).write(true).create_new(true).open(&one).await.unwrap();
            file.write_all(text.as_bytes()).await.unwrap();
            file.rewind().await.unwrap();
            let mut other = File::create(&two).await.unwrap();
            assert_eq!(copy(&mut file, &mut other).await.unwrap(), text.len() as u64);
            other.shutdown().await.unwrap();
            assert_eq!(std::fs::read_to_string(&two).unwrap(), text);
            file.rewind().await.unwrap();
            let mut other = File::create(&two).await.unwrap();
            assert_eq!(copy_buf(&mut file, &mut other).await.unwrap(), text.len() as u64);
            other.flush().await.unwrap();
            assert_eq!(std::fs::read_to_string(&two).unwrap(), text);

            let mut lines = BufReader::new(File::open(&two).await.unwrap()).lines();
            let mut count = 0;
            while let Some(line) = lines.next_line().await.unwrap() {
                assert_eq!(line, format!("line {count}"));
                count += 1;
            }
            assert_eq!(count, 20_000);
            let mut lines = File::open(&two).await.unwrap().lines();
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("line 0"));
        });
    }

    #[test]
    fn places_are_right_with_the_traits_of_tokio() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            std::fs::write(&path, "0123456789".repeat(1_000)).unwrap();
            let file = File::options().read(true).write(true).open(&path).await.unwrap();
            let mut file = BufStream::new(file);
            let mut bytes = [0; 5];
            file.read_exact(&mut bytes).await.unwrap();
            assert_eq!(file.stream_position().await.unwrap(), 5);
            assert_eq!(file.seek(SeekFrom::Current(2)).await.unwrap(), 7);
            file.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"78901");
            file.seek(SeekFrom::Current(0)).await.unwrap();
            file.write_all(b"here").await.unwrap();
            assert_eq!(file.stream_position().await.unwrap(), 16);
            file.flush().await.unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap()[10..18], *"01here67");
            let mut file = file.into_inner();
            assert!(file.seek(SeekFrom::Current(-100)).await.is_err());
            assert_eq!(file.stream_position().await.unwrap(), 16);
            assert_eq!(file.seek(SeekFrom::End(-3)).await.unwrap(), 9_997);
            let error = file.read_exact(&mut bytes).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        });
    }
}

#[cfg(all(feature = "tracing", target_os = "linux"))]
mod traced {
    //! What a dropped file has to say.

    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use futures_util::AsyncWriteExt;
    use sidestep::block_on;
    use sidestep::fs::OpenOptions;
    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use crate::support::eventually;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    #[derive(Default)]
    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0 += &format!("{field}={value:?} ");
        }
    }

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            if event.metadata().target() == "sidestep" {
                let mut fields = Fields::default();
                event.record(&mut fields);
                self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), fields.0));
            }
        }
    }

    #[test]
    fn bytes_that_a_dropped_file_could_not_write_are_reported() {
        let path = "fs::executors::traced::bytes_that_a_dropped_file_could_not_write_are_reported";
        crate::support::alone::alone_as(path, &[], || {
            let heard = Heard::default();
            let subscriber = tracing_subscriber::registry().with(heard.clone());
            tracing::subscriber::set_global_default(subscriber).unwrap();
            block_on(async {
                let mut full = OpenOptions::new().write(true).open("/dev/full").await.unwrap();
                full.write_all(b"lost").await.unwrap();
            });
            eventually("it is reported", || {
                let heard = heard.0.lock().unwrap();
                heard.iter().any(|event| event.starts_with("ERROR") && event.contains("bytes=4"))
            });
        });
    }
}
