//! Blocking readers, writers and iterators as asynchronous ones, and the other way round.
