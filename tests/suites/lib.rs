//! Nothing: the tests of others are what this package is for.
