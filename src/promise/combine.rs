//! Many promises as one, for both kinds of chains.
//!
//! Each promise is woken and polled by itself (`FuturesUnordered`), so a thousand promises cost a
//! thousand polls, not a million. They are first polled in the order of the argument.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::chain::Carries;
use crate::panic::catch_panic;

/// A promise and its index among the others.
#[derive(Debug)]
struct Indexed<P> {
    index: usize,
    promise: P,
}

impl<P: Future + Unpin> Future for Indexed<P> {
    type Output = (usize, P::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.index;
        Pin::new(&mut self.promise).poll(context).map(|output| (index, output))
    }
}

fn side_by_side<P: Future + Unpin>(promises: Vec<P>) -> FuturesUnordered<Indexed<P>> {
    promises.into_iter().enumerate().map(|(index, promise)| Indexed { index, promise }).collect()
}

/// The values so far. Values that no caller will see are dropped one by one, and panics of their
/// destructors are reported.
#[derive(Debug)]
struct Collected<V>(Vec<Option<V>>);

impl<V> Collected<V> {
    fn of(count: usize) -> Self {
        Collected((0..count).map(|_| None).collect())
    }

    fn in_order(mut self) -> Vec<V> {
        self.0.drain(..).flatten().collect()
    }
}

impl<V> Drop for Collected<V> {
    fn drop(&mut self) {
        for value in self.0.drain(..).flatten() {
            catch_panic("the destructor of a value that came before a promise was settled otherwise", || {
                drop(value)
            });
        }
    }
}

/// The source of a chain that waits for `combined`.
pub(super) async fn source<K: Carries<V>, V>(combined: impl Future<Output = V>) -> K::Value {
    K::erase(combined.await)
}

/// The promises of a race.
///
/// # Panics
///
/// If there is none.
#[track_caller]
pub(super) fn racers<P>(promises: impl IntoIterator<Item = P>) -> Vec<P> {
    let promises: Vec<_> = promises.into_iter().collect();
    assert!(!promises.is_empty(), "a race of no promises would never end: pass at least one");
    promises
}

/// All values, or the first error.
pub(super) async fn all<P, T, E>(promises: Vec<P>) -> Result<Vec<T>, E>
where
    P: Future<Output = Result<T, E>> + Unpin,
{
    first_err(promises, |result| result).await
}

/// The first value, or all errors.
pub(super) async fn any<P, T, E>(promises: Vec<P>) -> Result<T, Vec<E>>
where
    P: Future<Output = Result<T, E>> + Unpin,
{
    let flip = |result| match result {
        Ok(value) => Err(value),
        Err(error) => Ok(error),
    };
    match first_err(promises, flip).await {
        Ok(errors) => Err(errors),
        Err(value) => Ok(value),
    }
}

/// Every result.
pub(super) async fn all_settled<P: Future + Unpin>(promises: Vec<P>) -> Vec<P::Output> {
    enum Never {}
    match first_err(promises, Ok::<_, Never>).await {
        Ok(results) => results,
        Err(never) => match never {},
    }
}

/// The first result.
pub(super) async fn race<P: Future + Unpin>(promises: Vec<P>) -> P::Output {
    match side_by_side(promises).next().await {
        Some((_, output)) => output,
        None => unreachable!("`racers` has checked that there is one"),
    }
}

/// What `judge` makes of each output, in the order of the promises, or the first error that it
/// returns.
async fn first_err<P, A, B>(promises: Vec<P>, judge: impl Fn(P::Output) -> Result<A, B>) -> Result<Vec<A>, B>
where
    P: Future + Unpin,
{
    let mut collected = Collected::of(promises.len());
    let mut waiting = side_by_side(promises);
    while let Some((index, output)) = waiting.next().await {
        collected.0[index] = Some(judge(output)?);
    }
    Ok(collected.in_order())
}
