//! File reads: what pools of this kind are mostly used for.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use tempfile::TempDir;

use super::Scenario;
use super::flood::Window;
use crate::peers::Peer;
use crate::sample::{Meter, Sample};
use crate::stage::Stage;

/// Small files in the page cache: the system's part is the same for all.
pub(super) struct Shelf {
    files: Vec<PathBuf>,
    /// It takes the files with it when it is dropped.
    _folder: TempDir,
}

impl Shelf {
    const FILES: usize = 64;
    const BYTES: usize = 4096;

    pub(super) fn new() -> Result<Arc<Self>> {
        let folder = tempfile::tempdir()?;
        let files: Vec<_> = (0..Self::FILES).map(|n| folder.path().join(n.to_string())).collect();
        for file in &files {
            fs::write(file, [7; Self::BYTES])?;
        }
        Ok(Arc::new(Self { files, _folder: folder }))
    }

    /// Opens and reads the n-th, over and over from the first.
    pub(super) fn read(&self, n: usize) -> u8 {
        let mut content = [0; Self::BYTES];
        let mut file = File::open(&self.files[n % Self::FILES]).expect("the file can be opened");
        file.read_exact(&mut content).expect("the file has that many bytes");
        content[0]
    }
}

/// They are opened and read, 64 in flight.
pub(super) struct Files;

impl Scenario for Files {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let shelf = Shelf::new()?;
        let crew = stage.crew;
        let program = |tasks| {
            let shelf = Arc::clone(&shelf);
            Window::of(tasks, move |n| {
                let shelf = Arc::clone(&shelf);
                crew.spawn(move || shelf.read(n))
            })
        };
        stage.driver.run(program(stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(program(stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}
