//! What is written per file: the lines of `--sums` on standard output, unreadable files on standard
//! error.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    path::Path,
};

use crate::walk::Failure;

/// Lines that wait to be written.
#[derive(Default)]
pub(crate) struct Lines {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Lines {
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.err.is_empty()
    }

    /// Adds the line by which `sha256sum -c` finds and checks the file.
    ///
    /// As GNU does it, a name with a backslash or a line break in it is escaped, and a backslash
    /// before the sum says so. Any other name stands there byte for byte, whether or not it is
    /// UTF-8.
    pub(crate) fn add_sum(&mut self, path: &Path, digest: &[u8; 32]) {
        let name = bytes_of(path);
        let must_escape = name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
        if must_escape {
            self.out.push(b'\\');
        }
        for byte in digest {
            self.out.extend([hex(byte >> 4), hex(byte & 0xf)]);
        }
        self.out.extend(b"  ");
        for byte in name.iter() {
            match byte {
                b'\\' => self.out.extend(br"\\"),
                b'\n' => self.out.extend(br"\n"),
                b'\r' => self.out.extend(br"\r"),
                byte => self.out.push(*byte),
            }
        }
        self.out.push(b'\n');
    }

    pub(crate) fn add_failure(&mut self, failure: &Failure) {
        let Failure { path, error } = failure;
        self.err.extend(format!("checksum: {}: {error}\n", path.display()).bytes());
    }

    /// Writes all of it. Blocks for as long as the reader at the other end takes.
    pub(crate) fn write(&self) -> io::Result<()> {
        // If standard error is gone, the exit status still says that some files could not be read.
        let _ = io::stderr().write_all(&self.err);
        let mut out = io::stdout().lock();
        out.write_all(&self.out)?;
        out.flush()
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

#[cfg(unix)]
fn bytes_of(path: &Path) -> Cow<'_, [u8]> {
    use std::os::unix::ffi::OsStrExt as _;
    Cow::Borrowed(path.as_os_str().as_bytes())
}

#[cfg(not(unix))]
fn bytes_of(path: &Path) -> Cow<'_, [u8]> {
    Cow::Owned(path.to_string_lossy().into_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, path::Path};

    use super::Lines;

    fn sum_line(name: impl AsRef<OsStr>) -> Vec<u8> {
        let mut lines = Lines::default();
        lines.add_sum(Path::new(&name), &[0xa5; 32]);
        lines.out
    }

    fn expected(before: &str, name: &str) -> Vec<u8> {
        format!("{before}{}  {name}\n", "a5".repeat(32)).into_bytes()
    }

    #[test]
    fn plain_names_stand_as_they_are() {
        for name in ["./a", "two  spaces ", "*star", "tab\there", "ünï"] {
            assert_eq!(sum_line(name), expected("", name));
        }
    }

    #[test]
    fn backslashes_and_line_breaks_are_escaped_and_announced() {
        for (name, escaped) in [(r"a\b", r"a\\b"), ("a\nb", r"a\nb"), ("a\r", r"a\r"), ("\\\n", r"\\\n")] {
            assert_eq!(sum_line(name), expected("\\", escaped));
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_keep_their_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let line = sum_line(OsStr::from_bytes(b"\xff\xfe"));
        assert!(line.ends_with(b"  \xff\xfe\n"));
    }
}
