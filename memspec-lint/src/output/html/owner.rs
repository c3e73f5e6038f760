//! Whose memory it is: the few colours of the picture, of the many parts of an estimate.

/// An owner of memory, the one that stays longest first: so they are stacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Weights,
    Trained,
    States,
    Gradients,
    Activations,
    Logits,
    Devices,
    Temporaries,
}

impl Owner {
    pub(super) const ALL: [Self; 8] = [
        Self::Weights,
        Self::Trained,
        Self::States,
        Self::Gradients,
        Self::Activations,
        Self::Logits,
        Self::Devices,
        Self::Temporaries,
    ];

    /// The owner of a part, by its name and its setting; `None` for a part that this table does not have yet.
    pub(super) fn find(what: &str, setting: &str) -> Option<Self> {
        Some(match (what, setting) {
            ("base weights" | "embedding and head" | "experts, which `quantize` leaves in 16 bits" | "weights", _) => {
                Self::Weights
            }
            (
                "adapter weights"
                | "modules trained whole"
                | "float32 part of the trained parameters"
                | "16 bit copies of adapters",
                _,
            ) => Self::Trained,
            ("optimizer states", _) => Self::States,
            ("gradients" | "part of the gradients", _) => Self::Gradients,
            ("keys and values of conversations" | "block inputs" | "inputs kept by int8 products", _)
            | ("attention scores" | "batch" | "token ids and targets" | "positions and masks" | "rotary tables", _)
            | ("staging buffers of checkpoints" | "gradients of activations", _) => Self::Activations,
            ("one layer's buffers in forward", _) => Self::Activations,
            (what, _) if what.contains("activations") => Self::Activations,
            ("logits" | "logits and loss", _) => Self::Logits,
            (_, "parallel" | "parallel.reshard") | ("whole parameters while saving", _) => Self::Devices,
            (
                "dequantized weights"
                | "decoded weights"
                | "cuBLAS workspaces"
                | "optimizer temporaries"
                | "merged weights"
                | "whole weights for DoRA's norms"
                | "compiler's timing buffer"
                | "workspace of a prompt",
                _,
            ) => Self::Temporaries,
            _ => return None,
        })
    }

    /// The same; what is not in the table is there for a while, as far as the picture goes.
    pub(super) fn of(what: &str, setting: &str) -> Self {
        Self::find(what, setting).unwrap_or(Self::Temporaries)
    }

    /// In a reader's words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weights => "base weights",
            Self::Trained => "trained weights",
            Self::States => "optimizer states",
            Self::Gradients => "gradients",
            Self::Activations => "activations",
            Self::Logits => "logits and loss",
            Self::Devices => "buffers between devices",
            Self::Temporaries => "temporaries",
        }
    }

    /// Its class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Trained => "trained",
            Self::States => "states",
            Self::Gradients => "gradients",
            Self::Activations => "activations",
            Self::Logits => "logits",
            Self::Devices => "devices",
            Self::Temporaries => "temporaries",
        }
    }
}

#[cfg(test)]
mod tests {
    use memspec::cost::timeline;
    use memspec::exchange::job::Job;

    use super::*;

    #[test]
    fn every_part_of_the_measured_kinds_of_runs_has_an_owner() {
        let mut kinds = std::collections::BTreeSet::new();
        let rows = include_str!("../../../../data/features.jsonl")
            .lines()
            .chain(include_str!("../../../../data/holdout.jsonl").lines());
        let mut without = std::collections::BTreeSet::new();
        for row in rows.filter(|row| row.starts_with('{')) {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            // One model, packing and method each: what a run allocates for hangs on these.
            let job = &row["job"];
            let kind = ["model", "quant", "method", "shard", "stack", "dora"].map(|key| job[key].to_string());
            let Some(setup) = Job::read(job).ok().and_then(|job| job.setup("H200").ok()) else { continue };
            if kinds.insert(kind)
                && let Ok(Some(seen)) = timeline(&setup, 1)
            {
                without.extend(seen.parts.into_iter().filter(|part| Owner::find(part.what, part.setting).is_none()));
            }
        }
        assert!(kinds.len() > 20, "{} kinds", kinds.len());
        assert!(without.is_empty(), "{without:#?}");
    }
}
