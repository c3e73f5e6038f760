//! What a plan runs on: graphics cards from the catalog, and this machine's own processor and memory.

mod card;
mod catalog;
mod cpu;
mod machine;

use serde::Serialize;

use crate::quantity::Bytes;

pub use card::{Card, any};
pub use catalog::{DEFAULT_CONTEXT, DEFAULT_CONTEXT_SOURCE, get, names, nearest};
pub use cpu::{cpu, parse_cgroup, parse_limit, parse_membership, parse_meminfo};
pub use machine::{
    Access, HOURS_A_MONTH, HourlyPrice, Machine, NotAPrice, Price, PriceKind, affordable, cheapest, machine, machines,
};

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
    /// What large 16 bit products reached in PyTorch, in TFLOP/s, where someone measured it.
    pub tflops_measured: Option<f64>,
    /// Memory that a process takes for its context before its first tensor.
    pub context_bytes: Bytes,
    /// Where `context_bytes` comes from.
    pub context_source: String,
    /// What PyTorch's library handles and loaded kernels take beside the context once a fine-tune has run; `None`: not measured on this card.
    pub kernels_bytes: Option<Bytes>,
    /// Processor cores; `cpu` only.
    pub cores: Option<u32>,
    /// Where the other facts come from.
    pub source: String,
    /// The machine that the plan names; `None`: it names the device.
    pub machine: Option<Machine>,
}

impl Device {
    /// What a process holds beside its tensors once kernels have run, as far as it was measured.
    pub fn occupied(&self) -> Bytes {
        Bytes(self.context_bytes.0 + self.kernels_bytes.map_or(0, |bytes| bytes.0))
    }

    /// Bytes of the workspace that PyTorch takes from its caching allocator for cuBLAS, once for each stream that multiplies.
    ///
    /// `parseChosenWorkspaceSize` of PyTorch's `aten/src/ATen/cuda/CublasHandlePool.cpp`: `:4096:2:16:8`, which is 8 MiB + 128
    /// KiB; 32 MiB on Hopper, and in newer versions on Blackwell (major 10 and 12) too. For hipBLAS 32 MiB, 128 MiB on gfx94x and
    /// gfx95x. 0 on a processor.
    pub fn workspace_bytes(&self) -> u64 {
        const MIB: u64 = 1 << 20;
        match (self.kind, self.compute_capability) {
            (DeviceKind::Cpu, _) => 0,
            (DeviceKind::Cuda, Some((9 | 10 | 12, _))) => 32 * MIB,
            (DeviceKind::Cuda, _) => 4096 * 1024 * 2 + 16 * 1024 * 8,
            (DeviceKind::Rocm, _) if self.name.starts_with("mi3") => 128 * MIB,
            (DeviceKind::Rocm, _) => 32 * MIB,
        }
    }

    /// The fused attention that PyTorch's `scaled_dot_product_attention` picks here for 16 bit queries, keys and values without
    /// an explicit mask.
    ///
    /// `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`: flash attention from compute capability 8.0 on, memory-efficient
    /// attention from 5.0 on (bf16 from 8.0 on); the order of preference is flash first.
    pub fn fused_attention(&self) -> FusedAttention {
        match (self.kind, self.compute_capability) {
            (DeviceKind::Cuda, Some(level)) if level >= (8, 0) => FusedAttention::Flash,
            (DeviceKind::Cuda, Some(level)) if level >= (5, 0) => FusedAttention::MemoryEfficient,
            // AOTriton's kernels for CDNA
            (DeviceKind::Rocm, _) if self.name.starts_with("mi") => FusedAttention::Flash,
            _ => FusedAttention::None,
        }
    }

    /// What `world` of these cost for an hour: the machine that the plan names, or else the cheapest of the catalog with plain
    /// terms.
    pub fn rented(&self, world: u64) -> Option<&Machine> {
        self.machine.as_ref().or_else(|| cheapest(&self.name, world))
    }

    /// The dense matrix rate of 16 bit floats in TFLOP/s: bf16's where it is native, else fp16's.
    pub fn tflops_16bit(&self) -> Option<f64> {
        self.tflops_bf16.or(self.tflops_fp16)
    }
}

/// A fused attention kernel: one that never holds the matrix of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FusedAttention {
    /// FlashAttention 2, as PyTorch carries it; it saves one f32 for each query and head.
    Flash,
    /// xFormers' memory-efficient attention, as PyTorch carries it.
    MemoryEfficient,
    /// No fused kernel: scores are formed.
    None,
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

/// The device that a plan's `device` setting means: a catalog name, a rented machine's name, `cpu`, or `auto` (this machine: `cpu` in this version).
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
        _ => get(name)
            .or_else(|| {
                let machine = machine(name)?;
                Some(Device { machine: Some(machine.clone()), ..get(&machine.device)? })
            })
            .ok_or_else(|| DeviceError::Unknown { name: name.to_owned(), nearest: nearest(name) }),
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
    use super::{FusedAttention, find};

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
        check("colab-T4", "t4");
        check("toaster", "no device `toaster`; known: cpu, t4, ");
    }

    #[test]
    fn what_pytorch_does_depends_on_the_card() {
        let facts = |name: &str| {
            let device = find(name).unwrap();
            (device.workspace_bytes(), device.fused_attention())
        };
        assert_eq!(facts("t4"), (8_519_680, FusedAttention::MemoryEfficient));
        assert_eq!(facts("a100-80"), (8_519_680, FusedAttention::Flash));
        assert_eq!(facts("h200"), (33_554_432, FusedAttention::Flash));
        assert_eq!(facts("rtx5090"), (33_554_432, FusedAttention::Flash));
        assert_eq!(facts("mi300x"), (134_217_728, FusedAttention::Flash));
        assert_eq!(facts("cpu"), (0, FusedAttention::None));
    }

    #[test]
    fn a_machine_is_its_card_with_a_price() {
        let machine = find("aws-p4d.24xlarge").unwrap();
        assert_eq!(machine.name, "a100-40");
        assert_eq!(machine.rented(2).unwrap().name, "aws-p4d.24xlarge");
        assert_eq!(find("a100-40").unwrap().machine, None);
        assert!(find("rtx2070").unwrap().rented(1).is_none());
    }
}
