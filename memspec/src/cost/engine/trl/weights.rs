//! The model's weights on the device, in the order that they are loaded.

use std::cell::RefCell;

use super::super::super::expand::Blocks;
use super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::{Block, Part, Stack};
use super::experts::weights::{self as expert_weights, ExpertWeights};
use super::parallel::tensor::Axis;
use super::parallel::{self, Sharing};
use super::shape::Stored;
use super::vision::{self, Tower};
use super::{EMBEDDING, GRADIENTS, Shape, WEIGHTS, adapter};
use crate::model::{Activation, Dtype, Linear as LinearShape, Norm as NormOf, NormModule, StreamNorms, VisionKind};

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
    /// Rows and columns; a vector has one row, and all experts' matrices count as one above the other.
    pub(crate) shape: (u64, u64),
    /// Matrices: more than one where it has a third dimension.
    pub(crate) matrices: u64,
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
    /// Packed in 4 bits; elements, whether the maxima are packed too, the type it is unpacked to, and the tensors it is made of, which merging
    /// replaces.
    Nf4 { elements: u64, double: bool, compute: Dtype, parts: RefCell<Vec<Tensor>> },
    /// 8 bit codes and one scale a row.
    Int8 { elements: u64, rows: u64, parts: RefCell<Vec<Tensor>> },
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
    /// It is a parameter and no module.
    pub(crate) bare: bool,
}

impl Linear {
    pub(super) fn new(shape: &LinearShape, weight: Weight, bias: Option<Parameter>) -> Self {
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
            bare: false,
        }
    }

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
            Weight::Nf4 { parts, .. } | Weight::Int8 { parts, .. } => {
                parts.borrow().first().into_iter().for_each(&mut *f);
            }
        }
        self.bias.iter().for_each(|bias| f(&bias.tensor));
        self.adapter.iter().flatten().chain(&self.magnitude).for_each(|part| f(&part.tensor));
    }

    /// What of it is trained.
    pub(super) fn trained(&self) -> impl Iterator<Item = Trained> {
        let weight = match &self.weight {
            Weight::Dense(weight) => weight.trained,
            Weight::Nf4 { .. } | Weight::Int8 { .. } => None,
        };
        [weight, self.bias.as_ref().and_then(|bias| bias.trained)].into_iter().flatten()
    }

    /// What is trained beside the weight: A, B and the magnitude.
    pub(super) fn trained_parts(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.adapter.iter_mut().flatten().chain(&mut self.magnitude)
    }
}

/// A norm's weight, and its bias where it has one.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Parameter,
    pub(crate) bias: Option<Parameter>,
}

impl Norm {
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        std::iter::once(&self.weight).chain(&self.bias)
    }

    pub(super) fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }
}

/// A block's norms on the residual stream, by place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Norms {
    pub(crate) before_attention: Option<Norm>,
    pub(crate) after_attention: Option<Norm>,
    pub(crate) before_mlp: Option<Norm>,
    pub(crate) after_mlp: Option<Norm>,
}

impl Norms {
    fn iter(&self) -> impl Iterator<Item = &Norm> {
        let Self { before_attention, after_attention, before_mlp, after_mlp } = self;
        [before_attention, after_attention, before_mlp, after_mlp].into_iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Norm> {
        let Self { before_attention, after_attention, before_mlp, after_mlp } = self;
        [before_attention, after_attention, before_mlp, after_mlp].into_iter().flatten()
    }
}

/// A decoder block's weights.
#[derive(Clone, Debug)]
pub(crate) struct DecoderBlock {
    pub(crate) block: Block,
    /// Query, key and value, or all in one.
    pub(crate) input: Vec<Linear>,
    pub(crate) output: Linear,
    /// Gate, up and down; gate and up in one, and down; or up and down. None where there are experts.
    pub(crate) mlp: Vec<Linear>,
    /// What is there in place of an MLP.
    pub(crate) experts: Option<ExpertWeights>,
    /// Norms of queries and keys.
    pub(crate) head_norms: Option<[Norm; 2]>,
    pub(crate) norms: Norms,
    /// Learned factors of the activation (xIELU's two).
    pub(crate) factors: Vec<Parameter>,
    /// One number a query head that takes part in the softmax.
    pub(crate) sinks: Option<Parameter>,
}

impl DecoderBlock {
    /// What has one scale a column, or is one number.
    fn small(&self) -> impl Iterator<Item = &Parameter> {
        let norms = self.head_norms.iter().flatten().chain(self.norms.iter());
        self.factors.iter().chain(norms.flat_map(Norm::parameters))
    }

    pub(super) fn small_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let norms = self.head_norms.iter_mut().flatten().chain(self.norms.iter_mut());
        self.factors.iter_mut().chain(norms.flat_map(Norm::parameters_mut))
    }
}

/// All weights.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) embedding: Parameter,
    pub(crate) blocks: Vec<DecoderBlock>,
    pub(crate) norm: Norm,
    /// `None`: the embedding's weight.
    pub(crate) head: Option<Parameter>,
    pub(crate) head_bias: Option<Parameter>,
    /// Frequencies of each rotary embedding, and their original.
    _frequencies: Vec<Tensor>,
    /// The vision tower.
    pub(crate) tower: Option<Tower>,
    /// Modules trained whole beside an adapter.
    pub(crate) copies: Copies,
    /// Everything that is trained, in the order of the model's parameters.
    pub(crate) trained: Vec<Trained>,
    /// A frozen copy that the loss compares with.
    pub(crate) reference: Option<Box<Model>>,
}

/// Copies of modules that are trained whole beside an adapter (PEFT's `modules_to_save`); the originals stay, frozen.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(super) embedding: Option<Parameter>,
    pub(super) head: Option<Parameter>,
}

impl Model {
    /// Casts the norms' weights to float32, one after the other.
    pub(in crate::cost::engine) fn widen_norms(&mut self, tape: &mut Tape<'_>) {
        for block in &mut self.blocks {
            tape.at(Some(block.block));
            block.small_mut().for_each(|parameter| adapter::cast(tape, parameter, Dtype::F32, WEIGHTS));
        }
        tape.at(None);
        self.norm.parameters_mut().for_each(|parameter| adapter::cast(tape, parameter, Dtype::F32, WEIGHTS));
    }

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
        self.norm.parameters_mut().for_each(&mut f);
        self.head.iter_mut().chain(&mut self.head_bias).for_each(f);
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
            block.sinks.iter().for_each(|sinks| tensor(&sinks.tensor));
            block.experts.iter().for_each(|experts| experts.for_each_tensor(&mut tensor));
            block.small().for_each(|small| tensor(&small.tensor));
        }
        self.norm.parameters().for_each(|norm| tensor(&norm.tensor));
        self.head.iter().chain(&self.head_bias).for_each(|head| tensor(&head.tensor));
    }
}

/// Loads the model as `from_pretrained` does: in the order of the sorted names (`transformers/core_model_loading.py:1647`), which nearly always
/// starts with the head.
pub(in crate::cost::engine) fn load(tape: &mut Tape<'_>, shape: &Shape, blocks: Blocks) -> Model {
    let model = &shape.model;
    let mut loader = Loader { tape, shape, code_map: false };
    loader.warm_up();
    let mut head = (None, None);
    if !shape.form.head_last {
        head = loader.head();
    }
    let words = if model.tied_embeddings { shape.sharing.words(model.vocab) } else { model.vocab };
    let embedding = loader.parameter(EMBEDDING, (words, model.hidden), true);
    let blocks_of_tower = blocks.vision;
    let blocks: Vec<DecoderBlock> = (0..blocks.text).map(|index| loader.decoder_block(index as u16)).collect();
    loader.tape.at(None);
    let norm = loader.norm(model.hidden, model.norm == NormOf::Layer);
    let tower = model.vision.as_ref().map(|vision| vision::load(&mut loader, vision, blocks_of_tower));
    if shape.form.head_last {
        head = loader.head();
    }
    let (head, head_bias) = head;
    if let Some(zero) = shape.sharing.loads_in_parts() {
        parallel::fill(loader.tape, zero, model.vocab * model.hidden, shape.full);
    }
    let frequencies = shape.form.rotated / 2;
    let tables = if shape.form.own_tables { 2 } else { 1 };
    let frequencies = (0..2 * tables).map(|_| loader.tape.new_as(WEIGHTS, frequencies, Dtype::F32)).collect();
    let mut trained = Vec::new();
    trained.extend(tower.iter().filter(|_| shape.images.count > 0).flat_map(Tower::trained));
    trained.extend(embedding.trained);
    trained.extend(blocks.iter().flat_map(DecoderBlock::trained));
    trained.extend(norm.parameters().filter_map(|norm| norm.trained));
    trained.extend(head.iter().chain(&head_bias).filter_map(|head| head.trained));
    let copies = Copies::default();
    let reference = None;
    Model { embedding, blocks, norm, head, head_bias, _frequencies: frequencies, tower, copies, trained, reference }
}

impl DecoderBlock {
    /// Every parameter that is not packed, in the module's order.
    pub(super) fn for_each_parameter(&mut self, f: &mut impl FnMut(&mut Parameter)) {
        let linears = self.input.iter_mut().chain(std::iter::once(&mut self.output)).chain(&mut self.mlp);
        linears.for_each(|linear| linear.for_each_parameter(f));
        self.sinks.iter_mut().for_each(&mut *f);
        self.experts.iter_mut().for_each(|experts| experts.for_each_parameter(f));
        self.small_mut().for_each(f);
    }

    /// What is trained, in the order of the module's parameters.
    fn trained(&self) -> Vec<Trained> {
        let linears = self.input.iter().chain([&self.output]).chain(&self.mlp);
        let mut trained: Vec<Trained> = linears.flat_map(Linear::trained).collect();
        trained.extend(self.sinks.iter().filter_map(|sinks| sinks.trained));
        trained.extend(self.experts.iter().flat_map(ExpertWeights::trained));
        trained.extend(self.small().filter_map(|small| small.trained));
        trained
    }
}

/// A tensor of a block's checkpoint: the index of its linear or norm.
#[derive(Clone, Copy)]
enum Piece {
    Weight(usize),
    Bias(usize),
    Norm(usize),
    NormBias(usize),
    Factor,
    Sinks,
    Experts(expert_weights::Piece),
}

/// Packs a 16 bit copy of a weight (`bitsandbytes/functional.py`, `quantize_4bit`): packed values, one float32 maximum for 64 weights, and the
/// 16 values of the code; with double quantization the maxima become bytes with their own maxima (one for 256), a code of 256 values and an offset.
/// `first`: the process has not packed any weight yet.
pub(super) fn pack_nf4(tape: &mut Tape<'_>, elements: u64, double: bool, first: bool) -> Vec<Tensor> {
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
        if first {
            // The table from codes to places.
            parts.push(new(256, Dtype::F32));
        }
        parts.extend([new(blocks.div_ceil(256), Dtype::F32), new(blocks, Dtype::U8), new(256, Dtype::F32)]);
        drop((difference, maxima));
    } else {
        parts.push(maxima);
    }
    drop(dense);
    parts
}

/// Packs a float16 copy of a weight (`bitsandbytes/nn/modules.py:742`, `Int8Params._quantize`): codes and one float32 scale a row.
pub(super) fn pack_int8(tape: &mut Tape<'_>, rows: u64, elements: u64) -> Vec<Tensor> {
    let half = tape.new_as(WEIGHTS, elements, Dtype::F16);
    let parts = vec![tape.new_as(WEIGHTS, rows, Dtype::F32), tape.new_as(WEIGHTS, elements, Dtype::I8)];
    drop(half);
    parts
}

pub(super) struct Loader<'l, 'a, 's> {
    pub(super) tape: &'l mut Tape<'a>,
    pub(super) shape: &'s Shape,
    /// The table from codes to places, which the first 4 bit weight makes, is there.
    code_map: bool,
}

impl Loader<'_, '_, '_> {
    /// transformers first allocates and frees one tensor of the model's size, so that the weights are cut from one segment
    /// (`transformers/modeling_utils.py:4991`, `caching_allocator_warmup`; half a byte for a 4 bit weight, one for int8).
    fn warm_up(&mut self) {
        if self.shape.packs_experts {
            // `axolotl/monkeypatch/moe_quant.py:120` takes it away.
            return;
        }
        let model = &self.shape.model;
        let element = self.shape.dtype.bytes();
        let weights = |linears: Vec<LinearShape>| linears.iter().map(LinearShape::weights).sum::<u64>();
        let dense = model.experts.as_ref().map_or(model.layers, |experts| experts.first_dense.min(model.layers));
        let linears = weights(model.attention_linears()) * model.layers
            + weights(model.dense_mlp_linears()) * dense
            + weights(model.shared_expert_linears()) * (model.layers - dense)
            + model.vision.as_ref().map_or(0, |vision| {
                let blocks: u64 = vision.block_linears().iter().map(LinearShape::weights).sum();
                let merger: u64 = vision.merger_linears(model.hidden).iter().map(LinearShape::weights).sum();
                // Gemma's is a bare parameter.
                let mergers = if vision.kind == VisionKind::Gemma3 { 0 } else { vision.mergers() };
                blocks * vision.layers + mergers * merger
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
        let sparse = model.experts.as_ref().is_some_and(|experts| u64::from(index) >= experts.first_dense);
        if !sparse {
            shapes.extend(model.dense_mlp_linears());
        }
        let StreamNorms { before_attention, after_attention, before_mlp, after_mlp } = model.stream_norms();
        let places = [before_attention, after_attention, before_mlp, after_mlp];
        let present = [0, 1, 2, 3].map(|at| places[at].is_some());
        let head_norms = model.query_key_norms();
        let norms: Vec<NormModule> = places.into_iter().flatten().chain(head_norms.into_iter().flatten()).collect();
        let mut names: Vec<(String, Piece)> = Vec::new();
        for (at, linear) in shapes.iter().enumerate() {
            names.push((format!("{}.weight", linear.module), Piece::Weight(at)));
            if linear.bias {
                names.push((format!("{}.bias", linear.module), Piece::Bias(at)));
            }
        }
        for (at, norm) in norms.iter().enumerate() {
            names.push((format!("{}.weight", norm.module), Piece::Norm(at)));
            if norm.bias {
                names.push((format!("{}.bias", norm.module), Piece::NormBias(at)));
            }
        }
        if model.activation == Activation::Xielu {
            names.extend(["mlp.act_fn.alpha_n", "mlp.act_fn.alpha_p"].map(|name| (name.to_owned(), Piece::Factor)));
        }
        if model.attention_sinks {
            names.push(("self_attn.sinks".to_owned(), Piece::Sinks));
        }
        if sparse {
            names.extend(expert_weights::pieces(model).into_iter().map(|(name, piece)| (name, Piece::Experts(piece))));
        }
        names.sort_by(|a, b| a.0.split('.').cmp(b.0.split('.')));
        let (mut sinks, mut experts) = (None, expert_weights::Loading::default());
        let mut weights: Vec<Option<Weight>> = vec![None; shapes.len()];
        let mut biases: Vec<Option<Parameter>> = vec![None; shapes.len()];
        let mut factors = Vec::new();
        let mut scales: Vec<Option<Parameter>> = vec![None; norms.len()];
        let mut shifts = scales.clone();
        for (_, piece) in names {
            match piece {
                Piece::Weight(at) => weights[at] = Some(self.weight(&shapes[at])),
                Piece::Bias(at) => biases[at] = Some(self.parameter(WEIGHTS, (1, shapes[at].out_features), false)),
                Piece::Norm(at) => scales[at] = Some(self.parameter(WEIGHTS, (1, norms[at].width), false)),
                Piece::NormBias(at) => shifts[at] = Some(self.parameter(WEIGHTS, (1, norms[at].width), false)),
                Piece::Factor => factors.push(self.parameter(WEIGHTS, (1, 1), false)),
                Piece::Sinks => sinks = Some(self.parameter(WEIGHTS, (1, model.heads), false)),
                Piece::Experts(piece) => experts.load(self, piece),
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
        let mut loaded =
            scales.into_iter().zip(shifts).filter_map(|(weight, bias)| Some(Norm { weight: weight?, bias }));
        let [before_attention, after_attention, before_mlp, after_mlp] =
            present.map(|present| if present { loaded.next() } else { None });
        let norms = Norms { before_attention, after_attention, before_mlp, after_mlp };
        let head_norms = loaded.next().zip(loaded.next()).map(|(query, key)| [query, key]);
        let experts = if sparse { experts.finish(self) } else { None };
        DecoderBlock { block, input: linears, output, mlp, experts, head_norms, norms, factors, sinks }
    }

    /// The head's weight and bias, where it has its own.
    fn head(&mut self) -> (Option<Parameter>, Option<Parameter>) {
        let model = &self.shape.model;
        let bias = model.head_bias.then(|| self.parameter(EMBEDDING, (1, model.vocab), false));
        let words = self.shape.sharing.words(model.vocab);
        let weight = (!model.tied_embeddings).then(|| self.parameter(EMBEDDING, (words, model.hidden), false));
        (weight, bias)
    }

    pub(super) fn norm(&mut self, width: u64, biased: bool) -> Norm {
        let bias = biased.then(|| self.parameter(WEIGHTS, (1, width), false));
        Norm { weight: self.parameter(WEIGHTS, (1, width), false), bias }
    }

    /// A linear whose bias, which is named before its weight, is loaded first.
    pub(super) fn biased(&mut self, linear: &LinearShape) -> Linear {
        let bias = linear.bias.then(|| self.parameter(WEIGHTS, (1, linear.out_features), false));
        let weight = self.weight(linear);
        Linear::new(linear, weight, bias)
    }

    /// A bare parameter that is multiplied by: no module, so that nothing packs or adapts it.
    pub(super) fn bare(&mut self, linear: &LinearShape) -> Linear {
        let weight = self.parameter(WEIGHTS, (linear.out_features, linear.in_features), false);
        Linear { bare: true, ..Linear::new(linear, Weight::Dense(weight), None) }
    }

    pub(super) fn weight(&mut self, linear: &LinearShape) -> Weight {
        let (rows, columns) = (linear.out_features, linear.in_features);
        let kept = self.shape.skip.iter().any(|skip| skip == linear.leaf());
        match if kept { Stored::Dense } else { self.shape.stored } {
            Stored::Dense => Weight::Dense(self.parameter(WEIGHTS, (rows, columns), false)),
            Stored::Nf4 { double } => self.nf4(rows * columns, double),
            Stored::Int8 => self.int8(rows, columns),
        }
    }

    /// A weight is quantized on the device from its 16 bit copy, which then goes.
    fn nf4(&mut self, elements: u64, double: bool) -> Weight {
        let parts = RefCell::new(self.pack_nf4(elements, double));
        Weight::Nf4 { elements, double, compute: self.shape.compute, parts }
    }

    pub(super) fn pack_nf4(&mut self, elements: u64, double: bool) -> Vec<Tensor> {
        let first = !std::mem::replace(&mut self.code_map, true);
        pack_nf4(self.tape, elements, double, first)
    }

    /// LLM.int8, made from a float16 copy of the 16 bit weight.
    fn int8(&mut self, rows: u64, columns: u64) -> Weight {
        let elements = rows * columns;
        let dense = self.tape.new_as(WEIGHTS, elements, Dtype::Bf16);
        let parts = pack_int8(self.tape, rows, elements);
        drop(dense);
        Weight::Int8 { elements, rows, parts: RefCell::new(parts) }
    }

    pub(super) fn parameter(&mut self, part: Part, shape: (u64, u64), embedding: bool) -> Parameter {
        let mut tensor = self.tape.new_as(part, shape.0 * shape.1, self.shape.dtype);
        if let Some(zero) = self.shape.sharing.loads_in_parts() {
            tensor = parallel::partition(self.tape, zero, tensor);
        }
        let trained = self.shape.full.then(|| {
            let leaf = self.tape.leaf(&mut tensor, GRADIENTS, false);
            Trained { leaf, shape, matrices: 1, embedding, block: self.tape.block(), stepped: None }
        });
        Parameter { tensor, trained }
    }

    /// A parameter of three dimensions: `matrices` of one size.
    pub(super) fn stack(&mut self, part: Part, matrices: u64, (rows, columns): (u64, u64)) -> Parameter {
        let mut parameter = self.parameter(part, (matrices * rows, columns), false);
        parameter.trained = parameter.trained.map(|trained| Trained { matrices, ..trained });
        parameter
    }
}
