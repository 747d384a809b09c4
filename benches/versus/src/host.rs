//! Where and with what a run took place.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::system;

/// The versions that were built in are those of the lock file.
const LOCK_FILE: &str = include_str!("../Cargo.lock");
const PACKAGES: [&str; 8] =
    ["sidestep", "tokio", "blocking", "async-fs", "affinitypool", "rayon", "threadpool", "rusty_pool"];

/// The facts that stand above every report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    /// UTC.
    pub(crate) date: String,
    pub(crate) load_before: String,
    pub(crate) versions: Vec<String>,
}

impl Host {
    /// As it is now.
    pub(crate) fn here() -> Self {
        let known = |fact: Option<String>| fact.unwrap_or_else(|| "unknown".to_owned());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            cores: num_cpus::get(),
            cpu: known(system::cpu_model()),
            kernel: known(system::kernel()),
            date: timestamp(now.as_secs()),
            load_before: known(system::load()),
            versions: PACKAGES
                .iter()
                .filter_map(|package| Some(format!("{package} {}", version(LOCK_FILE, package)?)))
                .collect(),
        }
    }

    /// One fact a line, with its name.
    pub(crate) fn lines(&self) -> [(&'static str, String); 6] {
        [
            ("cores", self.cores.to_string()),
            ("CPU", self.cpu.clone()),
            ("kernel", self.kernel.clone()),
            ("date", self.date.clone()),
            ("load before", self.load_before.clone()),
            ("versions", self.versions.join(", ")),
        ]
    }
}

/// The version of `package` in the text of a lock file.
fn version<'a>(lock_file: &'a str, package: &str) -> Option<&'a str> {
    let (_, entry) = lock_file.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    entry.split('"').next()
}

/// Seconds since 1970 as a date and a time.
fn timestamp(seconds: u64) -> String {
    // Howard Hinnant's days-to-date: years are counted from March, in eras of 400 years.
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_version() {
        assert_eq!(Host::here().versions.len(), PACKAGES.len());
        assert_eq!(version("name = \"a\"\nversion = \"1.2\"\n", "a"), Some("1.2"));
        assert_eq!(version("name = \"ab\"\nversion = \"1.2\"\n", "a"), None);
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01 00:00 UTC");
        assert_eq!(timestamp(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(timestamp(1_767_225_599), "2025-12-31 23:59 UTC");
    }
}
