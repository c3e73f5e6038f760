//! This machine's graphics card, asked of NVIDIA's driver.

use std::sync::OnceLock;

use memspec::device::{Card, Device};
use memspec::quantity::Bytes;
use nvml_wrapper::Nvml;

/// The card that PyTorch would take: the first of this machine, or of `CUDA_VISIBLE_DEVICES`; `None` where there is none, or no
/// driver. It is asked once.
pub fn this_machine() -> Option<Device> {
    static CARD: OnceLock<Option<Device>> = OnceLock::new();
    CARD.get_or_init(ask).clone()
}

/// The card's number in the driver's order; `None` where all are hidden, or named by something else than their number.
fn number(visible: Option<&str>) -> Option<u32> {
    match visible {
        None => Some(0),
        Some(list) => list.split(',').next()?.trim().parse().ok(),
    }
}

/// The driver's library is opened when it is needed, and need not be there.
fn ask() -> Option<Device> {
    let number = number(std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())?;
    let nvml = Nvml::init().ok()?;
    let card = nvml.device_by_index(number).ok()?;
    let capability = card.cuda_compute_capability().ok()?;
    let level = (u8::try_from(capability.major).ok()?, u8::try_from(capability.minor).ok()?);
    let memory = Bytes(card.memory_info().ok()?.total);
    Some(Card { name: &card.name().ok()?, memory, compute_capability: level }.device())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn hidden_cards_are_none() {
        for (visible, expected) in [(None, Some(0)), (Some("2,3"), Some(2)), (Some(""), None), (Some("-1"), None)] {
            assert_eq!(number(visible), expected, "{visible:?}");
        }
    }
}
