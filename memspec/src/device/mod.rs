//! What a plan runs on: graphics cards from the catalog, and this machine's own processor and memory.

mod catalog;
mod cpu;

use serde::Serialize;

use crate::quantity::Bytes;

pub use catalog::{DEFAULT_CONTEXT, DEFAULT_CONTEXT_SOURCE, get, names, nearest};
pub use cpu::{cpu, parse_cgroup, parse_limit, parse_membership, parse_meminfo};

/// A device that a plan can name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    /// Catalog name: `t4`, `h100-80`, `cpu`.
    pub name: String,
    /// What the vendor calls it.
    pub title: String,
    /// Which software drives it.
    pub kind: DeviceKind,
    /// Memory as the driver's tool shows it.
    pub memory: Bytes,
    /// Memory that a process can have, its context included: what PyTorch shows as the card's total, the smallest seen; on
    /// `cpu` what this process could still allocate.
    pub usable: Bytes,
    /// CUDA's version of the instruction set: (7, 5) for a T4.
    pub compute_capability: Option<(u8, u8)>,
    /// Computes in bfloat16 natively; a processor does too, or converts on its way.
    pub bf16: bool,
    /// FlashAttention 2 has kernels for it.
    pub flash2: bool,
    /// Has 8 bit float matrix units.
    pub fp8: bool,
    /// Memory bandwidth in GB/s (10^9 bytes).
    pub bandwidth_gbs: Option<f64>,
    /// Dense bf16 matrix rate in TFLOP/s; `None` where bf16 is not native.
    pub tflops_bf16: Option<f64>,
    /// Dense fp16 matrix rate in TFLOP/s.
    pub tflops_fp16: Option<f64>,
    /// Memory that a process takes for its context before its first tensor.
    pub context_bytes: Bytes,
    /// Where `context_bytes` comes from.
    pub context_source: String,
    /// Processor cores; `cpu` only.
    pub cores: Option<u32>,
    /// Where the other facts come from.
    pub source: String,
}

/// Which software drives a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// An NVIDIA card.
    Cuda,
    /// An AMD card.
    Rocm,
}

/// Why a device is not there.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A name that the catalog lacks.
    #[error("no device `{name}`{}; known: cpu, {}", did_you_mean(nearest), names().join(", "))]
    Unknown {
        /// The name as given.
        name: String,
        /// Known names that look like it, the nearest first.
        nearest: Vec<String>,
    },
    /// A card by its number, which this version cannot ask.
    #[error("`{name}`: this version cannot ask a card what it is; write its catalog name (one of {})", names().join(", "))]
    NotProbed {
        /// The name as given.
        name: String,
    },
    /// This machine's memory could not be read.
    #[error("cannot tell this machine's memory: {why}; write a device of the catalog, or set budget.device_memory")]
    NoMemory {
        /// The reason.
        why: String,
    },
}

/// The device that a plan's `device` setting means: a catalog name, `cpu`, or `auto` (this machine: `cpu` in this version).
///
/// # Errors
/// A name that is not known, a card by number (`cuda:0`), or a machine whose memory cannot be read.
pub fn find(name: &str) -> Result<Device, DeviceError> {
    let lower = name.to_lowercase();
    match lower.as_str() {
        "cpu" | "auto" => cpu(),
        "cuda" | "rocm" | "gpu" => Err(DeviceError::NotProbed { name: name.to_owned() }),
        _ if lower.starts_with("cuda:") || lower.starts_with("rocm:") => {
            Err(DeviceError::NotProbed { name: name.to_owned() })
        }
        _ => get(name).ok_or_else(|| DeviceError::Unknown { name: name.to_owned(), nearest: nearest(name) }),
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!(", did you mean {}?", names.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    fn check(name: &str, expected: &str) {
        let message = match find(name) {
            Ok(device) => device.name,
            Err(e) => e.to_string(),
        };
        assert!(message.starts_with(expected), "{name}: {message}");
    }

    #[test]
    fn names_and_mistakes() {
        check("H100-80", "h100-80");
        check("cpu", "cpu");
        check("auto", "cpu");
        check("cuda:0", "`cuda:0`: this version cannot ask a card what it is; write its catalog name (one of t4, ");
        check("rtx4900", "no device `rtx4900`, did you mean rtx4090");
        check("toaster", "no device `toaster`; known: cpu, t4, ");
    }
}
