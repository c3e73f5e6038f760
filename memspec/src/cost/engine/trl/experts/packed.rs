//! Experts that are packed as they are loaded, by parametrization: the whole parameter is unpacked whenever somebody reads it
//! (`axolotl/monkeypatch/moe_quant.py`; `bitsandbytes/nn/parametrize.py`, `replace_parameter_4bit`). While the experts run it is read once.

use super::super::super::super::torch::{Tape, Tensor};
use super::super::shape::Stored;
use super::super::weights::{Loader, Parameter, pack_int8};
use super::super::{DENSE, Shape};
use super::weights::Stack;
use crate::model::Dtype;

/// What belongs to the codes of a packed parameter.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    /// Values that are packed.
    elements: u64,
    /// Rows, which have a scale each in 8 bits.
    rows: u64,
    /// Maxima, their codes and the like.
    _scales: Vec<Tensor>,
}

/// A parameter as it was loaded.
pub(crate) struct Made {
    /// Packed: its codes.
    pub(crate) weight: Parameter,
    /// What belongs to the codes.
    pub(crate) packed: Option<Packed>,
}

/// Loads a parameter of `count` matrices, and packs it.
pub(super) fn made(loader: &mut Loader<'_, '_, '_>, count: u64, size: (u64, u64)) -> Made {
    let rows = count * size.0;
    let elements = rows * size.1;
    let (codes, scales) = match loader.shape.stored {
        Stored::Int8 => {
            let dense = loader.tape.new_as(DENSE, elements, loader.shape.dtype);
            let mut parts = pack_int8(loader.tape, rows, elements);
            drop(dense);
            (parts.remove(1), parts)
        }
        Stored::Nf4 { double } => {
            let mut parts = loader.pack_nf4(elements, double);
            (parts.remove(0), parts)
        }
        Stored::Dense => (loader.tape.new_as(DENSE, elements, loader.shape.dtype), Vec::new()),
    };
    // `moe_quant.py:161`
    loader.tape.empty_cache();
    let packed = Packed { elements, rows, _scales: scales };
    Made { weight: Parameter { tensor: codes, trained: None }, packed: Some(packed) }
}

/// The whole parameter, as those who read it get it.
pub(super) fn read(tape: &mut Tape<'_>, shape: &Shape, stack: &Stack) -> Tensor {
    let Some(packed) = &stack.packed else { return stack.weight.tensor.clone() };
    tape.labelled(DENSE, |tape| match shape.stored {
        // `int8_vectorwise_dequant`: codes times scales, in float32, and times a constant.
        Stored::Int8 => {
            let product = tape.new_tensor(packed.elements, Dtype::F32);
            let _scales = tape.new_tensor(packed.rows, Dtype::F32);
            let whole = tape.new_tensor(packed.elements, Dtype::F32);
            drop(product);
            whole
        }
        Stored::Nf4 { double } => {
            let _maxima = double.then(|| tape.new_tensor(packed.elements / 64, Dtype::F32));
            tape.new_tensor(packed.elements, shape.dtype)
        }
        Stored::Dense => stack.weight.tensor.clone(),
    })
}
