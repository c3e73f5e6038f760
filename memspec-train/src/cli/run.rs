//! `memspec-train run`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use memspec::quantity::Bytes;
use memspec::solve::Resolved;

use super::RunArguments;
use super::failure::Failure;
use super::open::{Opened, open};
use super::print::{note, out};
use super::progress::Progress;
use crate::output::{Existing, folder_name};
use crate::prepare::prepare;
use crate::report::{Line, Report};
use crate::run::{RunError, RunOptions, run as train};

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// The exit code of a run that was stopped and saved, as shells give it to Ctrl-C.
const STOPPED: u8 = 130;

pub(super) fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    if let Some(threads) = arguments.threads {
        // Fails only when a pool exists already, which is not so here.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
    }
    // The first Ctrl-C (or SIGTERM) saves and stops; the second stops at once.
    let handler = ctrlc::set_handler(|| {
        if STOP.swap(true, Relaxed) {
            std::process::exit(STOPPED.into());
        }
        note("\nstopping after this micro batch and saving; Ctrl-C again stops now");
    });
    handler.map_err(|error| Failure::new(error, "another handler for Ctrl-C is in the way"))?;

    let opened = open(&arguments.plan, arguments.name.as_deref())?;
    let mut code = ExitCode::SUCCESS;
    for resolved in &opened.resolved {
        if STOP.load(Relaxed) {
            break;
        }
        code = one(arguments, &opened, resolved)?;
    }
    Ok(code)
}

/// One setup of the plan.
fn one(arguments: &RunArguments, opened: &Opened, resolved: &Resolved) -> Result<ExitCode, Failure> {
    let mut setup = resolved.setup.clone();
    if opened.resolved.len() > 1 {
        // A sweep's runs do not share a folder.
        setup.output = setup.output.map(|folder| folder.join(folder_name(&setup.name)));
    }
    setup.device.cores = Some(rayon::current_num_threads() as u32);
    let (setup, prepared) = prepare(setup)?;
    let verified = opened.verify(resolved, setup)?;

    let quiet = arguments.quiet || arguments.json;
    let mut progress = Progress::new(quiet);
    if !quiet {
        let estimate = verified.estimate();
        note(&format!(
            "{}: {} on {}, {} steps; promised peak {} in {}, process {} of {}",
            estimate.name,
            verified.setup().model_name,
            estimate.device,
            prepared.steps,
            Bytes(estimate.peak.allocated.bytes),
            estimate.peak.phase,
            Bytes(estimate.peak.process.bytes),
            Bytes(estimate.limit_bytes),
        ));
        if prepared.train.truncated() > 0 {
            note(&format!(
                "{} of {} samples are longer than {} tokens and were cut",
                prepared.train.truncated(),
                prepared.train.len(),
                verified.setup().data.context
            ));
        }
    }
    let existing = match (arguments.resume, arguments.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let options = RunOptions { base: &opened.base, existing, stop: &STOP };
    let finished = train(&verified, &prepared, &options, &mut |event| progress.show(&event));
    progress.finish();
    let finished = finished.map_err(|error| match &error {
        RunError::Stopped { room, cause, .. } if cause.is_out_of_memory() => {
            opened.out_of_memory(resolved, &verified, error.to_string(), *room)
        }
        _ => error.into(),
    })?;

    if arguments.json {
        out(&format!("{}\n", serde_json::to_string_pretty(&finished.report).unwrap_or_default()))?;
    } else if !arguments.quiet {
        out(&format!("{}{}\n", summary(&finished.report), finished.output.folder.display()))?;
    }
    if finished.stopped {
        if !arguments.quiet {
            note(&format!("stopped at step {}; `--resume` goes on from here", finished.report.steps.done));
        }
        return Ok(ExitCode::from(STOPPED));
    }
    Ok(ExitCode::SUCCESS)
}

/// The report in a few lines.
fn summary(report: &Report) -> String {
    let mut text = String::new();
    let (first, last) = (report.losses.first(), report.losses.last());
    if let (Some(first), Some(last)) = (first, last) {
        text += &format!(
            "{} steps, loss {first:.3} -> {last:.3}, {:.0} tokens/s\n",
            report.steps.done, report.tokens_per_second
        );
        if let Some(scaler) = report.loss_scaler {
            text += &format!("{} of them left out for an overflow, loss scale {}\n", scaler.skipped, scaler.scale);
        }
        text.push('\n');
    }
    text += &format!("{:<12}{:>12}{:>12}{:>9}\n", "", "promised", "measured", "");
    let lines = report.phases.iter().chain([&report.workspace, &report.host, &report.process]);
    for Line { name, promised_bytes, measured_bytes } in lines {
        let apart = 100.0 * (*promised_bytes as f64 / (*measured_bytes).max(1) as f64 - 1.0);
        let (promised, measured) = (Bytes(*promised_bytes).to_string(), Bytes(*measured_bytes).to_string());
        text += &format!("{name:<12}{promised:>12}{measured:>12}{apart:>+8.1}%\n");
    }
    text.push('\n');
    text
}
