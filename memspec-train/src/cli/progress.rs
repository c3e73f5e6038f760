//! Progress of a run: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use memspec::quantity::Bytes;

use super::print::note;
use crate::run::{Event, Scaled};

/// How often a line is printed where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Shows a run's events.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: Option<Instant>,
    steps: u64,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| ProgressBar::new(0));
        Self { bar, quiet, last: None, steps: 0 }
    }

    pub(super) fn show(&mut self, event: &Event) {
        if self.quiet {
            return;
        }
        match (event, &self.bar) {
            (Event::Loading { done, blocks }, Some(bar)) => {
                bar.set_style(style("loading {wide_bar} {pos}/{len} blocks"));
                bar.set_length(*blocks);
                bar.set_position(*done);
            }
            (Event::Started { step, steps }, bar) => {
                self.steps = *steps;
                if let Some(bar) = bar {
                    bar.set_style(style("{wide_bar} {pos}/{len} {msg} {eta}"));
                    bar.set_length(*steps);
                    bar.set_position(*step);
                } else if *step > 0 {
                    note(&format!("going on after step {step}"));
                }
            }
            (Event::Step(line), bar) => {
                let scaled = match line.scaled {
                    Some(Scaled { loss_scale, skipped: true }) => {
                        format!(" (left out: an overflow at the scale {loss_scale})")
                    }
                    Some(Scaled { loss_scale, .. }) => format!(" (scale {loss_scale})"),
                    None => String::new(),
                };
                let message = format!(
                    "loss {:.3}{scaled}, {:.0} tokens/s, {} of {} promised",
                    line.loss,
                    line.tokens_per_second,
                    Bytes(line.measured_bytes),
                    Bytes(line.promised_bytes)
                );
                if let Some(bar) = bar {
                    bar.set_position(line.step);
                    bar.set_message(message);
                } else if self.last.is_none_or(|last| last.elapsed() >= EVERY) || line.step == self.steps {
                    note(&format!("step {}/{}: {message}", line.step, self.steps));
                    self.last = Some(Instant::now());
                }
            }
            (Event::Evaluated { step, loss }, bar) => {
                let message = format!("step {step}: evaluation loss {loss:.3}");
                match bar {
                    Some(bar) => bar.println(message),
                    None => note(&message),
                }
            }
            (Event::Saved { step }, Some(bar)) => bar.println(format!("step {step}: checkpoint saved")),
            (Event::Loading { .. } | Event::Saved { .. }, _) => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How much of a long piece of work is done: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(super) struct Count {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: Instant,
    what: &'static str,
    all: u64,
}

impl Count {
    /// Work of `all` pieces, which are called `what`.
    pub(super) fn new(quiet: bool, what: &'static str, all: u64) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(all);
            bar.set_style(style(&format!("{{wide_bar}} {{pos}}/{{len}} {what} {{eta}}")));
            bar
        });
        Self { bar, quiet, last: Instant::now(), what, all }
    }

    pub(super) fn show(&mut self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if !self.quiet && self.last.elapsed() >= EVERY => {
                note(&format!("{done} of {} {}", self.all, self.what));
                self.last = Instant::now();
            }
            None => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
