//! What the client asks for: `initializationOptions`, and later `workspace/didChangeConfiguration`.

use serde::Deserialize;

/// The settings of an editor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Options {
    /// The device of plans that name none and have none from a `memspec.toml`.
    pub(super) device: Option<String>,
    /// Bytes beside settings.
    pub(super) inlay_hints: bool,
    /// A line above each plan.
    pub(super) code_lens: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { device: None, inlay_hints: true, code_lens: true }
    }
}

impl Options {
    /// Reads them, under `memspec` or bare; what is not understood is as if it were not there.
    pub(super) fn read(value: &serde_json::Value) -> Self {
        let value = value.get("memspec").unwrap_or(value);
        let mut options = Self::deserialize(value).unwrap_or_default();
        options.device = options.device.filter(|device| !device.trim().is_empty());
        options
    }
}
