//! The model's weights on the device, in the order that they are loaded.

use super::super::super::expand::Blocks;
use super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::{Block, Part, Stack};
use super::parallel::tensor::Axis;
use super::parallel::{self, Sharing};
use super::shape::Stored;
use super::vision::{Tower, TowerBlock};
use super::{EMBEDDING, GRADIENTS, Shape, WEIGHTS};
use crate::model::{Architecture, Dtype, Linear as LinearShape, Vision};

/// The segment that the process's first tensor leaves (`kSmallBuffer`).
const FIRST_SEGMENT: u64 = 2 << 20;

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
    /// Elements and type of what this rank steps, where it is a shard.
    pub(crate) stepped: Option<(u64, Dtype)>,
}

/// A linear's weight.
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// As it is.
    Dense(Parameter),
    /// Packed in 4 bits; elements, the type it is unpacked to, and the tensors it is made of.
    Nf4 { elements: u64, double: bool, compute: Dtype, _parts: Vec<Tensor> },
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
    /// Set where ranks have parts of it.
    pub(crate) split: Option<Axis>,
    /// DoRA's magnitude of each output.
    pub(crate) magnitude: Option<Parameter>,
    /// A part of the adapter's input is dropped.
    pub(crate) dropout: bool,
}

impl Linear {
    fn new(shape: &LinearShape, weight: Weight, bias: Option<Parameter>) -> Self {
        Self {
            name: shape.leaf().to_owned(),
            out_features: shape.out_features,
            in_features: shape.in_features,
            weight,
            bias,
            adapter: None,
            split: None,
            magnitude: None,
            dropout: false,
        }
    }

    /// What is trained beside the weight: A, B and the magnitude.
    pub(super) fn trained_parts(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.adapter.iter_mut().flatten().chain(&mut self.magnitude)
    }
}

impl Linear {
    /// What of it is not packed.
    pub(super) fn for_each_parameter(&mut self, f: &mut impl FnMut(&mut Parameter)) {
        if let Weight::Dense(weight) = &mut self.weight {
            f(weight);
        }
        self.bias.iter_mut().for_each(&mut *f);
        self.trained_parts().for_each(&mut *f);
    }

    /// Every tensor that the state dict has of it.
    pub(super) fn for_each_tensor(&self, f: &mut impl FnMut(&Tensor)) {
        match &self.weight {
            Weight::Dense(weight) => f(&weight.tensor),
            Weight::Nf4 { _parts: parts, .. } | Weight::Int8 { _parts: parts, .. } => {
                parts.first().into_iter().for_each(&mut *f);
            }
        }
        self.bias.iter().for_each(|bias| f(&bias.tensor));
        self.adapter.iter().flatten().chain(&self.magnitude).for_each(|part| f(&part.tensor));
    }
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
    /// Router, experts and sinks.
    others: Vec<Parameter>,
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
    /// The vision tower.
    pub(crate) tower: Option<Tower>,
    /// Modules trained whole beside an adapter.
    pub(crate) copies: Copies,
    /// Everything that is trained, in the order of the model's parameters.
    pub(crate) trained: Vec<Trained>,
}

/// Copies of modules that are trained whole beside an adapter (PEFT's `modules_to_save`); the originals stay, frozen.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(super) embedding: Option<Parameter>,
    pub(super) head: Option<Parameter>,
}

impl Model {
    /// The embedding that tokens are looked up in.
    pub(super) fn lookup(&self) -> &Parameter {
        self.copies.embedding.as_ref().unwrap_or(&self.embedding)
    }

    /// The head's weight. A head that is tied stays with the original embedding, whatever is copied.
    pub(super) fn projection(&self) -> &Parameter {
        self.copies.head.as_ref().or(self.head.as_ref()).unwrap_or(&self.embedding)
    }

    /// Every parameter that is not packed, in the model's order.
    pub(super) fn for_each_parameter(&mut self, mut f: impl FnMut(&mut Parameter)) {
        self.tower.iter_mut().for_each(|tower| tower.for_each_parameter(&mut f));
        f(&mut self.embedding);
        self.blocks.iter_mut().for_each(|block| block.for_each_parameter(&mut f));
        f(&mut self.norm);
        self.head.iter_mut().for_each(f);
    }

    /// How many blocks of a model of `layers` the block at `index` stands for.
    pub(super) fn stands_for(&self, index: usize, layers: u64) -> u64 {
        let missing = layers - self.blocks.len() as u64;
        if index == self.blocks.len() / 2 { 1 + missing } else { 1 }
    }

    /// How many blocks of its stack a block stands for.
    pub(super) fn stands_for_block(&self, block: Block, all: Blocks) -> u64 {
        match block.stack {
            Stack::Text => self.stands_for(usize::from(block.index), all.text),
            Stack::Vision => {
                let few = self.tower.as_ref().map_or(0, |tower| tower.blocks.len());
                if usize::from(block.index) == few / 2 { 1 + all.vision - few as u64 } else { 1 }
            }
        }
    }

    /// Elements and type of every tensor of the state dict of `all` blocks, in its order.
    pub(super) fn for_each_tensor(&self, all: Blocks, mut f: impl FnMut(u64, Dtype)) {
        let mut tensor = |tensor: &Tensor| f(tensor.elements, tensor.dtype);
        self.tower.iter().for_each(|tower| tower.for_each_tensor(all.vision, &mut tensor));
        tensor(&self.embedding.tensor);
        let blocks = self.blocks.iter().enumerate();
        for block in blocks.flat_map(|(index, block)| (0..self.stands_for(index, all.text)).map(move |_| block)) {
            for linear in block.input.iter().chain(std::iter::once(&block.output)).chain(&block.mlp) {
                linear.for_each_tensor(&mut tensor);
            }
            block.others.iter().for_each(|other| tensor(&other.tensor));
            block.head_norms.iter().flatten().chain(&block.norms).for_each(|norm| tensor(&norm.tensor));
        }
        tensor(&self.norm.tensor);
        self.head.iter().for_each(|head| tensor(&head.tensor));
    }
}

/// Loads the model as `from_pretrained` does: in the order of the sorted names (`transformers/core_model_loading.py:1647`), which starts with the
/// head.
pub(in crate::cost::engine) fn load(tape: &mut Tape<'_>, shape: &Shape, blocks: Blocks) -> Model {
    let model = &shape.model;
    let mut loader = Loader { tape, shape, code_map: false };
    loader.warm_up();
    let words = shape.sharing.words(model.vocab);
    let head = (!model.tied_embeddings).then(|| loader.parameter(EMBEDDING, (words, model.hidden), false));
    let words = if model.tied_embeddings { words } else { model.vocab };
    let embedding = loader.parameter(EMBEDDING, (words, model.hidden), true);
    let blocks_of_tower = blocks.vision;
    let blocks: Vec<DecoderBlock> = (0..blocks.text).map(|index| loader.decoder_block(index as u16)).collect();
    loader.tape.at(None);
    let norm = loader.parameter(WEIGHTS, (1, model.hidden), false);
    let tower = model.vision.as_ref().map(|vision| loader.tower(vision, blocks_of_tower));
    if let Some(zero) = shape.sharing.loads_in_parts() {
        parallel::fill(loader.tape, zero, model.vocab * model.hidden, shape.full);
    }
    let frequencies = [(); 2].map(|()| loader.tape.new_as(WEIGHTS, model.head_dim / 2, Dtype::F32));
    let mut trained = Vec::new();
    trained.extend(embedding.trained);
    trained.extend(blocks.iter().flat_map(DecoderBlock::trained));
    trained.extend(norm.trained);
    trained.extend(head.as_ref().and_then(|head| head.trained));
    let copies = Copies::default();
    Model { embedding, blocks, norm, head, _frequencies: frequencies, tower, copies, trained }
}

impl DecoderBlock {
    /// Every parameter that is not packed, in the module's order.
    pub(super) fn for_each_parameter(&mut self, f: &mut impl FnMut(&mut Parameter)) {
        let linears = self.input.iter_mut().chain(std::iter::once(&mut self.output)).chain(&mut self.mlp);
        linears.for_each(|linear| linear.for_each_parameter(f));
        self.others_mut().for_each(&mut *f);
        self.head_norms.iter_mut().flatten().chain(&mut self.norms).for_each(f);
    }

    /// What is neither a linear nor a norm.
    pub(super) fn others_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.others.iter_mut()
    }

    /// What is trained, in the order of the module's parameters.
    fn trained(&self) -> Vec<Trained> {
        let linears = self.input.iter().chain([&self.output]).chain(&self.mlp);
        let mut trained: Vec<Option<Trained>> = linears
            .flat_map(|linear| {
                let weight = match &linear.weight {
                    Weight::Dense(weight) => weight.trained,
                    Weight::Nf4 { .. } | Weight::Int8 { .. } => None,
                };
                [weight, linear.bias.as_ref().and_then(|bias| bias.trained)]
            })
            .collect();
        trained.extend(self.head_norms.iter().flatten().chain(&self.norms).map(|norm| norm.trained));
        trained.into_iter().flatten().collect()
    }
}

/// A tensor of a block's checkpoint: the index of its linear or norm.
#[derive(Clone, Copy)]
enum Piece {
    Weight(usize),
    Bias(usize),
    Norm(usize),
    Other(u64, u64),
}

/// Names, rows and columns of what a block has beside linears and norms: a router, all experts in two parameters, sinks.
fn others(model: &Architecture) -> impl Iterator<Item = (String, u64, u64)> {
    let mut others = Vec::new();
    if let Some(router) = model.router() {
        others.push((format!("{}.weight", router.module), router.out_features, router.in_features));
        if router.bias {
            others.push((format!("{}.bias", router.module), 1, router.out_features));
        }
    }
    let count = model.experts.as_ref().map_or(0, |experts| experts.count);
    for linear in model.expert_linears() {
        others.push((linear.module.clone(), count * linear.out_features, linear.in_features));
        if linear.bias {
            others.push((format!("{}_bias", linear.module), 1, count * linear.out_features));
        }
    }
    if model.attention_sinks {
        others.push(("self_attn.sinks".to_owned(), 1, model.heads));
    }
    others.into_iter()
}

struct Loader<'l, 'a, 's> {
    tape: &'l mut Tape<'a>,
    shape: &'s Shape,
    /// The table from codes to places, which the first 4 bit weight makes, is there.
    code_map: bool,
}

impl Loader<'_, '_, '_> {
    /// transformers first allocates and frees one tensor of the model's size, so that the weights are cut from one segment
    /// (`transformers/modeling_utils.py:4991`, `caching_allocator_warmup`; half a byte for a 4 bit weight, one for int8).
    fn warm_up(&mut self) {
        let model = &self.shape.model;
        let element = self.shape.dtype.bytes();
        let linears: u64 = model.block_linears().iter().map(LinearShape::weights).sum::<u64>() * model.layers;
        let linears = linears
            + model.vision.as_ref().map_or(0, |vision| {
                let blocks: u64 = vision.block_linears().iter().map(LinearShape::weights).sum();
                let merger: u64 = vision.merger_linears(model.hidden).iter().map(LinearShape::weights).sum();
                blocks * vision.layers + merger
            });
        let rest = model.parameters() - linears;
        // With a process group, what the tensor-parallel plan names counts once for all ranks (`modeling_utils.py:4967`), even where nothing is split.
        let world = self.shape.sharing.world();
        // A head is in the plan, and so is a tied embedding (`transformers/configuration_utils.py:353`).
        let head = model.vocab * model.hidden;
        let split = matches!(self.shape.sharing, Sharing::Tensor { .. });
        let (linears, rest) = (if split { linears } else { linears / world }, rest - head + head / world);
        let linear_bytes = match self.shape.stored {
            Stored::Dense => linears * element,
            Stored::Nf4 { .. } => linears / 2,
            Stored::Int8 => linears,
        };
        // The first tensor of the process leaves a small segment behind, which counts as room for it.
        drop(self.tape.new_as(WEIGHTS, 1, Dtype::F32));
        let bytes = linear_bytes + rest * element;
        drop(self.tape.new_as(WEIGHTS, bytes.saturating_sub(FIRST_SEGMENT), Dtype::U8));
    }

    fn decoder_block(&mut self, index: u16) -> DecoderBlock {
        let model = &self.shape.model;
        let block = Block { stack: Stack::Text, index };
        self.tape.at(Some(block));
        let attention = model.attention_linears();
        let (count, mut shapes) = (attention.len(), attention);
        shapes.extend(model.mlp_linears());
        let mut norms = vec![("input_layernorm", model.hidden), ("post_attention_layernorm", model.hidden)];
        if model.qk_norm {
            norms.extend([("self_attn.q_norm", model.head_dim), ("self_attn.k_norm", model.head_dim)]);
        }
        let mut names: Vec<(String, Piece)> = Vec::new();
        for (at, linear) in shapes.iter().enumerate() {
            names.push((format!("{}.weight", linear.module), Piece::Weight(at)));
            if linear.bias {
                names.push((format!("{}.bias", linear.module), Piece::Bias(at)));
            }
        }
        names.extend(norms.iter().enumerate().map(|(at, norm)| (format!("{}.weight", norm.0), Piece::Norm(at))));
        names.extend(others(model).map(|(name, rows, columns)| (name, Piece::Other(rows, columns))));
        names.sort_by(|a, b| a.0.split('.').cmp(b.0.split('.')));
        let mut others = Vec::new();
        let mut weights: Vec<Option<Weight>> = vec![None; shapes.len()];
        let mut biases: Vec<Option<Parameter>> = vec![None; shapes.len()];
        let mut loaded: Vec<Option<Parameter>> = vec![None; norms.len()];
        for (_, piece) in names {
            match piece {
                Piece::Weight(at) => weights[at] = Some(self.weight(&shapes[at])),
                Piece::Bias(at) => biases[at] = Some(self.parameter(WEIGHTS, (1, shapes[at].out_features), false)),
                Piece::Norm(at) => loaded[at] = Some(self.parameter(WEIGHTS, (1, norms[at].1), false)),
                Piece::Other(rows, columns) => others.push(self.parameter(WEIGHTS, (rows, columns), false)),
            }
        }
        let mut linears: Vec<Linear> = shapes
            .iter()
            .zip(weights.into_iter().flatten())
            .zip(biases)
            .map(|((shape, weight), bias)| Linear::new(shape, weight, bias))
            .collect();
        if matches!(self.shape.sharing, Sharing::Tensor { .. }) {
            linears.iter_mut().for_each(|linear| linear.split = Some(Axis::of(&linear.name)));
        }
        let mlp = linears.split_off(count);
        // Every architecture's attention ends with its output projection.
        let output = linears.remove(count - 1);
        let mut norms = loaded.into_iter().flatten();
        let mut pair = || norms.next().zip(norms.next()).map(|(first, second)| [first, second]);
        let around = pair();
        let head_norms = pair();
        let norms = around.unwrap_or_else(|| [(); 2].map(|()| self.parameter(WEIGHTS, (1, model.hidden), false)));
        DecoderBlock { block, input: linears, output, mlp, head_norms, norms, others }
    }

    /// The tower's blocks, merger and patch embedding, in the order of their names.
    fn tower(&mut self, vision: &Vision, blocks: u64) -> Tower {
        let norm = (1, vision.hidden);
        let blocks = (0..blocks)
            .map(|index| {
                let block = TowerBlock::place(index as u16);
                self.tape.at(Some(block));
                let mut linears: Vec<(usize, Linear)> = Vec::new();
                let shapes = vision.block_linears();
                let mut order: Vec<usize> = (0..shapes.len()).collect();
                order.sort_by(|&a, &b| shapes[a].module.cmp(&shapes[b].module));
                for at in order {
                    linears.push((at, self.biased(&shapes[at])));
                }
                linears.sort_by_key(|linear| linear.0);
                let norms = (0..4).map(|_| self.parameter(WEIGHTS, norm, false)).collect();
                TowerBlock { block, linears: linears.into_iter().map(|linear| linear.1).collect(), norms }
            })
            .collect();
        self.tape.at(None);
        let mut rest: Vec<Parameter> = (0..2).map(|_| self.parameter(WEIGHTS, norm, false)).collect();
        let merger = vision.merger_linears(self.shape.model.hidden).iter().map(|linear| self.biased(linear)).collect();
        rest.push(self.parameter(WEIGHTS, (vision.hidden, vision.patch_width()), false));
        Tower { blocks, merger, rest }
    }

    /// A linear whose bias, which is named before its weight, is loaded first.
    fn biased(&mut self, linear: &LinearShape) -> Linear {
        let bias = linear.bias.then(|| self.parameter(WEIGHTS, (1, linear.out_features), false));
        let weight = self.weight(linear);
        Linear::new(linear, weight, bias)
    }

    fn weight(&mut self, linear: &LinearShape) -> Weight {
        let (rows, columns) = (linear.out_features, linear.in_features);
        let kept = self.shape.skip.iter().any(|skip| skip == linear.leaf());
        match if kept { Stored::Dense } else { self.shape.stored } {
            Stored::Dense => Weight::Dense(self.parameter(WEIGHTS, (rows, columns), false)),
            Stored::Nf4 { double } => self.nf4(rows * columns, double),
            Stored::Int8 => self.int8(rows, columns),
        }
    }

    /// A weight is quantized on the device from its 16 bit copy, which then goes (`bitsandbytes/functional.py`, `quantize_4bit`): packed
    /// values, one float32 maximum for 64 weights, and the 16 values of the code; with double quantization the maxima become bytes with their own
    /// maxima (one for 256), a code of 256 values and an offset.
    fn nf4(&mut self, elements: u64, double: bool) -> Weight {
        let maps = !std::mem::replace(&mut self.code_map, true) && double;
        let tape = &mut *self.tape;
        let mut new = |elements, dtype| tape.new_as(WEIGHTS, elements, dtype);
        let blocks = elements / 64;
        let dense = new(elements, Dtype::Bf16);
        let maxima = new(blocks, Dtype::F32);
        let mut parts = vec![new(elements / 2, Dtype::U8)];
        let code = new(16, Dtype::F32);
        drop([new(16, Dtype::F32), new(1, Dtype::F32)]);
        parts.push(code);
        if double {
            parts.push(new(1, Dtype::F32));
            // Partial sums of the mean.
            drop([new(112, Dtype::F32), new(1, Dtype::F32)]);
            let difference = new(blocks, Dtype::F32);
            if maps {
                parts.push(new(256, Dtype::F32));
            }
            parts.extend([new(blocks.div_ceil(256), Dtype::F32), new(blocks, Dtype::U8), new(256, Dtype::F32)]);
            drop((difference, maxima));
        } else {
            parts.push(maxima);
        }
        drop(dense);
        Weight::Nf4 { elements, double, compute: self.shape.compute, _parts: parts }
    }

    /// LLM.int8: codes and one float32 scale a row, made from a float16 copy.
    fn int8(&mut self, rows: u64, columns: u64) -> Weight {
        let elements = rows * columns;
        let dense = self.tape.new_as(WEIGHTS, elements, Dtype::Bf16);
        let half = self.tape.new_as(WEIGHTS, elements, Dtype::F16);
        let parts = vec![self.tape.new_as(WEIGHTS, rows, Dtype::F32), self.tape.new_as(WEIGHTS, elements, Dtype::I8)];
        drop((half, dense));
        Weight::Int8 { elements, rows, _parts: parts }
    }

    fn parameter(&mut self, part: Part, shape: (u64, u64), embedding: bool) -> Parameter {
        let mut tensor = self.tape.new_as(part, shape.0 * shape.1, self.shape.dtype);
        if let Some(zero) = self.shape.sharing.loads_in_parts() {
            tensor = parallel::partition(self.tape, zero, tensor);
        }
        let trained = self.shape.full.then(|| {
            let leaf = self.tape.leaf(&mut tensor, GRADIENTS, false);
            Trained { leaf, shape, embedding, block: self.tape.block(), stepped: None }
        });
        Parameter { tensor, trained }
    }
}
