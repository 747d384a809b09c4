//! When a pool gets more threads than its core: who looks, at what, and by which rules threads are
//! added.
//!
//! | file | owns |
//! |---|---|
//! | `policy` | the rules: a pure function from a sample to a verdict |
//! | `state` | what the policy remembers from look to look |
//! | `probation` | whether a step of growth has paid |
//! | `sample` | one look at the pool: what the policy gets to see |
//! | `survey` | asking some of the threads whether they sleep, and what that says of all |
//! | `detect` | whether a thread sleeps, by what the system tells or by time alone |
//! | `waiting` | how long tasks have waited, told from counts |
//! | `monitor` | the thread that looks and acts |
//! | `stall` | noticing that tasks wait for long, and telling the user |

mod detect;
mod monitor;
mod policy;
mod probation;
mod sample;
mod stall;
mod state;
mod survey;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;
mod waiting;

pub(super) use self::monitor::Growth;
