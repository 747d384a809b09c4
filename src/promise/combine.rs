//! Many promises as one, for both kinds.
//!
//! Each promise is woken and polled by itself (`FuturesUnordered`), so a thousand of them cost a
//! thousand polls, not a million. They are first polled in the order in which they were given.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::panic::catch_panic;

/// A promise and its place among the others.
#[derive(Debug)]
struct Placed<P> {
    place: usize,
    promise: P,
}

impl<P: Future + Unpin> Future for Placed<P> {
    type Output = (usize, P::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.place;
        Pin::new(&mut self.promise).poll(context).map(|output| (place, output))
    }
}

fn side_by_side<P: Future + Unpin>(promises: Vec<P>) -> FuturesUnordered<Placed<P>> {
    promises.into_iter().enumerate().map(|(place, promise)| Placed { place, promise }).collect()
}

/// What has come so far. Values that nobody will see are dropped one by one, however their
/// destructors behave.
#[derive(Debug)]
struct Collected<V>(Vec<Option<V>>);

impl<V> Collected<V> {
    fn of(places: usize) -> Self {
        Collected((0..places).map(|_| None).collect())
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

/// The result that comes first.
pub(super) async fn race<P: Future + Unpin>(promises: Vec<P>) -> P::Output {
    match side_by_side(promises).next().await {
        Some((_, output)) => output,
        None => unreachable!("the callers see to it that there is one"),
    }
}

/// What `judge` says of each, in the order of the promises, or the first error it makes.
async fn first_err<P, A, B>(promises: Vec<P>, judge: impl Fn(P::Output) -> Result<A, B>) -> Result<Vec<A>, B>
where
    P: Future + Unpin,
{
    let mut collected = Collected::of(promises.len());
    let mut waiting = side_by_side(promises);
    while let Some((place, output)) = waiting.next().await {
        collected.0[place] = Some(judge(output)?);
    }
    Ok(collected.in_order())
}
