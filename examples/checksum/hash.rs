//! Hashes one file, chunk by chunk. Blocks, as every read of a file does.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};

/// What is read between two looks at whether to go on: well under a millisecond of hashing.
const CHUNK: usize = 64 * 1024;

/// The sum of one file, and how much of it there was to hash.
pub(crate) struct Sum {
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
}

/// Returns the SHA-256 of the file, or the error of `after_chunk`, which hears how much each chunk
/// held.
pub(crate) fn sha256(path: &Path, mut after_chunk: impl FnMut(u64) -> io::Result<()>) -> io::Result<Sum> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let len = match file.read(&mut chunk) {
            Ok(0) => return Ok(Sum { digest: hasher.finalize().into(), bytes }),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&chunk[..len]);
        bytes += len as u64;
        after_chunk(len as u64)?;
    }
}
