//! Weights that bitsandbytes packed and transformers saved (`Linear4bit`, `QuantState.as_dict(packed=True)`): NF4 in blocks of 64, as it is.
//!
//! Beside `X` (bytes, two codes each) lie `X.absmax`, `X.quant_map` and `X.quant_state.bitsandbytes__nf4`, whose bytes are JSON; where the
//! maxima are quantized too also `X.nested_absmax` and `X.nested_quant_map`. These are what [`quantize::nf4`](crate::quantize::nf4) makes
//! itself, so nothing is converted.

use serde::Deserialize;

use super::{Checkpoint, CheckpointError, Encoding};
use crate::quantize::dynamic_map;
use crate::quantize::nf4::{BLOCK, CODE, Nf4, SCALE_BLOCK, Scales};

/// What the bytes of a packed weight's state say.
#[derive(Debug, Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f32>,
}

/// A weight that is packed in the checkpoint: what can be known without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedWeight {
    /// Rows and columns of the weight, unpacked.
    pub shape: [usize; 2],
    /// The maxima are quantized, and this is their mean.
    pub double: Option<f32>,
    /// The type that it had before it was packed.
    pub dtype: Encoding,
}

/// Longer states are none: they hold a handful of numbers.
const MOST_STATE_BYTES: usize = 64 * 1024;

impl Checkpoint {
    /// The tensors that say how others are packed, and are no weights themselves.
    pub(crate) fn is_part_of_packed(&self, name: &str) -> bool {
        let parts = ["absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state.bitsandbytes__nf4"];
        parts.iter().any(|part| {
            let weight = name.strip_suffix(part).and_then(|name| name.strip_suffix('.'));
            weight.is_some_and(|weight| self.contains(&state_name(weight)))
        })
    }

    /// How a weight is packed; `None`: it is dense.
    ///
    /// # Errors
    /// A packed weight that is not in NF4 in blocks of 64, or whose parts do not fit one another.
    pub fn packed(&self, name: &str) -> Result<Option<PackedWeight>, CheckpointError> {
        for (part, what) in [("quant_state.bitsandbytes__fp4", "bitsandbytes' FP4"), ("SCB", "bitsandbytes' int8")] {
            let beside = match part {
                "SCB" => format!("{}.SCB", name.strip_suffix(".weight").unwrap_or(name)),
                part => format!("{name}.{part}"),
            };
            if self.contains(&beside) {
                return Err(self.not_read(name, what.to_owned()));
            }
        }
        let state_name = state_name(name);
        if !self.contains(&state_name) {
            return Ok(None);
        }
        let broken = |reason: String| self.broken(name, reason);
        let bytes = self.shape(&state_name)?.iter().product();
        if bytes > MOST_STATE_BYTES {
            return Err(broken(format!("its state is {bytes} bytes, and a few hundred are expected")));
        }
        let state: State = serde_json::from_slice(&self.read_bytes(&state_name, bytes)?)
            .map_err(|error| broken(format!("its state: {error}")))?;
        if state.quant_type != "nf4" {
            return Err(self.not_read(name, format!("`{}`", state.quant_type)));
        }
        if state.blocksize != BLOCK || state.nested_blocksize.is_some_and(|block| block != SCALE_BLOCK) {
            let what = match state.nested_blocksize {
                Some(nested) => format!("NF4 in blocks of {} weights and {nested} maxima", state.blocksize),
                None => format!("NF4 in blocks of {} weights", state.blocksize),
            };
            return Err(self.not_read(name, what));
        }
        let &[rows, columns] = state.shape.as_slice() else {
            return Err(broken(format!("its state has the shape {:?}, and a matrix is expected", state.shape)));
        };
        let codes = rows.checked_mul(columns).map(|elements| elements.div_ceil(2) as u64);
        if codes.is_none_or(|codes| codes == 0 || codes != self.bytes(name)) {
            let bytes = self.bytes(name);
            return Err(broken(format!("its state has the shape {rows} x {columns}, and its codes are {bytes} bytes")));
        }
        let dtype = match state.dtype.as_str() {
            "float16" => Encoding::F16,
            "float32" => Encoding::F32,
            _ => Encoding::Bf16,
        };
        let double = match (state.nested_blocksize, state.nested_offset) {
            (None, _) => None,
            (Some(_), Some(offset)) => Some(offset),
            (Some(_), None) => return Err(broken("its state says nothing of `nested_offset`".to_owned())),
        };
        Ok(Some(PackedWeight { shape: [rows, columns], double, dtype }))
    }

    /// Reads a packed weight.
    ///
    /// # Errors
    /// Parts that are missing, of other lengths than the shape says, or of another code.
    pub fn read_packed(&self, name: &str, packed: &PackedWeight) -> Result<Nf4, CheckpointError> {
        let part = |part: &str| format!("{name}.{part}");
        let [rows, columns] = packed.shape;
        let elements =
            rows.checked_mul(columns).ok_or_else(|| self.broken(name, "its shape is too large".to_owned()))?;
        let blocks = elements.div_ceil(BLOCK);
        let codes = self.read_bytes(name, elements.div_ceil(2))?;
        self.expect_map(name, &part("quant_map"), &CODE)?;
        let scales = match packed.double {
            None => Scales::Plain(self.read_vector(&part("absmax"), blocks)?),
            Some(offset) => {
                self.expect_map(name, &part("nested_quant_map"), &*dynamic_map::SIGNED)?;
                let scales = self.read_vector(&part("nested_absmax"), blocks.div_ceil(SCALE_BLOCK))?;
                Scales::Double { codes: self.read_bytes(&part("absmax"), blocks)?, scales, offset }
            }
        };
        Ok(Nf4 { elements, codes, scales })
    }

    fn read_vector(&self, name: &str, count: usize) -> Result<Vec<f32>, CheckpointError> {
        self.expect_shape(name, &[count])?;
        self.read_all(name)
    }

    /// An error unless the codes stand for what they always do.
    fn expect_map(&self, weight: &str, name: &str, map: &[f32]) -> Result<(), CheckpointError> {
        let stored = self.read_vector(name, map.len())?;
        match stored.iter().zip(map).all(|(stored, ours)| (stored - ours).abs() <= 1e-6) {
            true => Ok(()),
            false => Err(self.not_read(weight, format!("codes of its own (`{name}`)"))),
        }
    }

    fn not_read(&self, name: &str, stored: String) -> CheckpointError {
        CheckpointError::Dtype {
            path: self.path_of(name),
            tensor: name.to_owned(),
            stored,
            help: "of packed weights this version reads bitsandbytes' NF4 in blocks of 64; use the model's original weights (F32, F16 or BF16)",
        }
    }

    fn broken(&self, name: &str, reason: String) -> CheckpointError {
        CheckpointError::Tensor { path: self.path_of(name), tensor: name.to_owned(), reason }
    }
}

fn state_name(weight: &str) -> String {
    format!("{weight}.quant_state.bitsandbytes__nf4")
}
