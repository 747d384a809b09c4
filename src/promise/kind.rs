//! What a chain's values, sources and steps are erased to: [`Sendable`] for promises that may
//! change threads, [`Local`] for those that stay on one.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use super::chain::Chain;

/// One way to erase types. Nobody outside `promise` can name it, so there are no others.
pub(super) trait Kind: Sized + 'static {
    /// A `Result<T, E>`.
    type Value: 'static;
    /// A future of one.
    type Source: Future<Output = Self::Value> + Unpin + 'static;
    /// What is done with the `Result` of the step before: it makes a chain, of which ours is to go
    /// on.
    type Step: FnOnce(Self::Value) -> Chain<Self> + 'static;
}

/// A kind whose values can be of the type `V`.
pub(super) trait Carries<V>: Kind {
    fn seal(value: V) -> Self::Value;
    fn open(value: Self::Value) -> V;
}

/// Everything in the chain is `Send`.
#[derive(Debug)]
pub(super) enum Sendable {}

impl Kind for Sendable {
    type Value = Box<dyn Any + Send>;
    type Source = Pin<Box<dyn Future<Output = Self::Value> + Send>>;
    type Step = Box<dyn FnOnce(Self::Value) -> Chain<Self> + Send>;
}

impl<V: Send + 'static> Carries<V> for Sendable {
    fn seal(value: V) -> Self::Value {
        Box::new(value)
    }

    fn open(value: Self::Value) -> V {
        unseal(value)
    }
}

/// Nothing in the chain needs to be `Send`.
#[derive(Debug)]
pub(super) enum Local {}

impl Kind for Local {
    type Value = Box<dyn Any>;
    type Source = Pin<Box<dyn Future<Output = Self::Value>>>;
    type Step = Box<dyn FnOnce(Self::Value) -> Chain<Self>>;
}

impl<V: 'static> Carries<V> for Local {
    fn seal(value: V) -> Self::Value {
        Box::new(value)
    }

    fn open(value: Self::Value) -> V {
        unseal(value)
    }
}

fn unseal<V: 'static>(value: Box<dyn Any>) -> V {
    match value.downcast() {
        Ok(value) => *value,
        Err(_) => unreachable!("the methods of a promise add each step for the result of the one before"),
    }
}
