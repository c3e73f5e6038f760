//! This machine's processor and memory.

use super::{Device, DeviceError};

/// This machine as a device.
///
/// # Errors
/// A machine that does not say how much memory it has.
pub fn cpu() -> Result<Device, DeviceError> {
    Err(DeviceError::NoMemory {
        why: "not read yet".to_owned(),
    })
}
