//! The async face of a blocking client: each call is one closure in a lane.

use std::{fmt, net::SocketAddr, time::Duration};

use sidestep::{Lane, Pool, Task, TaskError};
use ureq::Agent;

use crate::server::{CHECKSUM, checksum};

/// Bounds each call from the first byte to the last. A running call cannot be taken back; so this
/// is also how long a caller that gives up keeps its slot and its thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cheap to clone, as its parts are: all clones share the connections and the limit.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    lane: Lane,
    server: SocketAddr,
}

impl Client {
    pub(crate) fn new(pool: &Pool, server: SocketAddr, in_flight: usize) -> Client {
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // The defaults keep three connections to a server, and open and close one for each call
            // beyond that.
            .max_idle_connections(in_flight)
            .max_idle_connections_per_host(in_flight)
            // The environment's proxy does not know our loopback.
            .proxy(None)
            .build();
        Client { agent: config.into(), lane: pool.lane("http", in_flight), server }
    }

    /// Queues the call and returns at once; dropping the task takes the call back if it has not
    /// begun.
    pub(crate) fn call(&self, number: u32) -> Task<Result<Answer, ureq::Error>> {
        let agent = self.agent.clone();
        let path = format!("/{number}");
        let url = format!("http://{}{path}", self.server);
        self.lane.spawn(move || get(&agent, &url, &path))
    }

    /// The same call on this thread, which it blocks.
    pub(crate) fn call_in_place(&self, number: u32) -> Result<Answer, ureq::Error> {
        let path = format!("/{number}");
        get(&self.agent, &format!("http://{}{path}", self.server), &path)
    }
}

/// What the server said.
pub(crate) enum Answer {
    Status(u16),
    Body { is_right: bool },
}

/// The part that blocks. The body is read here as well: that is part of the call.
fn get(agent: &Agent, url: &str, path: &str) -> Result<Answer, ureq::Error> {
    let mut response = agent.get(url).call()?;
    let body = response.body_mut().read_to_vec()?;
    if !response.status().is_success() {
        return Ok(Answer::Status(response.status().as_u16()));
    }
    let announced = response.headers().get(CHECKSUM).and_then(|value| value.to_str().ok());
    Ok(Answer::Body { is_right: announced == Some(&checksum(path, &body)) })
}

/// How a call has ended, in words.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Right,
    Wrong,
    Status(u16),
    Timeout,
    /// The call failed, or the pool could not run it.
    Failed(String),
}

impl Outcome {
    pub(crate) fn of(result: Result<Result<Answer, ureq::Error>, TaskError>) -> Outcome {
        match result {
            Ok(Ok(Answer::Body { is_right: true })) => Outcome::Right,
            Ok(Ok(Answer::Body { is_right: false })) => Outcome::Wrong,
            Ok(Ok(Answer::Status(status))) => Outcome::Status(status),
            Ok(Err(ureq::Error::Timeout(_))) => Outcome::Timeout,
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Right => f.pad("right bodies"),
            Outcome::Wrong => f.pad("WRONG BODIES"),
            Outcome::Status(status) => f.pad(&format!("status {status}")),
            Outcome::Timeout => f.pad("timeouts"),
            Outcome::Failed(reason) => f.pad(&format!("{reason}: ")),
        }
    }
}
