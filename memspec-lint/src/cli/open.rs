//! From a plan's file to what checks it: the file's `memspec.toml`, and what the command line asks for before that.

use std::io::Read;
use std::path::Path;

use clap::Args;
use memspec::plan::Document;

use super::{Failure, find};
use crate::Linter;
use crate::config::{Defaults, Device, Selection, Selector, Settings};
use crate::output::Style;

/// The path that means standard input.
pub(super) const STDIN: &str = "-";

/// On which device plans are looked at.
#[derive(Debug, Args)]
pub(super) struct OnDevice {
    /// The device, whatever the plans name: one of the catalog, cpu, or auto for this machine's; without this option, plans that
    /// name none are on the device of memspec.toml, else on this machine's card
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
}

/// Finds what holds for each file.
#[derive(Debug, Default)]
pub(super) struct Opener {
    /// Goes before what a `memspec.toml` says.
    device: Option<String>,
    pub(super) select: Option<Vec<Selector>>,
    pub(super) ignore: Vec<Selector>,
}

impl Opener {
    /// With a device for all plans.
    pub(super) fn new(on: &OnDevice) -> Result<Self, Failure> {
        if let Some(name) = &on.device {
            memspec::device::find(name).map_err(|error| Failure::new(error, "`--device NAME` takes one of these"))?;
        }
        Ok(Self { device: on.device.clone(), ..Self::default() })
    }

    /// What checks the plans of a file.
    pub(super) fn linter(&self, path: &Path) -> Result<Linter, Failure> {
        Ok(Linter::for_file(path).with(self.settings(path)?))
    }

    fn settings(&self, path: &Path) -> Result<Settings, Failure> {
        let settings = Settings::for_file(path);
        let Settings { mut selection, mut defaults } =
            settings.map_err(|mistakes| Failure(mistakes.render(Style::of_stderr())))?;
        if let Some(select) = &self.select {
            // Who selects here does not mean what is ignored there.
            selection = Selection { select: select.clone(), ignore: Vec::new() };
        }
        selection.ignore.extend(&self.ignore);
        if let Some(device) = &self.device {
            defaults = Defaults { device: Some(Device::Every(device.clone())), ..defaults };
        }
        Ok(Settings { selection, defaults })
    }

    /// A plan file and what checks it; `-` is standard input.
    pub(super) fn open(&self, path: &Path) -> Result<(Linter, Document), Failure> {
        if path == Path::new(STDIN) {
            return self.stdin(Path::new("stdin.mem"));
        }
        let linter = self.linter(path)?;
        let document = find::read(&linter, path)?;
        Ok((linter, document))
    }

    /// A plan from standard input, as if it were in a file of that name.
    pub(super) fn stdin(&self, name: &Path) -> Result<(Linter, Document), Failure> {
        let linter = self.linter(name)?;
        let text = standard_input()?;
        let document = find::readable(linter.read_text(name.display().to_string(), text))?;
        Ok((linter, document))
    }
}

/// All of standard input.
pub(super) fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| {
        Failure::new(format_args!("cannot read standard input: {error}"), "it has to be UTF-8 text")
    })?;
    Ok(text)
}
