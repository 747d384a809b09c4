//! What one run of one case by one peer gave, as it travels from the child to the parent and into
//! the file.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::census;
use crate::system::{self, Usage};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    /// Microseconds of CPU time in a second.
    MicrosPerSecond,
}

/// One figure. Less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
    /// What no peer can go below, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ideal: Option<f64>,
}

impl Metric {
    pub(crate) fn new(name: &str, unit: Unit, value: f64) -> Self {
        Self { name: name.to_owned(), unit, value, ideal: None }
    }

    pub(crate) fn time(name: &str, time: Duration) -> Self {
        Self::new(name, Unit::Nanoseconds, time.as_nanos() as f64)
    }

    /// A time for all tasks, as one for each.
    pub(crate) fn per_task(name: &str, time: Duration, tasks: usize) -> Self {
        Self::new(name, Unit::Nanoseconds, time.as_nanos() as f64 / tasks as f64)
    }

    pub(crate) fn with_ideal(mut self, ideal: Duration) -> Self {
        self.ideal = Some(ideal.as_nanos() as f64);
        self
    }
}

/// All that one run showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) metrics: Vec<Metric>,
    /// How many threads ran closures, where closures ran at all.
    pub(crate) threads: Option<usize>,
    pub(crate) cpu_nanos_per_task: Option<f64>,
    pub(crate) switches_per_task: Option<f64>,
    pub(crate) peak_kib: Option<u64>,
}

impl Sample {
    /// For what is no work of a peer, or none that its threads do.
    pub(crate) fn of(metrics: Vec<Metric>) -> Self {
        Self { metrics, ..Self::default() }
    }
}

/// Watches the clocks while a scenario runs.
pub(crate) struct Meter {
    start: Instant,
    usage: Usage,
}

impl Meter {
    pub(crate) fn start() -> Self {
        census::restart();
        Self { usage: system::usage(), start: Instant::now() }
    }

    pub(crate) fn stop(self) -> Reading {
        let wall = self.start.elapsed();
        let usage = system::usage();
        Reading {
            wall,
            cpu: usage.cpu.saturating_sub(self.usage.cpu),
            switches: usage.switches - self.usage.switches,
            threads: census::threads(),
        }
    }
}

/// What a [`Meter`] saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    switches: u64,
    threads: usize,
}

impl Reading {
    /// The sample of a run that did `tasks`.
    pub(crate) fn sample(self, tasks: usize, metrics: Vec<Metric>) -> Sample {
        Sample {
            metrics,
            threads: Some(self.threads),
            cpu_nanos_per_task: Some(self.cpu.as_nanos() as f64 / tasks as f64),
            switches_per_task: Some(self.switches as f64 / tasks as f64),
            peak_kib: None,
        }
    }

    /// The same for a run whose only figure is its time for each task.
    pub(crate) fn per_task(self, tasks: usize) -> Sample {
        self.sample(tasks, vec![Metric::per_task("time per task", self.wall, tasks)])
    }
}
