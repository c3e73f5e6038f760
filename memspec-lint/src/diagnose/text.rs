//! A diagnosis in sentences.

use std::fmt::Write;

use memspec::quantity::Bytes;

use super::Diagnosis;
use super::cause::Cause;
use super::log::{Death, Found, Library, Refusal};
use super::plan::PlanSays;
use super::suspect::Suspect;
use crate::output::Style;

/// The diagnosis of a log of that name.
pub fn report(diagnosis: &Diagnosis, name: &str, style: Style) -> String {
    let found = &diagnosis.found;
    let mut text = format!("{name}:{}: {}\n", found.line, style.bad(&died(found)));
    if let Death::Refused(refusal) = &found.death {
        let _ = writeln!(text, "  {}", holds(refusal));
    }
    if let Some(cause) = &diagnosis.cause {
        let _ = writeln!(text, "  {} {}", style.bold("cause:"), why(cause));
    }
    if found.more > 0 {
        let times = if found.more == 1 { "once more".to_owned() } else { format!("{} more times", found.more) };
        let _ = writeln!(
            text,
            "  {}",
            style.faint(&format!("the log says so {times}: other ranks, or the same error again"))
        );
    }
    if let Some(plan) = &diagnosis.plan {
        says(&mut text, plan, found, style);
    }
    if !diagnosis.advice.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("what to do"));
        for (n, advice) in diagnosis.advice.iter().enumerate() {
            let _ = writeln!(text, "  {}. {advice}", n + 1);
        }
    }
    text
}

fn died(found: &Found) -> String {
    let phase = found.phase.map(|phase| format!(" in the {phase} phase")).unwrap_or_default();
    match &found.death {
        Death::Refused(refusal) => {
            let gpu = refusal.gpu.map_or_else(|| "the card".to_owned(), |gpu| format!("GPU {gpu}"));
            let tried =
                refusal.tried.map_or_else(|| "more than any machine has".to_owned(), |tried| Bytes(tried).to_string());
            let free = refusal.free.map(|free| format!(", with {} free", Bytes(free))).unwrap_or_default();
            format!("{gpu} had no {tried} for PyTorch{phase}{free}")
        }
        Death::Library(Library::Cublas) => format!("cuBLAS got no memory on the card{phase}"),
        Death::Library(Library::Nccl) => format!("NCCL got no memory on the card{phase}"),
        Death::Library(Library::Cuda) => format!("CUDA got no memory{phase}; it does not say how much it asked for"),
        Death::Killed => {
            format!("the process was killed{phase}, most likely by the kernel, as the host's memory ran out")
        }
        Death::Host { tried: Some(tried) } => format!("the host had no {} for the process{phase}", Bytes(*tried)),
        Death::Host { tried: None } => format!("the host had no memory for the process{phase}"),
    }
}

/// Where the card's memory was.
fn holds(refusal: &Refusal) -> String {
    let mut parts = Vec::new();
    let mut known = 0;
    let mut part = |bytes: Option<u64>, what: &str| {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            known += bytes;
            parts.push(format!("{} {what}", Bytes(bytes)));
        }
    };
    part(refusal.allocated, "in tensors");
    part(refusal.cached, "that PyTorch holds in no tensor");
    part(Some(refusal.others), "held by other processes");
    part(refusal.free, "free");
    match refusal.capacity {
        Some(capacity) => {
            // Sizes are printed with two digits.
            let rest = capacity.saturating_sub(known);
            if refusal.cached.is_none() {
                parts.push("the message does not say the rest".to_owned());
            } else if rest > capacity / 200 {
                parts.push(format!(
                    "{} outside of PyTorch's allocator (context, libraries, other processes)",
                    Bytes(rest)
                ));
            }
            format!("the card has {}: {}", Bytes(capacity), parts.join(", "))
        }
        None => parts.join(", "),
    }
}

fn why(cause: &Cause) -> String {
    match cause {
        Cause::Size { short: Some(short) } => {
            format!("size: {} are missing, even with all that PyTorch holds in no tensor", Bytes(*short))
        }
        Cause::Size { short: None } => "size".to_owned(),
        Cause::Fragmentation { cached, free } => format!(
            "fragmentation: {} in PyTorch's blocks and {} of the driver's would hold it, and no piece of them does",
            Bytes(*cached),
            Bytes(*free)
        ),
        Cause::Withheld { free } => format!(
            "the driver had {} free and gave nothing: the process has a limit of its own, another took it at that moment, or the system keeps it back",
            Bytes(*free)
        ),
        Cause::Others { hold } => format!("other processes hold {} of the card", Bytes(*hold)),
    }
}

fn says(text: &mut String, plan: &PlanSays, found: &Found, style: Style) {
    let verdict = if plan.fits { style.good("fits") } else { style.bad("does not fit") };
    let _ = writeln!(
        text,
        "\n{}: takes {} of {} on {}, which {verdict}",
        style.bold(&format!("plan `{}`", plan.name)),
        Bytes(plan.process_bytes),
        Bytes(plan.limit_bytes),
        plan.device,
    );
    match (&plan.suspect, &found.death) {
        (Some(suspect), _) => allocation(text, suspect, plan.blocks, found, style),
        (None, Death::Refused(_)) => {
            let words = "no allocation of this plan is nearly as large: the run was another (longer samples, a larger batch), or of a version of the stack that allocates differently";
            let _ = writeln!(text, "  {words}");
        }
        _ => {}
    }
    if let Some(oom) = &plan.replay {
        let _ = writeln!(
            text,
            "  {}",
            style.faint(&format!(
                "replayed with as much memory, it fails in the {} phase, trying {} with {} in tensors",
                oom.phase,
                Bytes(oom.tried_bytes),
                Bytes(oom.allocated_bytes)
            ))
        );
    } else if plan.fits {
        let words = "replayed with as much memory it goes through, so the run had more in it than the plan says, or others took memory";
        let _ = writeln!(text, "  {}", style.faint(words));
    }
}

fn allocation(text: &mut String, suspect: &Suspect, blocks: u64, found: &Found, style: Style) {
    let place = match (suspect.place.block, suspect.place.vision) {
        (Some(block), false) => format!("block {block} of {blocks}, {} phase", suspect.place.phase),
        (Some(block), true) => format!("block {block} of the vision tower, {} phase", suspect.place.phase),
        (None, _) => format!("{} phase", suspect.place.phase),
    };
    let how = match suspect.same_size {
        true if suspect.is_likely(found) => "it was",
        true => "as large is",
        false => "nearest to it is",
    };
    let _ = writeln!(
        text,
        "  {how}: {}, {} ({place}), with {} in tensors",
        style.bold(suspect.what),
        Bytes(suspect.bytes),
        Bytes(suspect.alive)
    );
    let _ = writeln!(text, "  owned by {}", style.bold(suspect.setting));
}
