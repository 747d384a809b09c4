//! What the tests of several topics share, in a file for each kind of helper. A test names the
//! helpers of `alone`, `fake` and `fork` by their module, and all others as `support::Gate`.

pub(crate) mod alone;
mod by_time;
mod counters;
mod drops;
#[cfg(feature = "fs")]
pub(crate) mod fake;
#[cfg(unix)]
pub(crate) mod fork;
mod gates;
mod patience;
mod pools;
#[cfg(target_os = "linux")]
mod system;
mod wakers;

pub(crate) use self::by_time::also_by_time_alone;
pub(crate) use self::counters::{Crowd, counter};
pub(crate) use self::drops::{DropToken, Drops, HoldOnDrop, PanicOnDrop, quiet_panic};
pub(crate) use self::gates::{Gate, Rendezvous};
pub(crate) use self::patience::{PATIENCE, eventually, nothing_happens};
pub(crate) use self::pools::{
    all_well, builder, check_accounts, check_sound, keeps_to, occupy, occupy_lane, pool, set_thread_states,
    soon, thread_states,
};
#[cfg(target_os = "linux")]
pub(crate) use self::system::{sleeps, take_all_descriptors, threads_called};
pub(crate) use self::wakers::{Calls, Wakes, poll};
