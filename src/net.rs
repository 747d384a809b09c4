//! Calls of the network that block: name lookups.
