//! The device that a setup names, as the executor uses it, and what this machine has.

use memspec::cost::Host;
#[cfg(feature = "cuda")]
use memspec::cost::engine::memspec::is_read_once;
use memspec::device::DeviceKind;
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use serde::Serialize;

#[cfg(feature = "cuda")]
use crate::kernels::compile::{Head, Rank, Short, Source, prepare};
#[cfg(feature = "cuda")]
use crate::kernels::place::Format;
use crate::kernels::place::Place;
use crate::libraries::{Folders, Library, find};

/// A device that a plan names and that this binary, or this machine, cannot use.
#[derive(Debug, thiserror::Error)]
pub enum NoDevice {
    /// Built without CUDA.
    #[error("the plan's device is `{device}`, and this memspec-train was built without CUDA")]
    NotBuilt {
        /// As the plan names it.
        device: String,
    },
    /// Not NVIDIA's.
    #[error("the plan's device is `{device}`: this version runs on the CPU and on NVIDIA's cards")]
    NotCuda {
        /// As the plan names it.
        device: String,
    },
    /// No card, or no driver.
    #[error("the plan's device is `{device}`, and this machine shows no NVIDIA card: {why}")]
    NoCard {
        /// As the plan names it.
        device: String,
        /// What was asked, and what it said.
        why: String,
    },
    /// A library.
    #[error("the plan's device is `{device}`: {why}")]
    NoLibrary {
        /// As the plan names it.
        device: String,
        /// Which, where it was looked for, and how to get it.
        why: String,
    },
    /// A number format that the kernels do not have, or the card not.
    #[error(
        "memspec-train computes in bf16, fp16, f32 or bf16_pure on cards of compute capability 8.0 or newer; this plan has `precision = {precision}` on `{device}`"
    )]
    Precision {
        /// As the plan names it.
        device: String,
        /// The plan's.
        precision: String,
    },
    /// Less host memory than is pinned for what is moved off the card.
    #[error(
        "`activation_offload` keeps {wanted} of block inputs in pinned host memory, and this machine has {room} left; leave it out, or recompute fewer blocks"
    )]
    NoHostMemory {
        /// What would be pinned.
        wanted: Bytes,
        /// What this process could still take.
        room: Bytes,
    },
    /// Another card than the plan's.
    #[error(
        "the plan's device is `{device}`, and this machine's card is `{here}`; write `device = cuda:0` to run on it"
    )]
    OtherCard {
        /// As the plan names it.
        device: String,
        /// What is here.
        here: String,
    },
}

/// Where a setup runs, which is made ready for its precision.
///
/// # Errors
/// A card that is not here, or that this binary cannot use.
pub fn place(setup: &Setup) -> Result<Place, NoDevice> {
    match setup.device.kind {
        DeviceKind::Cpu => Ok(Place::Cpu),
        DeviceKind::Cuda => cuda(setup),
        DeviceKind::Rocm => Err(NoDevice::NotCuda { device: setup.device.name.clone() }),
    }
}

/// The host memory that a run pins is there. To ask for it and see does not serve: a cgroup's limit ends the process without a word.
///
/// # Errors
/// It is not.
pub fn host_has_room(host: &Host) -> Result<(), NoDevice> {
    // What is not known is left to the driver.
    let room = memspec::device::cpu().map_or(u64::MAX, |machine| machine.usable.0);
    has_room(host.block_inputs_bytes, room)
}

fn has_room(wanted: u64, room: u64) -> Result<(), NoDevice> {
    if wanted > room {
        return Err(NoDevice::NoHostMemory { wanted: Bytes(wanted), room: Bytes(room) });
    }
    Ok(())
}

#[cfg(not(feature = "cuda"))]
fn cuda(setup: &Setup) -> Result<Place, NoDevice> {
    Err(NoDevice::NotBuilt { device: setup.device.name.clone() })
}

#[cfg(feature = "cuda")]
fn cuda(setup: &Setup) -> Result<Place, NoDevice> {
    use memspec::plan::Precision;

    let device = setup.device.name.clone();
    let folders = Folders::of_process();
    for library in Library::ALL {
        // The driver may be where only the loader looks.
        if library == Library::Driver && opens(library) {
            continue;
        }
        if let Err(missing) = find(library, &folders) {
            return Err(NoDevice::NoLibrary { device, why: missing.to_string() });
        }
    }
    let here = memspec_lint::card::this_machine()
        .ok_or_else(|| NoDevice::NoCard { device: device.clone(), why: "the driver lists none".to_owned() })?;
    if here.name != device {
        return Err(NoDevice::OtherCard { device, here: here.name });
    }
    let precision = setup.train.precision;
    let modern = here.compute_capability.is_some_and(|level| level >= (8, 0));
    let (active, trained) = match precision {
        Precision::F32 if modern => (Format::F32, Format::F32),
        Precision::Bf16 if modern => (Format::Bf16, Format::F32),
        Precision::Fp16 if modern => (Format::F16, Format::F32),
        Precision::Bf16Pure if modern => (Format::Bf16, Format::Bf16),
        _ => return Err(NoDevice::Precision { device, precision: precision.to_string() }),
    };
    crate::kernels::cuda::gemm::round_to_tf32(setup.train.tf32);
    if let Some((major, minor)) = here.compute_capability {
        let capability = 10 * i32::from(major) + i32::from(minor);
        prepare(kernels(setup, active, capability), capability);
    }
    Ok(Place::Cuda { card: 0, active, trained })
}

/// The kernels that a run of this setup is going to need.
#[cfg(feature = "cuda")]
fn kernels(setup: &Setup, active: Format, capability: i32) -> Vec<Source> {
    let mut all = vec![Source::Elementwise, Source::Norm, Source::Loss, Source::Optimizer];
    let short = match active {
        Format::F32 => None,
        Format::Bf16 => Some(Short::Bf16),
        Format::F16 => Some(Short::F16),
    };
    all.push(match Head::of(setup.model.head_dim as usize).zip(short) {
        Some((head, short)) => Source::attention(head, short, capability),
        None => Source::AttentionPlain,
    });
    if let Some(short) = short
        && setup.adapter.as_ref().is_some_and(|adapter| is_read_once(adapter.rank.into(), setup.model.hidden))
    {
        all.push(Source::LowRank(short));
    }
    if setup.quantize.is_some() {
        all.push(Source::Quantized);
        all.extend(
            setup.adapter.iter().zip(short).map(|(one, short)| Source::Adapted(Rank::of(one.rank as usize), short)),
        );
    }
    all
}

/// The loader finds a library by its name.
#[cfg(feature = "cuda")]
fn opens(library: Library) -> bool {
    // SAFETY: NVIDIA's libraries, whose initializers are safe to run.
    library.names().iter().any(|&name| unsafe { libloading::Library::new(name) }.is_ok())
}

/// What this process holds on a card, as its driver says; `None`: it does not say.
#[cfg(feature = "cuda")]
pub(crate) fn used_by_this_process(card: usize) -> Option<u64> {
    let nvml = Nvml::init().ok()?;
    let card = nvml.device_by_index(u32::try_from(card).ok()?).ok()?;
    let processes = card.running_compute_processes().ok()?;
    let mine = processes.iter().find(|process| process.pid == std::process::id());
    match mine.map(|process| &process.used_gpu_memory) {
        Some(UsedGpuMemory::Used(bytes)) => Some(*bytes),
        // In a container the driver knows processes by other numbers: a card that nobody else uses tells as much.
        _ if processes.len() <= 1 => Some(card.memory_info().ok()?.used),
        _ => None,
    }
}

/// What this process holds of a card, and what is free; `None`: its driver does not say.
#[cfg(feature = "cuda")]
pub(crate) fn room(card: usize) -> Option<u64> {
    let nvml = Nvml::init().ok()?;
    let free = nvml.device_by_index(u32::try_from(card).ok()?).ok()?.memory_info().ok()?.free;
    Some(free + used_by_this_process(card)?)
}

/// What is on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// This binary can run on cards.
    pub built_with_cuda: bool,
    /// The driver's version; `None`: there is no driver.
    pub driver: Option<String>,
    /// Why no card is listed, when none is.
    pub no_cards: Option<String>,
    /// NVIDIA's cards.
    pub cards: Vec<Card>,
    /// The libraries that a run on a card needs.
    pub libraries: Vec<Found>,
}

/// A card.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// Its number: `device = cuda:0`.
    pub number: u32,
    /// What its driver calls it.
    pub name: String,
    /// Its name in the catalog; `None`: the catalog lacks it.
    pub catalog: Option<String>,
    /// All of its memory.
    pub memory_bytes: u64,
    /// What a run could take now.
    pub free_bytes: u64,
    /// Who uses it now.
    pub used_by: Vec<User>,
}

/// A process on a card.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct User {
    /// Its number.
    pub process: u32,
    /// What it takes; `None`: the driver does not say.
    pub bytes: Option<u64>,
}

/// A library, and where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its file; `None`: it is not there.
    pub file: Option<String>,
    /// Where it was looked for, and how to get it, when it is not there.
    pub missing: Option<String>,
}

/// Looks at this machine. What is not there is said, not an error.
pub fn machine(folders: &Folders) -> Machine {
    let libraries = Library::ALL
        .into_iter()
        .map(|library| match find(library, folders) {
            Ok(file) => Found { name: library.to_string(), file: Some(file.display().to_string()), missing: None },
            Err(missing) => Found { name: library.to_string(), file: None, missing: Some(missing.to_string()) },
        })
        .collect();
    let mut machine =
        Machine { built_with_cuda: cfg!(feature = "cuda"), driver: None, no_cards: None, cards: Vec::new(), libraries };
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            machine.no_cards = Some(format!("NVIDIA's driver does not answer: {error}"));
            return machine;
        }
    };
    machine.driver = nvml.sys_driver_version().ok();
    for number in 0..nvml.device_count().unwrap_or(0) {
        machine.cards.extend(card(&nvml, number));
    }
    if machine.cards.is_empty() {
        machine.no_cards = Some("NVIDIA's driver lists no card".to_owned());
    }
    machine
}

fn card(nvml: &Nvml, number: u32) -> Option<Card> {
    let card = nvml.device_by_index(number).ok()?;
    let (name, memory) = (card.name().ok()?, card.memory_info().ok()?);
    let capability = card.cuda_compute_capability().ok()?;
    let known = memspec::device::Card {
        name: &name,
        memory: memspec::quantity::Bytes(memory.total),
        compute_capability: (u8::try_from(capability.major).ok()?, u8::try_from(capability.minor).ok()?),
    }
    .device();
    let used_by = card.running_compute_processes().unwrap_or_default();
    let used_by = used_by.into_iter().map(|process| User {
        process: process.pid,
        bytes: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
    });
    Some(Card {
        number,
        catalog: (known.name != name).then(|| known.name.clone()),
        memory_bytes: memory.total,
        free_bytes: memory.free,
        used_by: used_by.collect(),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_lacks_is_said_before_the_run() {
        assert!(has_room(0, 0).is_ok() && has_room(5 << 30, 5 << 30).is_ok());
        let said = has_room(20 << 30, 8 << 30).unwrap_err().to_string();
        assert_eq!(
            said,
            "`activation_offload` keeps 20.0 GiB of block inputs in pinned host memory, and this machine has 8.0 GiB left; leave it out, or recompute fewer blocks"
        );
    }
}
