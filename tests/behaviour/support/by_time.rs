//! Tests that also run on pools that do not ask the system what their threads do.

/// Has the module `by_time_alone` run these tests once more, on pools that go by time alone.
macro_rules! also_by_time_alone {
    ($($(#[$attribute:meta])* $test:ident),* $(,)?) => {
        mod by_time_alone {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    crate::support::set_thread_states(false);
                    super::$test();
                }
            )*
        }
    };
}
pub(crate) use also_by_time_alone;
