//! A value that one closure at a time may use: what a call of it costs.

use std::hint::black_box;

use anyhow::Result;

use super::{Case, Load, Scenario, Sizing};
use crate::peers::{Call, Family, Peer};
use crate::sample::{Meter, Sample};
use crate::stage::{Crew, Stage};

/// Async tasks that call again and again, as the connections of a server do.
pub(super) struct StrandClients;

impl StrandClients {
    const CLIENTS: usize = 100;

    async fn of<P: Peer>(crew: Crew<P>, tasks: usize) {
        let share = tasks.div_ceil(Self::CLIENTS);
        let client = move || async move {
            for n in 0..share {
                black_box(crew.spawn(move || n).result().await);
            }
        };
        let clients: Vec<_> = (0..Self::CLIENTS).map(|_| tokio::spawn(client())).collect();
        for client in clients {
            client.await.expect("a client does not panic");
        }
    }
}

impl Scenario for StrandClients {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        stage.driver.run(Self::of(stage.crew, stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(Self::of(stage.crew, stage.tasks));
        Ok(meter.stop().per_task(stage.tasks.next_multiple_of(Self::CLIENTS)))
    }
}

/// Who keeps such a value.
const OWNERS: &[Family] = &[Family::Strand, Family::OwnerThread];

/// The cases: one call at a time, calls of many, and many calls of one.
pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, load, sizes, about: &'static str| {
        Case::new(&format!("strand_{name}"), load, sizes, about)
            .in_group("strand")
            .sized(Sizing::AtMost(512))
            .among(OWNERS)
            .both_flavors()
            .counted_in("calls")
    };
    vec![
        case("serial", Load::Serial, [20_000, 500], "calls of a value, one at a time, each awaited"),
        case(
            "clients",
            Load::StrandClients,
            [100_000, 2_000],
            "calls of a value, by 100 async tasks that call again and again",
        ),
        case("burst", Load::Burst, [100_000, 2_000], "calls of a value by one async task, then all awaited"),
    ]
}
