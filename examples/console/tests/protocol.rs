//! The example as tokio-console meets it: a program that is asked, over the console's own protocol,
//! which tasks there are and how long they have waited and run.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, SystemTime},
};

use console_api::{
    Field, PollStats,
    field::{Name, Value},
    instrument::{InstrumentRequest, Update, instrument_client::InstrumentClient},
    tasks::{Stats, Task},
};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example, which is ended with the test.
struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_console"));
        command.arg("0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Program { child, input, output: BufReader::new(output) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a console knows of a task.
#[derive(Clone, Debug)]
struct Seen {
    fields: HashMap<String, String>,
    file: String,
    stats: Stats,
    /// When the program said so.
    now: SystemTime,
}

fn name_and_value(field: Field) -> (String, String) {
    let Some(Name::StrName(name)) = field.name else { panic!("a field without a name: {field:?}") };
    let value = match field.value.unwrap() {
        Value::DebugVal(text) | Value::StrVal(text) => text,
        Value::U64Val(number) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    };
    (name, value)
}

impl Seen {
    fn new(task: Task, stats: Stats, now: SystemTime) -> Self {
        let location = task.location.unwrap();
        assert!(
            location.line.is_some_and(|line| line > 0) && location.column.is_some_and(|column| column > 0)
        );
        let fields = task.fields.into_iter().map(name_and_value).collect();
        Seen { fields, file: location.file.unwrap(), stats, now }
    }

    fn polls(&self) -> &PollStats {
        self.stats.poll_stats.as_ref().unwrap()
    }

    fn has_ended(&self) -> bool {
        self.stats.dropped_at.is_some()
    }

    /// It has been entered once, and not left.
    fn runs(&self) -> bool {
        let polls = self.polls();
        polls.polls == 1 && polls.last_poll_started.is_some() && polls.last_poll_ended.is_none()
    }

    fn busy(&self) -> Duration {
        let polls = self.polls();
        let ended: Duration = polls.busy_time.unwrap().try_into().unwrap();
        match polls.last_poll_started {
            Some(started) if self.runs() => ended + since(started.try_into().unwrap(), self.now),
            _ => ended,
        }
    }

    /// As the console computes it.
    fn idle(&self) -> Duration {
        let end = self.stats.dropped_at.map_or(self.now, |end| end.try_into().unwrap());
        since(self.stats.created_at.unwrap().try_into().unwrap(), end).saturating_sub(self.busy())
    }
}

fn since(begin: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(begin).unwrap_or_default()
}

/// All tasks of the program by their spans, as far as the updates have told of them.
#[derive(Default)]
struct Tasks(HashMap<u64, Seen>);

impl Tasks {
    fn take_in(&mut self, update: Update) {
        let now = update.now.unwrap().try_into().unwrap();
        let mut update = update.task_update.unwrap();
        assert_eq!(update.dropped_events, 0);
        for task in update.new_tasks {
            let id = task.id.unwrap().id;
            let stats = update.stats_update.remove(&id).unwrap();
            self.0.insert(id, Seen::new(task, stats, now));
        }
        for (id, stats) in update.stats_update {
            self.0.get_mut(&id).unwrap().stats = stats;
        }
        self.0.values_mut().for_each(|seen| seen.now = now);
    }

    fn named(&self, name: &'static str) -> impl Iterator<Item = &Seen> {
        self.0.values().filter(move |seen| seen.fields.get("task.name").is_some_and(|field| field == name))
    }

    /// The only task of this name, if it is known.
    fn only(&self, name: &'static str) -> Option<&Seen> {
        assert!(self.named(name).count() <= 1, "{name}");
        self.named(name).next()
    }
}

/// Takes updates in until `look` gives something.
macro_rules! until {
    ($what:literal, $updates:ident, $tasks:ident, $look:expr) => {{
        let wait = async {
            loop {
                let look: Option<_> = $look;
                if let Some(found) = look {
                    break found;
                }
                $tasks.take_in($updates.message().await.unwrap().expect("the program ended"));
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect($what)
    }};
}

#[tokio::test]
async fn a_console_finds_the_tasks_with_their_names_places_and_times() {
    let mut program = Program::start();
    let line = program.line();
    let address = line.strip_prefix("tokio-console ").expect("the first line says where").to_owned();
    let mut client = InstrumentClient::connect(address).await.unwrap();
    let mut updates = client.watch_updates(InstrumentRequest {}).await.unwrap().into_inner();
    let mut tasks = Tasks::default();

    // The first one runs, and the second waits for its turn, for longer and longer.
    let (first, second) = until!("one reads, one waits", updates, tasks, {
        let pair = tasks.only("first line").zip(tasks.only("second line"));
        pair.filter(|(first, second)| first.runs() && second.idle() > Duration::ZERO)
            .map(|(first, second)| (first.clone(), second.clone()))
    });
    for seen in [&first, &second] {
        assert_eq!(seen.fields["kind"], "blocking");
        assert_eq!((&*seen.fields["pool"], &*seen.fields["lane"]), ("example", "terminal"));
        assert!(seen.fields["task.id"].parse::<u64>().unwrap() > 0);
        assert!(seen.file.ends_with("main.rs"), "{seen:?}");
        assert!(!seen.has_ended());
    }
    assert_eq!((second.polls().polls, second.busy()), (0, Duration::ZERO), "{second:?}");
    let (busy, idle) = until!("time passes", updates, tasks, {
        let pair = tasks.only("first line").zip(tasks.only("second line"));
        pair.map(|(first, second)| (first.busy(), second.idle()))
            .filter(|(busy, idle)| *busy > first.busy() && *idle > second.idle())
    });
    let sum = until!("a sum is computed", updates, tasks, {
        tasks.named("sum").find(|seen| seen.has_ended()).cloned()
    });
    assert_eq!((&*sum.fields["kind"], sum.polls().polls), ("blocking", 1));
    assert!(sum.busy() > Duration::ZERO && !sum.fields.contains_key("lane"), "{sum:?}");

    // The first one ends, with its time; the second runs, and has waited as long as that.
    program.input.write_all(b"\n").unwrap();
    let (first, second) = until!("the next one reads", updates, tasks, {
        let pair = tasks.only("first line").zip(tasks.only("second line"));
        pair.filter(|(first, second)| first.has_ended() && second.runs())
            .map(|(first, second)| (first.clone(), second.clone()))
    });
    assert!(first.busy() >= busy && second.idle() >= idle, "{first:?}, {second:?}");
    assert_eq!((first.polls().polls, second.polls().polls), (1, 1));

    program.input.write_all(b"\n").unwrap();
    drop(updates);
    assert!(program.line().ends_with(" sums"));
    assert!(program.child.wait().unwrap().success());
}
