//! This machine's card as a device: the catalog's where it is there, else what its driver says.

use super::catalog::{self, DEFAULT_CONTEXT, DEFAULT_CONTEXT_SOURCE};
use super::{Device, DeviceKind};
use crate::quantity::Bytes;

/// The name of a card that nobody named.
const ANY: &str = "auto";
/// PyTorch shows less than the driver's tool; on the cards of the catalog between 0.3 and 8 %, mostly 3 %.
const HIDDEN: f64 = 0.05;
/// Words of the catalog's titles that say how a card is built, not which.
const FORMS: &[&str] = &["sxm", "sxm2", "pcie"];
/// Words that drivers put before a card's name, and the catalog not always.
const MAKERS: &[&str] = &["nvidia", "geforce", "tesla", "quadro", "amd"];

/// What the driver says of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card<'a> {
    /// Its name: `NVIDIA A100-SXM4-80GB`.
    pub name: &'a str,
    /// All of its memory.
    pub memory: Bytes,
    /// CUDA's version of its instruction set.
    pub compute_capability: (u8, u8),
}

impl Card<'_> {
    /// The device of the catalog that this is, or else one made of what the driver says.
    pub fn device(&self) -> Device {
        self.known().unwrap_or_else(|| Device {
            name: self.name.to_owned(),
            title: self.name.to_owned(),
            memory: self.memory,
            usable: Bytes((self.memory.0 as f64 * (1.0 - HIDDEN)) as u64),
            source: "memory, compute capability: the driver".to_owned(),
            ..with_capability(self.compute_capability)
        })
    }

    fn known(&self) -> Option<Device> {
        let words = words(self.name);
        let is_pcie = words.iter().any(|word| word == "pcie");
        let named = catalog::names().into_iter().filter_map(catalog::get).filter_map(|device| {
            let of_title = device.title.split(" / ").filter_map(|title| {
                let (model, form): (Vec<String>, Vec<String>) = self::words(title)
                    .into_iter()
                    .filter(|word| !is_size(word))
                    .partition(|word| !FORMS.contains(&&**word));
                let same = model.iter().all(|word| words.contains(word));
                same.then_some((model.len(), form.iter().any(|word| word == "pcie") == is_pcie))
            });
            let same_memory = self.memory.0.abs_diff(device.memory.0) as f64 <= HIDDEN * device.memory.0 as f64;
            Some((of_title.max()?, device)).filter(|_| same_memory)
        });
        named.max_by_key(|(words, _)| *words).map(|(_, device)| device)
    }
}

/// `NVIDIA A100-SXM4-80GB`: `a100`, `sxm4`, `80gb`.
fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    words.filter(|word| !word.is_empty() && !MAKERS.contains(&&**word)).collect()
}

fn is_size(word: &str) -> bool {
    word.strip_suffix("gb").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Some graphics card, with as much memory as it takes: for a plan that names no device, where none is known. Its peak is
/// about that of any card that computes in bf16.
pub fn any() -> Device {
    with_capability((8, 0))
}

impl Device {
    /// It is a card that nobody named ([`any`]), so nothing is known of its memory.
    pub fn is_any(&self) -> bool {
        self.name == ANY
    }
}

fn with_capability(level: (u8, u8)) -> Device {
    Device {
        name: ANY.to_owned(),
        title: "any graphics card".to_owned(),
        kind: DeviceKind::Cuda,
        memory: Bytes(u64::MAX),
        usable: Bytes(u64::MAX),
        compute_capability: Some(level),
        bf16: level >= (8, 0),
        flash2: level >= (8, 0),
        fp8: level >= (8, 9),
        bandwidth_gbs: None,
        tflops_bf16: None,
        tflops_fp16: None,
        tflops_measured: None,
        context_bytes: DEFAULT_CONTEXT,
        context_source: DEFAULT_CONTEXT_SOURCE.to_owned(),
        kernels_bytes: None,
        cores: None,
        source: "what every card with this compute capability has".to_owned(),
        machine: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_known_by_what_its_driver_calls_it() {
        for (name, mib, expected) in [
            ("Tesla T4", 15_360, "t4"),
            ("NVIDIA L4", 23_034, "l4"),
            ("NVIDIA A10G", 23_028, "a10g"),
            ("NVIDIA GeForce RTX 3090", 24_576, "rtx3090"),
            ("NVIDIA GeForce RTX 3090 Ti", 24_564, "rtx3090ti"),
            ("NVIDIA GeForce RTX 4090", 24_564, "rtx4090"),
            ("NVIDIA GeForce RTX 3060", 12_288, "rtx3060"),
            ("NVIDIA RTX A6000", 49_140, "a6000"),
            ("NVIDIA RTX 6000 Ada Generation", 49_140, "rtx6000-ada"),
            ("NVIDIA A100-SXM4-40GB", 40_960, "a100-40"),
            ("NVIDIA A100-SXM4-80GB", 81_920, "a100-80"),
            ("NVIDIA A100 80GB PCIe", 81_920, "a100-80-pcie"),
            ("NVIDIA H100 80GB HBM3", 81_559, "h100-80"),
            ("NVIDIA H100 PCIe", 81_559, "h100-80-pcie"),
            ("NVIDIA H100 NVL", 95_830, "h100-nvl"),
            ("NVIDIA H200", 143_771, "h200"),
            ("Tesla V100-SXM2-32GB", 32_768, "v100-32"),
            // one with less memory than the catalog's, and one that it lacks
            ("NVIDIA GeForce RTX 3060", 8_192, "NVIDIA GeForce RTX 3060"),
            ("NVIDIA CMP 170HX", 8_192, "NVIDIA CMP 170HX"),
        ] {
            let card = Card { name, memory: Bytes(mib << 20), compute_capability: (8, 6) };
            assert_eq!(card.device().name, expected, "{name}");
        }
    }

    #[test]
    fn a_card_that_is_not_known_is_what_its_driver_says() {
        let card = Card { name: "NVIDIA CMP 170HX", memory: Bytes(8 << 30), compute_capability: (7, 5) }.device();
        assert_eq!((card.bf16, card.memory, card.is_any()), (false, Bytes(8 << 30), false));
        assert!(card.usable < card.memory);
        assert!(any().is_any());
    }
}
