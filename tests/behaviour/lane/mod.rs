//! Lanes.

mod accounts;
mod cases_views;
mod ends;
mod hostile;
mod slots;
mod waiting;
