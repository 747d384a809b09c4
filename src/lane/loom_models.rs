//! Models of a lane for the model checker.
