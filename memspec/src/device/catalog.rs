//! The devices that memspec knows by name, from `catalog/devices.json`.

use std::sync::OnceLock;

use serde::Deserialize;

use super::{Device, DeviceKind};
use crate::quantity::Bytes;

const FILE: &str = include_str!("../../catalog/devices.json");

/// What a process takes on a card whose context was not measured: the larger of the two that were, so that an estimate
/// does not promise memory that is not there.
pub const DEFAULT_CONTEXT: Bytes = Bytes(641_728_512);

/// Where [`DEFAULT_CONTEXT`] comes from.
pub const DEFAULT_CONTEXT_SOURCE: &str = "not measured on this card; an H200's, the largest measured (135 fine-tunes, CUDA 13.0, driver 580, NVML's process \
     bytes before any tensor)";

const MIB: u64 = 1 << 20;

#[derive(Deserialize)]
struct Entry {
    name: String,
    title: String,
    kind: Kind,
    compute_capability: Option<(u8, u8)>,
    memory_mib: Option<u64>,
    usable_gib: f64,
    bf16: bool,
    flash2: bool,
    fp8: bool,
    bandwidth_gbs: f64,
    tflops_fp16: f64,
    tflops_measured: Option<f64>,
    context_mib: Option<f64>,
    kernels_mib: Option<f64>,
    sources: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Cuda,
    Rocm,
}

impl Entry {
    fn device(self) -> Device {
        let usable = Bytes((self.usable_gib * (1u64 << 30) as f64) as u64);
        let context_source = match (self.context_mib, self.sources.get("context")) {
            (Some(_), Some(source)) => text(source),
            _ => DEFAULT_CONTEXT_SOURCE.to_owned(),
        };
        let sources: Vec<String> = self
            .sources
            .iter()
            .filter(|(k, _)| *k != "context" && *k != "kernels")
            .map(|(k, v)| format!("{k}: {}", text(v)))
            .collect();
        Device {
            kind: match self.kind {
                Kind::Cuda => DeviceKind::Cuda,
                Kind::Rocm => DeviceKind::Rocm,
            },
            // what AMD's tool shows is not known; PyTorch's total is the least that it can be
            memory: self.memory_mib.map_or(usable, |m| Bytes(m * MIB)),
            usable,
            compute_capability: self.compute_capability,
            bf16: self.bf16,
            flash2: self.flash2,
            fp8: self.fp8,
            bandwidth_gbs: Some(self.bandwidth_gbs),
            tflops_bf16: self.bf16.then_some(self.tflops_fp16),
            tflops_fp16: Some(self.tflops_fp16),
            tflops_measured: self.tflops_measured,
            context_bytes: self.context_mib.map_or(DEFAULT_CONTEXT, mib),
            context_source,
            kernels_bytes: self.kernels_mib.map(mib),
            cores: None,
            machine: None,
            source: sources.join("; "),
            name: self.name,
            title: self.title,
        }
    }
}

fn mib(count: f64) -> Bytes {
    Bytes((count * MIB as f64) as u64)
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        // a file that does not read is a mistake of this crate and caught by its tests
        let entries: Vec<Entry> = serde_json::from_str(FILE).unwrap_or_default();
        entries.into_iter().map(Entry::device).collect()
    })
}

/// The device of this catalog name; case does not matter.
pub fn get(name: &str) -> Option<Device> {
    devices().iter().find(|d| d.name.eq_ignore_ascii_case(name)).cloned()
}

/// The names of the catalog, in its order.
pub fn names() -> Vec<&'static str> {
    devices().iter().map(|d| d.name.as_str()).collect()
}

/// Up to three names that look like `name`, the nearest first.
pub fn nearest(name: &str) -> Vec<String> {
    let machines = super::machines().iter().map(|machine| machine.name.as_str());
    crate::model::nearest(name, names().into_iter().chain(machines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_whole() {
        assert!(names().len() >= 40, "{:?}", names());
        for device in devices() {
            let name = &device.name;
            assert!(device.usable <= device.memory, "{name}");
            assert!(device.usable.0 > 5 << 30, "{name}");
            assert_eq!(names().iter().filter(|other| **other == *name).count(), 1, "{name}");
            assert_eq!(device.kind == DeviceKind::Cuda, device.compute_capability.is_some(), "{name}");
            if let Some(level) = device.compute_capability {
                assert_eq!(device.bf16, level >= (8, 0), "{name}");
                assert_eq!(device.flash2, level >= (8, 0), "{name}");
                assert_eq!(device.fp8, level >= (8, 9), "{name}");
            }
            assert!(device.source.contains("memory: "), "{name}");
            assert_eq!(device.tflops_measured.is_some(), device.source.contains("measured: "), "{name}");
        }
    }

    #[test]
    fn a_t4_has_what_pytorch_sees_not_what_the_box_says() {
        let t4 = get("T4").unwrap();
        assert_eq!(t4.memory, Bytes(15_360 * MIB));
        assert!(t4.usable.0 > 14_909 * MIB && t4.usable.0 <= 14_912 * MIB, "{:?}", t4.usable);
        assert_eq!((t4.compute_capability, t4.bf16, t4.tflops_bf16), (Some((7, 5)), false, None));
        assert_eq!((t4.context_bytes.0, t4.kernels_bytes), (109_969_408, Some(Bytes(37_748_736))));
        assert_eq!(get("h200").unwrap().context_bytes, Bytes(641_728_512));
        assert_eq!(get("l4").unwrap().context_bytes, DEFAULT_CONTEXT);
    }
}
