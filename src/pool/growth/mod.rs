//! When a pool adds threads above its core: the monitor that looks, the sample that it takes, and
//! the rules that it decides by.
//!
//! | file | owns |
//! |---|---|
//! | `policy` | the rules: a pure function from a sample to a verdict |
//! | `state` | what the policy remembers from look to look |
//! | `probation` | whether a step of growth has paid |
//! | `sample` | one look at the pool: the input of the policy |
//! | `survey` | asking some of the threads whether they sleep, and what the answers say of all |
//! | `detect` | whether a thread sleeps, by what the system reports or by time alone |
//! | `waiting` | how long tasks have waited, derived from counts |
//! | `monitor` | the thread that looks and acts |
//! | `stall` | noticing that tasks wait for long, and reporting it |

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
pub(super) use self::sample::MOST_COUNTED;
