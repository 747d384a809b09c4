//! Waiting until a descriptor is ready, by one thread for the whole process.
//!
//! | file | owns |
//! |---|---|
//! | `registry` | the protocol: who waits for which descriptor, and the thread |
//! | `wait` | one direction of one value that waits; the registry of the process |
//! | `elsewhere` | the same where nothing is waited for |

#[cfg(any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle))]
mod elsewhere;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[cfg(any(
    all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))),
    all(test, sidestep_loom)
))]
mod registry;
#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod wait;

#[cfg(any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle))]
pub(crate) use self::elsewhere::ReadyWait;
#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) use self::wait::ReadyWait;
