//! `memspec.toml`: what holds for the plans of a folder and of those below it.
//!
//! ```toml
//! device = "rtx4090"                    # of plans that name none
//!
//! [budget]                              # limits that plans do not give
//! headroom = ">= 5%"
//!
//! [lint]
//! ignore = ["thin-headroom"]            # names, codes or families
//!
//! [[override]]                          # for some of the plans
//! paths = ["colab/**"]
//! device = "t4"
//! lint.select = ["MEM", "HW"]
//! ```

mod defaults;
mod read;
mod select;

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use memspec::plan::Budget;

pub use defaults::{Defaults, Device};
pub use read::{Mistakes, schema};
pub use select::{Selection, Selector, UnknownSelector, families};

/// The name of the file.
pub const FILE: &str = "memspec.toml";

/// What holds for a plan's file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The rules that are wanted.
    pub selection: Selection,
    /// What holds for plans that do not say.
    pub defaults: Defaults,
}

impl Settings {
    /// What the nearest `memspec.toml` above a plan's file says, if there is one.
    ///
    /// # Errors
    /// What is wrong with that.
    pub fn for_file(path: &Path) -> Result<Self, Mistakes> {
        Ok(Config::for_file(path)?.map(|config| config.settings(path)).unwrap_or_default())
    }
}

/// A `memspec.toml` that was read.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its folder, which paths in it are relative to.
    folder: PathBuf,
    everywhere: Part,
    overrides: Vec<(Vec<Pattern>, Part)>,
}

/// Some of what can be set.
#[derive(Clone, Debug, Default)]
struct Part {
    device: Option<String>,
    budget: Budget,
    select: Option<Vec<Selector>>,
    ignore: Vec<Selector>,
}

/// `*` stays in its folder, `**` does not.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

impl Config {
    /// The configuration for a plan's file: that of the nearest folder above it which has one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn for_file(path: &Path) -> Result<Option<Self>, Mistakes> {
        let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_path_buf));
        Self::for_folder(folder.as_deref().unwrap_or(Path::new(".")))
    }

    /// The configuration for the plans of a folder.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn for_folder(folder: &Path) -> Result<Option<Self>, Mistakes> {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let found = folder.ancestors().map(|folder| folder.join(FILE)).find(|file| file.is_file());
        found.map(|file| read::read(&file)).transpose()
    }

    /// What holds for a plan's file.
    pub fn settings(&self, path: &Path) -> Settings {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let relative = path.strip_prefix(&self.folder).unwrap_or(&path);
        let mut settings = Settings::default();
        self.everywhere.apply(&mut settings);
        for (patterns, part) in &self.overrides {
            if patterns.iter().any(|pattern| pattern.matches_path_with(relative, MATCH)) {
                part.apply(&mut settings);
            }
        }
        settings
    }
}

impl Part {
    fn apply(&self, settings: &mut Settings) {
        let Settings { selection, defaults } = settings;
        if let Some(device) = &self.device {
            defaults.device = Some(Device::Unnamed(device.clone()));
        }
        defaults.budget = defaults::or(self.budget.clone(), &defaults.budget);
        if let Some(select) = &self.select {
            selection.select.clone_from(select);
        }
        selection.ignore.extend(&self.ignore);
    }
}
