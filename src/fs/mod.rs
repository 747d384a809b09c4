//! Files: `std::fs` name for name, with each call taken to the global pool.
