//! DeepSpeed's configuration, where a trainer's file has it or names it.

use serde_yaml::{Mapping, Value as Yaml};

use super::read::{Reading, scalar};

/// What of DeepSpeed's configuration a plan says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeepSpeed {
    /// `zero1`, `zero2` or `zero3`.
    pub(super) kind: &'static str,
    /// Optimizer states rest in host memory.
    pub(super) optimizer: bool,
    /// Parameters do.
    pub(super) parameters: bool,
}

impl DeepSpeed {
    /// A configuration that a trainer comes with.
    pub(super) const fn new(kind: &'static str, optimizer: bool, parameters: bool) -> Self {
        Self { kind, optimizer, parameters }
    }

    /// The key's configuration: written there, one of those that the trainer comes with, or a file whose name tells its stage. What is not
    /// understood is noted.
    pub(super) fn read(file: &mut Reading<'_>, key: &str, known: &[(&str, DeepSpeed)]) -> Option<Self> {
        let config = file.written(key)?;
        let (stage, [optimizer, parameters]) = if config.is_mapping() {
            let zero = config.get("zero_optimization");
            let host = |part: &str| {
                zero.and_then(|zero| zero.get(part)?.get("device")).is_some_and(|device| scalar(device) == "cpu")
            };
            let stage = zero.and_then(|zero| zero.get("stage")).and_then(Yaml::as_u64);
            (stage, [host("offload_optimizer"), host("offload_param")])
        } else {
            let path = scalar(&config);
            let name = path.rsplit('/').next().unwrap_or(&path);
            if let Some((_, known)) = known.iter().find(|(known, _)| *known == name) {
                return Some(*known);
            }
            let name = name.to_ascii_lowercase();
            if name.contains("offload") {
                file.refuse(key, "what a file of its own offloads is not read: write the configuration here");
            }
            let told = |stage: &u64| ["zero", "z", "stage"].iter().any(|word| name.contains(&format!("{word}{stage}")));
            ([1, 2, 3].into_iter().find(told), [false, false])
        };
        let kind = match stage {
            Some(1) => "zero1",
            Some(2) => "zero2",
            Some(3) => "zero3",
            _ => {
                let why = "its stage is not in it: write the configuration here, with `zero_optimization: {stage: 3}`";
                file.refuse(key, why);
                return None;
            }
        };
        Some(Self { kind, optimizer, parameters })
    }

    /// Gives `parallel.offload` its value: what only a part of rests in host memory is costed on the cards.
    pub(super) fn read_offload(self, file: &mut Reading<'_>, key: &str) {
        let all = self.optimizer && (self.kind != "zero3" || self.parameters);
        if self.kind == "zero3" && self.optimizer != self.parameters {
            let what = if self.optimizer { "the optimizer's states" } else { "parameters" };
            file.differ(key, format!("{what} alone rest in host memory: they are costed on the cards"));
        }
        file.set_word("parallel.offload", if all { "host" } else { "none" }, key);
    }

    /// As DeepSpeed reads it.
    pub(super) fn yaml(kind: &str, offload: bool) -> Yaml {
        let stage: u64 = match kind {
            "zero1" => 1,
            "zero2" => 2,
            _ => 3,
        };
        let mut zero = Mapping::new();
        zero.insert("stage".into(), stage.into());
        let host = || Yaml::Mapping(Mapping::from_iter([("device".into(), "cpu".into())]));
        if offload {
            zero.insert("offload_optimizer".into(), host());
        }
        if offload && kind == "zero3" {
            zero.insert("offload_param".into(), host());
        }
        let auto = || Yaml::Mapping(Mapping::from_iter([("enabled".into(), "auto".into())]));
        Yaml::Mapping(Mapping::from_iter([
            ("zero_optimization".into(), Yaml::Mapping(zero)),
            ("bf16".into(), auto()),
            ("fp16".into(), auto()),
            ("gradient_accumulation_steps".into(), "auto".into()),
            ("gradient_clipping".into(), "auto".into()),
            ("train_batch_size".into(), "auto".into()),
            ("train_micro_batch_size_per_gpu".into(), "auto".into()),
        ]))
    }
}
