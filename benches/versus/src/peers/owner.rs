//! A value that one closure at a time may use: a strand of this crate, and a thread that owns the
//! value and takes boxed closures from a channel, as tokio-rusqlite keeps its connection.

use std::thread;

use anyhow::Result;
use crossbeam_channel::Sender;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Call, Peer, Threads};

/// What the closures use: how many there were.
type Value = u64;

/// A strand on a pool of its own.
#[cfg(feature = "strands")]
pub(crate) struct Strand(sidestep::Strand<Value>);

#[cfg(feature = "strands")]
impl Peer for Strand {
    const IS_POOL: bool = false;
    const CANCELS: bool = true;

    fn start(_: Threads, _: &Handle) -> Result<Self> {
        Ok(Self(sidestep::Strand::on(&sidestep::Pool::builder().build()?, 0)))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        Turn(self.0.call(counted(work)))
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.0.call(counted(work)).detach();
    }
}

/// A call of a strand.
#[cfg(feature = "strands")]
struct Turn<T>(sidestep::Task<T>);

#[cfg(feature = "strands")]
impl<T: Send + 'static> Call for Turn<T> {
    type Output = T;

    async fn result(self) -> T {
        self.0.await.expect("the closure does not panic")
    }

    fn cancel(self) {
        drop(self.0);
    }
}

/// The thread, by the channel to it.
pub(crate) struct Thread(Sender<Message>);

type Message = Box<dyn FnOnce(&mut Value) + Send>;

impl Peer for Thread {
    const IS_POOL: bool = false;
    const CANCELS: bool = false;

    fn start(_: Threads, _: &Handle) -> Result<Self> {
        let (sender, receiver) = crossbeam_channel::unbounded::<Message>();
        thread::Builder::new().spawn(move || {
            let mut value = 0;
            for message in receiver {
                message(&mut value);
            }
        })?;
        Ok(Self(sender))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        let ((sender, receiver), work) = (oneshot::channel(), counted(work));
        // An error means that nobody waits any more: the value is dropped there.
        self.send(Box::new(move |value| drop(sender.send(work(value)))));
        receiver
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.send(Box::new(counted(work)));
    }
}

impl Thread {
    fn send(&self, message: Message) {
        self.0.send(message).expect("the thread stays as long as the channel");
    }
}

/// The result that comes through tokio's oneshot. Nothing cancels it.
impl<T: Send + 'static> Call for oneshot::Receiver<T> {
    type Output = T;

    async fn result(self) -> T {
        self.await.expect("the closure sends its result")
    }

    fn cancel(self) {
        drop(self);
    }
}

/// Makes of a closure one that uses the value.
fn counted<T>(work: impl FnOnce() -> T + Send + 'static) -> impl FnOnce(&mut Value) -> T + Send + 'static {
    move |value| {
        *value += 1;
        work()
    }
}
