//! File reads: what pools of this kind are mostly used for.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::Scenario;
use super::flood::Window;
use crate::peers::Peer;
use crate::sample::{Meter, Sample};
use crate::stage::Stage;

/// Small files are opened and read, 64 in flight. They are in the page cache: the system's part is the same for all.
pub(super) struct Files;

impl Files {
    const FILES: usize = 64;
    const BYTES: usize = 4096;

    fn read(file: &PathBuf) -> u8 {
        let mut content = [0; Self::BYTES];
        let mut file = File::open(file).expect("the file can be opened");
        file.read_exact(&mut content).expect("the file has that many bytes");
        content[0]
    }
}

impl Scenario for Files {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let folder = tempfile::tempdir()?;
        let files: Arc<[PathBuf]> = (0..Self::FILES).map(|n| folder.path().join(n.to_string())).collect();
        for file in files.iter() {
            fs::write(file, [7; Self::BYTES])?;
        }
        let crew = stage.crew;
        let program = move |tasks| {
            let files = Arc::clone(&files);
            Window::of(tasks, move |n| {
                let files = Arc::clone(&files);
                crew.spawn(move || Self::read(&files[n % Self::FILES]))
            })
        };
        stage.driver.run(program(stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(program(stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}
