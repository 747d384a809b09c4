//! One case by one peer, in this process: what the parent starts, and `callgrind` too.

use std::io::{Write, stdout};

use anyhow::{Context, Result, bail};

use crate::cli::ChildArgs;
use crate::driver::Flavor;
use crate::entrants::{MACHINE, Part};
use crate::peers::{Peer, Threads, Visit};
use crate::sample::Sample;
use crate::scenarios::{self, Load};
use crate::site::Site;
use crate::stage::Stage;
use crate::system;

/// Runs it and prints the sample as one line of JSON.
pub(crate) fn run(args: &ChildArgs) -> Result<()> {
    let cases = scenarios::cases();
    let case = cases.iter().find(|case| case.name == args.case);
    let case = case.with_context(|| format!("there is no case {:?}", args.case))?;
    let tasks = args.tasks.unwrap_or_else(|| case.tasks(false));
    let warm_up = args.warm_up.unwrap_or(tasks / 10).max(1);
    // They end when it has run.
    let _hogs = case.surroundings.enter()?;
    let mut sample = if args.peer == MACHINE {
        if case.load != Load::Floor {
            bail!("{MACHINE} runs only what needs no peer");
        }
        scenarios::floor(tasks)?
    } else {
        let entrants = case.entrants();
        let entrant = entrants.iter().find(|entrant| entrant.name == args.peer);
        let entrant = entrant.with_context(|| format!("{:?} takes no part in {}", args.peer, case.name))?;
        let (load, flavor, threads) = (case.load, entrant.flavor, case.threads(entrant));
        match (entrant.part, load) {
            (Part::Peer(family), _) => {
                let sample = family.dispatch_heavy(Job { load, flavor, threads, tasks, warm_up });
                sample.with_context(|| format!("{:?} is not in this build", args.peer))??
            }
            (Part::Disk(brand), Load::Disk(load)) => {
                load.run(brand, &Site::new(flavor, args.files.as_deref(), tasks, warm_up)?)?
            }
            (Part::Disk(_), _) => bail!("a disk runs no closures"),
        }
    };
    sample.peak_kib = system::peak_resident();
    writeln!(stdout(), "{}", serde_json::to_string(&sample)?)?;
    Ok(())
}

/// A run, but for the type of the peer.
struct Job {
    load: Load,
    flavor: Flavor,
    threads: Threads,
    tasks: usize,
    warm_up: usize,
}

impl Visit for Job {
    type Output = Result<Sample>;

    fn visit<P: Peer>(self) -> Result<Sample> {
        self.load.run(&Stage::<P>::new(self.flavor, self.threads, self.tasks, self.warm_up)?)
    }
}
