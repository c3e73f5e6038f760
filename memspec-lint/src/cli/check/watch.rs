//! `check --watch`: again whenever a file changes.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Arguments, once};
use crate::cli::{Failure, eprint, find, print};
use crate::config::FILE;
use crate::output::Style;

/// Between looks. Files are looked at, not waited for: that also works on network drives and in containers.
const PAUSE: Duration = Duration::from_millis(300);
/// Clears a terminal, and begins at its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[3J\u{1b}[H";

/// Checks until the process is ended.
pub(super) fn watch(arguments: &Arguments, style: Style) -> Result<std::convert::Infallible, Failure> {
    loop {
        let seen = stamps(arguments);
        if std::io::stdout().is_terminal() {
            print(CLEAR)?;
        }
        // What cannot be read now may be, once it is written.
        if let Err(Failure(text)) = once(arguments, style) {
            eprint(&text);
        }
        print(&style.faint("watching; Ctrl-C ends\n"))?;
        while stamps(arguments) == seen {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Every file that matters, with its time and size.
fn stamps(arguments: &Arguments) -> Vec<(PathBuf, Option<(SystemTime, u64)>)> {
    let plans = find::plans(&arguments.paths, arguments.wanted()).unwrap_or_default();
    let mut files: Vec<PathBuf> = plans.iter().flat_map(|path| configurations(path)).collect();
    files.sort();
    files.dedup();
    let stamp = |path: PathBuf| {
        let stamp = std::fs::metadata(&path).and_then(|data| Ok((data.modified()?, data.len()))).ok();
        (path, stamp)
    };
    plans.into_iter().chain(files).map(stamp).collect()
}

/// Where a plan's `memspec.toml` may be.
fn configurations(plan: &Path) -> Vec<PathBuf> {
    let plan = std::path::absolute(plan).unwrap_or_else(|_| plan.to_path_buf());
    plan.ancestors().skip(1).map(|folder| folder.join(FILE)).collect()
}
