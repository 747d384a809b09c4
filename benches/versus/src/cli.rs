//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Runs the same work on sidestep and on the other ways to run blocking closures, each pair in a
/// process of its own, and prints the costs side by side.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,
    /// Each pair once, with so few tasks that the figures say little: a test that all of it works,
    /// which fails if a run does.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these cases, or groups of cases.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) case: Vec<String>,
    /// Only these peers; ratios need `sidestep` among them.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) peer: Vec<String>,
    /// Of these cases only those whose names have all of these words between their underscores and
    /// slashes: `--case states --only idle 0us`.
    #[arg(long, value_name = "WORD", num_args = 1..)]
    pub(crate) only: Vec<String>,
    /// Beside ours the library at these commits, each built first: `--baseline HEAD~1`.
    #[arg(long, value_name = "REV", num_args = 1..)]
    pub(crate) baseline: Vec<String>,
    /// How often each pair is run [default: 7, quick: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: Option<u16>,
    /// How long one run may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Where the cases of files make their files, 2.3 GB at most [default: the folder for temporary
    /// files].
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,
    /// Saves all that was measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Saves charts (SVG).
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// Saves the tables as GitHub shows them.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Shows what `--json` saved instead of measuring.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "case", "only", "peer", "baseline", "rounds", "files", "json"])]
    pub(crate) from: Option<PathBuf>,
    /// Lists the cases and the peers.
    #[arg(long)]
    pub(crate) list: bool,
}

/// What is not for people.
#[derive(Debug, Subcommand)]
pub(crate) enum Hidden {
    /// One case by one peer, in this process.
    #[command(hide = true)]
    Child(ChildArgs),
    /// Uses all the CPU time there is, until its input ends.
    #[command(hide = true)]
    Hog,
}

/// What a child does.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    pub(crate) case: String,
    #[arg(long)]
    pub(crate) peer: String,
    /// How many tasks to measure.
    #[arg(long)]
    pub(crate) tasks: Option<usize>,
    /// Where the files are that it shares with others [default: it makes its own, and removes
    /// them].
    #[arg(long)]
    pub(crate) files: Option<PathBuf>,
    /// How many to run before that.
    #[arg(long)]
    pub(crate) warm_up: Option<usize>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_end_at_the_next_option() {
        let cli =
            Cli::parse_from(["versus", "--case", "burst", "window", "--peer", "tokio", "--rounds", "3"]);
        assert_eq!((cli.case.len(), cli.peer.len(), cli.rounds), (2, 1, Some(3)));
    }
}
