//! What is said when a card has less room for a run than when it was verified.

use memspec::cost::Estimate;
use memspec::plan::{Comparison, Limit};
use memspec::quantity::Bytes;
use memspec::setup::Verified;
use memspec::solve::{Resolved, changes};
use memspec_lint::diagnostic::from_too_big;

use super::failure::Failure;
use super::open::Opened;

/// A card with so much less room has other programs on it; the rest is its driver's.
const OTHERS: u64 = 256 << 20;
/// Changes that are named where nothing says how much they would have to save.
const NAMED: usize = 3;

impl Opened {
    /// A run that fits by its estimate, and did not: which settings own its memory, what has changed since it was verified, and what would fit now.
    /// `failed` says where it stopped; `room` is what it could have had of the card then, where the driver tells.
    pub(super) fn out_of_memory(
        &self,
        resolved: &Resolved,
        verified: &Verified,
        failed: String,
        room: Option<u64>,
    ) -> Failure {
        let (setup, estimate) = (verified.setup(), verified.estimate());
        let room = room.filter(|room| room + OTHERS < setup.device.usable.0);
        let limit_bytes = room.map_or(estimate.limit_bytes, |room| room.min(estimate.limit_bytes));
        let short = Estimate { limit_bytes, fits: false, ..estimate.clone() };
        let mut finding = from_too_big(&self.written(&resolved.plan.name), setup, &short);
        finding.message = failed;
        let (promised, limit) = (Bytes(estimate.peak.process.bytes), Bytes(estimate.limit_bytes));
        finding.notes = vec![match room {
            Some(room) => format!(
                "the run was promised to take {promised}, and verified against {limit}; now other programs hold {} of the card, which leaves {}",
                Bytes(setup.device.usable.0 - room),
                Bytes(room)
            ),
            None => format!(
                "the run was promised to take {promised} of {limit}, and the driver names no other program on the card: please report this with the plan"
            ),
        }];
        finding.help = Some(self.ways_out(resolved, room.map(|_| Bytes(limit_bytes))));
        Failure::TooBig(Box::new(self.document.clone()), Box::new(finding))
    }

    /// Changes that fit into the room that is left; where that is not known, those that save.
    fn ways_out(&self, resolved: &Resolved, room: Option<Bytes>) -> String {
        let mut short = resolved.clone();
        if let Some(room) = room {
            let budget = short.plan.budget.get_or_insert_default();
            budget.device_memory = Some(Limit { comparison: Comparison::AtMost, value: room });
        }
        let all = changes(&short, &self.base, &self.environment);
        let fitting: Vec<_> = all.iter().filter(|change| room.is_some() && change.estimate.fits).collect();
        let (named, fits) = match fitting.is_empty() {
            true => (all.iter().take(NAMED).collect(), ""),
            false => (fitting, ", fits"),
        };
        let changes = named.iter().map(|change| format!("\n{}: saves {}{fits}", change.title, change.saves));
        let changes: String = changes.collect();
        format!(
            "with room again, `--resume` goes on from a checkpoint; with less of it, a new run of a changed plan:{changes}"
        )
    }
}

#[cfg(test)]
mod tests {
    use memspec_lint::output::{Style, report};

    use super::super::open::open;
    use super::*;

    const PLAN: &str = r#"plan "qlora" {
  model  = "meta-llama/Meta-Llama-3-8B"
  device = "h100-80"
  engine = memspec

  quantize nf4 { double = true }
  adapter lora { rank = 16 }
  data { context = 2048tok }
  train { micro_batch = 4; checkpointing = none }
}
"#;

    /// What is printed where there was so much room.
    fn printed(room: Option<u64>) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plan.mem"), PLAN).unwrap();
        let opened = open(&folder.path().join("plan.mem"), None).ok().unwrap();
        let resolved = &opened.resolved[0];
        let verified = resolved.setup.clone().verify().unwrap();
        let stopped = "the device failed in step 3: out of device memory allocating 1048576 bytes".to_owned();
        let Failure::TooBig(document, finding) = opened.out_of_memory(resolved, &verified, stopped, room) else {
            unreachable!("a plan for which there is no room")
        };
        report::render(&document.source, &finding, Style::PLAIN).replace(&folder.path().display().to_string(), "")
    }

    #[test]
    fn another_program_took_the_room() {
        let said = printed(Some(20 << 30));
        for words in ["step 3: out of device memory", "leaves 20.0 GiB", "checkpointing -> block", ", fits"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn nobody_else_is_there() {
        let said = printed(None);
        assert!(said.contains("please report this with the plan"), "{said}");
        assert!(said.contains("checkpointing -> block"), "{said}");
    }
}
