//! The model's weights on the device, in the order that they are loaded.

use super::super::super::expand::Blocks;
use super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::{Block, Part, Stack};
use super::shape::Stored;
use super::{EMBEDDING, GRADIENTS, Shape, WEIGHTS};
use crate::model::{Dtype, Linear as LinearShape};

/// A parameter that is not packed.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) tensor: Tensor,
    /// Set where it is trained.
    pub(crate) trained: Option<Trained>,
}

/// What the optimizer needs to know of a trained parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trained {
    pub(crate) leaf: Leaf,
    /// Rows and columns; a vector has one row.
    pub(crate) shape: (u64, u64),
    /// An embedding's weight: 8 bit optimizers keep its states in float32.
    pub(crate) embedding: bool,
    pub(crate) block: Option<Block>,
}

/// A linear's weight.
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// As it is.
    Dense(Parameter),
    /// Packed in 4 bits; elements, the type it is unpacked to, and the tensors it is made of.
    Nf4 { elements: u64, double: bool, _parts: Vec<Tensor> },
    /// 8 bit codes and one scale a row.
    Int8 { elements: u64, rows: u64, _parts: Vec<Tensor> },
}

/// A linear with its adapter.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) name: String,
    pub(crate) out_features: u64,
    pub(crate) in_features: u64,
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Parameter>,
    /// The matrices A and B.
    pub(crate) adapter: Option<[Parameter; 2]>,
}

/// A decoder block's weights.
#[derive(Clone, Debug)]
pub(crate) struct DecoderBlock {
    pub(crate) block: Block,
    /// Query, key and value, or all in one.
    pub(crate) input: Vec<Linear>,
    pub(crate) output: Linear,
    /// Gate, up and down; gate and up in one, and down; or up and down.
    pub(crate) mlp: Vec<Linear>,
    /// Per-head norms of queries and keys.
    pub(crate) head_norms: Option<[Parameter; 2]>,
    /// Norms before attention and before the MLP.
    pub(crate) norms: [Parameter; 2],
}

/// All weights.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) embedding: Parameter,
    pub(crate) blocks: Vec<DecoderBlock>,
    pub(crate) norm: Parameter,
    /// `None`: the embedding's weight.
    pub(crate) head: Option<Parameter>,
    /// Frequencies of the rotary embedding, and their original.
    _frequencies: [Tensor; 2],
    /// Everything that is trained, in the order of the model's parameters.
    pub(crate) trained: Vec<Trained>,
}

/// Loads the model as `from_pretrained` does.
pub(super) fn load(tape: &mut Tape<'_>, shape: &Shape, blocks: Blocks) -> Model {
    let model = &shape.model;
    let mut loader = Loader { tape, shape, trained: Vec::new() };
    loader.warm_up();
    let embedding = loader.parameter(EMBEDDING, (model.vocab, model.hidden), true);
    let decoder = (0..blocks.text).map(|index| loader.decoder_block(index as u16)).collect();
    loader.tape.at(None);
    let norm = loader.parameter(WEIGHTS, (1, model.hidden), false);
    let head = (!model.tied_embeddings).then(|| loader.parameter(EMBEDDING, (model.vocab, model.hidden), false));
    let frequencies = [(); 2].map(|()| loader.tape.new_as(WEIGHTS, model.head_dim / 2, Dtype::F32));
    let trained = loader.trained;
    Model { embedding, blocks: decoder, norm, head, _frequencies: frequencies, trained }
}

struct Loader<'l, 'a, 's> {
    tape: &'l mut Tape<'a>,
    shape: &'s Shape,
    trained: Vec<Trained>,
}

impl Loader<'_, '_, '_> {
    /// transformers first allocates and frees one tensor of the model's size, so that the weights are cut from one segment
    /// (`transformers/modeling_utils.py:4991`, `caching_allocator_warmup`; half a byte for a 4 bit weight, one for int8).
    fn warm_up(&mut self) {
        let model = &self.shape.model;
        let element = self.shape.dtype.bytes();
        let linears: u64 = model.block_linears().iter().map(LinearShape::weights).sum::<u64>() * model.layers;
        let rest = model.parameters() - linears;
        let linear_bytes = match self.shape.stored {
            Stored::Dense => linears * element,
            Stored::Nf4 { .. } => linears / 2,
            Stored::Int8 => linears,
        };
        drop(self.tape.new_as(WEIGHTS, linear_bytes + rest * element, Dtype::U8));
    }

    fn decoder_block(&mut self, index: u16) -> DecoderBlock {
        let model = &self.shape.model;
        let block = Block { stack: Stack::Text, index };
        self.tape.at(Some(block));
        let mut attention: Vec<Linear> = model.attention_linears().iter().map(|linear| self.linear(linear)).collect();
        let mlp = model.mlp_linears().iter().map(|linear| self.linear(linear)).collect();
        let head_norms = model.qk_norm.then(|| [(); 2].map(|()| self.parameter(WEIGHTS, (1, model.head_dim), false)));
        let norms = [(); 2].map(|()| self.parameter(WEIGHTS, (1, model.hidden), false));
        // Every architecture's attention ends with its output projection.
        let output = attention.remove(attention.len() - 1);
        DecoderBlock { block, input: attention, output, mlp, head_norms, norms }
    }

    pub(super) fn linear(&mut self, linear: &LinearShape) -> Linear {
        let (rows, columns) = (linear.out_features, linear.in_features);
        let stored =
            if self.shape.skip.iter().any(|skip| skip == linear.leaf()) { Stored::Dense } else { self.shape.stored };
        let weight = match stored {
            Stored::Dense => Weight::Dense(self.parameter(WEIGHTS, (rows, columns), false)),
            Stored::Nf4 { double } => self.nf4(rows * columns, double),
            Stored::Int8 => self.int8(rows, columns),
        };
        let bias = linear.bias.then(|| self.parameter(WEIGHTS, (1, rows), false));
        Linear { name: linear.leaf().to_owned(), out_features: rows, in_features: columns, weight, bias, adapter: None }
    }

    /// A weight is quantized on the device from its 16 bit copy, which then goes (`bitsandbytes/functional.py`, `quantize_4bit`): packed
    /// values, one float32 maximum for 64 weights, and the 16 values of the code; with double quantization the maxima become bytes with their own
    /// maxima (one for 256), a code of 256 values and an offset.
    fn nf4(&mut self, elements: u64, double: bool) -> Weight {
        let tape = &mut *self.tape;
        let mut new = |elements, dtype| tape.new_as(WEIGHTS, elements, dtype);
        let dense = new(elements, Dtype::Bf16);
        let mut parts = vec![new(elements / 2, Dtype::U8)];
        let maxima = new(elements / 64, Dtype::F32);
        parts.push(new(16, Dtype::F32));
        if double {
            let offset = new(1, Dtype::F32);
            let difference = new(elements / 64, Dtype::F32);
            parts.extend([
                offset,
                new((elements / 64).div_ceil(256), Dtype::F32),
                new(elements / 64, Dtype::U8),
                new(256, Dtype::F32),
            ]);
            drop((maxima, difference));
        } else {
            parts.push(maxima);
        }
        drop(dense);
        Weight::Nf4 { elements, double, _parts: parts }
    }

    /// LLM.int8: codes and one float32 scale a row, made from a float16 copy.
    fn int8(&mut self, rows: u64, columns: u64) -> Weight {
        let elements = rows * columns;
        let half = self.tape.new_as(WEIGHTS, elements, Dtype::F16);
        let parts = vec![self.tape.new_as(WEIGHTS, elements, Dtype::I8), self.tape.new_as(WEIGHTS, rows, Dtype::F32)];
        drop(half);
        Weight::Int8 { elements, rows, _parts: parts }
    }

    fn parameter(&mut self, part: Part, shape: (u64, u64), embedding: bool) -> Parameter {
        let mut tensor = self.tape.new_as(part, shape.0 * shape.1, self.shape.dtype);
        let trained = self.shape.full.then(|| {
            let leaf = self.tape.leaf(&mut tensor, GRADIENTS, false);
            Trained { leaf, shape, embedding, block: self.tape.block() }
        });
        self.trained.extend(trained);
        Parameter { tensor, trained }
    }
}
