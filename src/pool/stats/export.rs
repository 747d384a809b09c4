//! The metrics of a pool and of its lanes for the facade crate `metrics`.
//!
//! Lanes of one name share their series, which therefore shows the sums over all of them, also over
//! lanes that are gone: a counter never decreases. A limit that there is not is not published.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::lane::{Lanes, NamedCounts};
use crate::latency;
use crate::panic::catch_panic;
use crate::pool::stats::Metrics;

/// One of the metrics in `N`.
struct Number<N> {
    name: &'static str,
    text: &'static str,
    read: fn(&N) -> u64,
}

/// A limit of what is in `N`, if it has one.
struct LimitGauge<N> {
    name: &'static str,
    text: &'static str,
    read: fn(&N) -> Option<u64>,
}

const COUNTERS: [Number<Metrics>; 9] = [
    Number {
        name: "sidestep_tasks_submitted_total",
        text: "Tasks that the pool has accepted.",
        read: Metrics::tasks_submitted,
    },
    Number {
        name: "sidestep_tasks_completed_total",
        text: "Tasks whose closure has returned.",
        read: Metrics::tasks_completed,
    },
    Number {
        name: "sidestep_tasks_panicked_total",
        text: "Tasks whose closure has panicked.",
        read: Metrics::tasks_panicked,
    },
    Number {
        name: "sidestep_tasks_cancelled_total",
        text: "Accepted tasks that did not run.",
        read: Metrics::tasks_cancelled,
    },
    Number {
        name: "sidestep_tasks_expired_total",
        text: "Accepted tasks that did not run because their time was up.",
        read: Metrics::tasks_expired,
    },
    Number {
        name: "sidestep_tasks_refused_total",
        text: "Accepted calls of a strand that found no value.",
        read: Metrics::tasks_refused,
    },
    Number {
        name: "sidestep_tasks_rejected_total",
        text: "Closures that were not accepted: a queue was full, or the pool was shut down.",
        read: Metrics::tasks_rejected,
    },
    Number {
        name: "sidestep_growth_steps_total",
        text: "How often threads were added because those there were blocked.",
        read: Metrics::growth_steps,
    },
    Number {
        name: "sidestep_spawn_failures_total",
        text: "How often a thread was refused.",
        read: Metrics::spawn_failures,
    },
];

const GAUGES: [Number<Metrics>; 8] = [
    Number {
        name: "sidestep_threads",
        text: "Threads that have started and not exited.",
        read: |metrics| metrics.threads() as u64,
    },
    Number {
        name: "sidestep_threads_core",
        text: "Threads that the pool keeps.",
        read: |metrics| metrics.core_threads() as u64,
    },
    Number {
        name: "sidestep_threads_max",
        text: "Threads that the pool may have.",
        read: |metrics| metrics.max_threads() as u64,
    },
    Number {
        name: "sidestep_threads_idle",
        text: "Threads that sleep because no work is queued.",
        read: |metrics| metrics.threads_idle() as u64,
    },
    Number {
        name: "sidestep_threads_blocked",
        text: "Threads that have declared that they block.",
        read: |metrics| metrics.threads_blocked() as u64,
    },
    Number {
        name: "sidestep_threads_peak",
        text: "The most threads there have been at one time.",
        read: |metrics| metrics.threads_peak() as u64,
    },
    Number { name: "sidestep_tasks_queued", text: "Tasks that wait to be run.", read: Metrics::tasks_queued },
    Number {
        name: "sidestep_tasks_running",
        text: "Tasks whose closure has begun and not ended.",
        read: Metrics::tasks_running,
    },
];

const LIMITS: [LimitGauge<Metrics>; 1] = [LimitGauge {
    name: "sidestep_queue_limit",
    text: "Tasks that may wait in the pool's own queue.",
    read: |metrics| metrics.queue_limit().map(|limit| limit as u64),
}];

const LANE_COUNTERS: [Number<NamedCounts>; 7] = [
    Number {
        name: "sidestep_lane_tasks_submitted_total",
        text: "Tasks that the lane has accepted.",
        read: |lane| lane.tasks.submitted,
    },
    Number {
        name: "sidestep_lane_tasks_completed_total",
        text: "Tasks of the lane whose closure has returned.",
        read: |lane| lane.tasks.completed,
    },
    Number {
        name: "sidestep_lane_tasks_panicked_total",
        text: "Tasks of the lane whose closure has panicked.",
        read: |lane| lane.tasks.panicked,
    },
    Number {
        name: "sidestep_lane_tasks_cancelled_total",
        text: "Accepted tasks of the lane that did not run.",
        read: |lane| lane.tasks.unrun(),
    },
    Number {
        name: "sidestep_lane_tasks_expired_total",
        text: "Accepted tasks of the lane that did not run because their time was up.",
        read: |lane| lane.tasks.expired,
    },
    Number {
        name: "sidestep_lane_tasks_refused_total",
        text: "Accepted calls of a strand in the lane that found no value.",
        read: |lane| lane.tasks.denied,
    },
    Number {
        name: "sidestep_lane_tasks_rejected_total",
        text: "Closures that the lane did not accept.",
        read: |lane| lane.tasks.rejected,
    },
];

const LANE_GAUGES: [Number<NamedCounts>; 3] = [
    Number {
        name: "sidestep_lane_tasks_queued",
        text: "Tasks that wait in the lane.",
        read: |lane| lane.tasks.queued(),
    },
    Number {
        name: "sidestep_lane_tasks_running",
        text: "Tasks of the lane whose closure has begun and not ended.",
        read: |lane| lane.tasks.running(),
    },
    Number {
        name: "sidestep_lane_limit",
        text: "Closures of the lane that may run at one time.",
        read: |lane| lane.limit,
    },
];

const LANE_LIMITS: [LimitGauge<NamedCounts>; 1] = [LimitGauge {
    name: "sidestep_lane_queue_limit",
    text: "Tasks that may wait in the lane.",
    read: |lane| lane.queue_limit,
}];

pub(in crate::pool) fn describe() {
    catch_panic(latency::PLACE, || {
        describe_all(&COUNTERS, &GAUGES, &LIMITS);
        describe_all(&LANE_COUNTERS, &LANE_GAUGES, &LANE_LIMITS);
        latency::describe();
    });
}

fn describe_all<N>(counters: &[Number<N>], gauges: &[Number<N>], limits: &[LimitGauge<N>]) {
    for number in counters {
        describe_counter!(number.name, Unit::Count, number.text);
    }
    for number in gauges {
        describe_gauge!(number.name, Unit::Count, number.text);
    }
    for limit in limits {
        describe_gauge!(limit.name, Unit::Count, limit.text);
    }
}

/// Reports all metrics of the pool and its lanes to the recorder, as they are now.
pub(in crate::pool) fn publish(pool: &str, metrics: &Metrics, lanes: &Lanes) {
    let lanes = lanes.counts_by_name();
    catch_panic(latency::PLACE, || {
        let labels = [Label::new("pool", pool.to_owned())];
        record(&COUNTERS, &GAUGES, metrics, &labels);
        record_limits(&LIMITS, metrics, &labels);
        for (lane, counts) in &lanes {
            let labels = [Label::new("pool", pool.to_owned()), Label::new("lane", lane.to_string())];
            record(&LANE_COUNTERS, &LANE_GAUGES, counts, &labels);
            record_limits(&LANE_LIMITS, counts, &labels);
        }
    });
}

fn record<N>(counters: &[Number<N>], gauges: &[Number<N>], numbers: &N, labels: &[Label]) {
    for number in counters {
        counter!(number.name, labels.to_vec()).absolute((number.read)(numbers));
    }
    for number in gauges {
        gauge!(number.name, labels.to_vec()).set((number.read)(numbers) as f64);
    }
}

fn record_limits<N>(limits: &[LimitGauge<N>], numbers: &N, labels: &[Label]) {
    for limit in limits {
        if let Some(value) = (limit.read)(numbers) {
            gauge!(limit.name, labels.to_vec()).set(value as f64);
        }
    }
}
