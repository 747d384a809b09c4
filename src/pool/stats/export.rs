//! The metrics of a pool and of its lanes for the facade crate `metrics`.
//!
//! Lanes of one name share their series, which therefore shows the sums over all of them, also over
//! lanes that are gone: a counter never decreases.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::counts::TaskCounts;
use crate::lane::Lanes;
use crate::latency;
use crate::panic::catch_panic;
use crate::pool::stats::Metrics;

/// One of the metrics in `N`.
struct Number<N> {
    name: &'static str,
    text: &'static str,
    read: fn(&N) -> u64,
}

const COUNTERS: [Number<Metrics>; 6] = [
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

const GAUGES: [Number<Metrics>; 6] = [
    Number {
        name: "sidestep_threads",
        text: "Threads that have started and not exited.",
        read: |metrics| metrics.threads() as u64,
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

const LANE_COUNTERS: [Number<TaskCounts>; 4] = [
    Number {
        name: "sidestep_lane_tasks_submitted_total",
        text: "Tasks that the lane has accepted.",
        read: |counts| counts.submitted,
    },
    Number {
        name: "sidestep_lane_tasks_completed_total",
        text: "Tasks of the lane whose closure has returned.",
        read: |counts| counts.completed,
    },
    Number {
        name: "sidestep_lane_tasks_panicked_total",
        text: "Tasks of the lane whose closure has panicked.",
        read: |counts| counts.panicked,
    },
    Number {
        name: "sidestep_lane_tasks_cancelled_total",
        text: "Accepted tasks of the lane that did not run.",
        read: TaskCounts::unrun,
    },
];

const LANE_GAUGES: [Number<TaskCounts>; 2] = [
    Number {
        name: "sidestep_lane_tasks_queued",
        text: "Tasks that wait in the lane.",
        read: TaskCounts::queued,
    },
    Number {
        name: "sidestep_lane_tasks_running",
        text: "Tasks of the lane whose closure has begun and not ended.",
        read: TaskCounts::running,
    },
];

pub(in crate::pool) fn describe() {
    catch_panic(latency::PLACE, || {
        describe_all(&COUNTERS, &GAUGES);
        describe_all(&LANE_COUNTERS, &LANE_GAUGES);
        latency::describe();
    });
}

fn describe_all<N>(counters: &[Number<N>], gauges: &[Number<N>]) {
    for number in counters {
        describe_counter!(number.name, Unit::Count, number.text);
    }
    for number in gauges {
        describe_gauge!(number.name, Unit::Count, number.text);
    }
}

/// Reports all metrics of the pool and its lanes to the recorder, as they are now.
pub(in crate::pool) fn publish(pool: &str, metrics: &Metrics, lanes: &Lanes) {
    let lanes = lanes.counts_by_name();
    catch_panic(latency::PLACE, || {
        record(&COUNTERS, &GAUGES, metrics, &[Label::new("pool", pool.to_owned())]);
        for (lane, counts) in &lanes {
            let labels = [Label::new("pool", pool.to_owned()), Label::new("lane", lane.to_string())];
            record(&LANE_COUNTERS, &LANE_GAUGES, counts, &labels);
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
