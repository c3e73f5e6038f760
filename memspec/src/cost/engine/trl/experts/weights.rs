//! The weights of a mixture of experts, and how a checkpoint's are brought into the two parameters that transformers 5 keeps them in.
//!
//! bitsandbytes packs linears only (`transformers/integrations/bitsandbytes.py:199`, `type(module) is nn.Linear`), and these are parameters: they stay in
//! 16 bits unless `quantize.experts` says otherwise (`packed.rs`). So do routers. A shared expert is made of linears, and is packed.

use super::super::super::super::Part;
use super::super::super::super::torch::Tensor;
use super::super::weights::{Linear, Loader, Parameter, Trained};
use super::super::{DENSE, Shape, WEIGHTS};
use super::packed::{self, Made, Packed};
use crate::model::{Architecture, Dtype, Family, PublishedQuantization};

/// Experts of a quantized model.
pub(crate) const EXPERTS: Part = Part { what: "experts, which `quantize` leaves in 16 bits", setting: "quantize" };

/// A matrix for every expert, in one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Packed: its codes.
    pub(crate) weight: Parameter,
    /// What belongs to the codes.
    pub(crate) packed: Option<Packed>,
    pub(crate) bias: Option<Parameter>,
    /// The matrices A and B of all experts' adapters.
    pub(crate) adapter: Option<[Parameter; 2]>,
    /// Rows and columns of one expert's.
    pub(crate) size: (u64, u64),
}

/// What a block has in place of an MLP.
#[derive(Clone, Debug)]
pub(crate) struct ExpertWeights {
    pub(crate) router: Parameter,
    pub(crate) router_bias: Option<Parameter>,
    pub(crate) router_adapter: Option<[Parameter; 2]>,
    pub(crate) gate_up: Stack,
    pub(crate) down: Stack,
    /// Gate, up, down and its own gate of the expert that every token goes through.
    pub(crate) shared: Vec<Linear>,
}

impl ExpertWeights {
    /// Experts, which are the router's rows.
    pub(super) fn router_rows(&self, shape: &Shape) -> u64 {
        shape.model.experts.as_ref().map_or(0, |experts| experts.count)
    }

    /// Every parameter that is not packed.
    pub(crate) fn for_each_parameter(&mut self, f: &mut impl FnMut(&mut Parameter)) {
        f(&mut self.router);
        self.router_bias.iter_mut().for_each(&mut *f);
        self.router_adapter.iter_mut().flatten().for_each(&mut *f);
        for stack in [&mut self.gate_up, &mut self.down] {
            if stack.packed.is_none() {
                f(&mut stack.weight);
            }
            stack.bias.iter_mut().for_each(&mut *f);
            stack.adapter.iter_mut().flatten().for_each(&mut *f);
        }
        self.shared.iter_mut().for_each(|linear| linear.for_each_parameter(f));
    }

    /// The router and the experts' matrices, as published.
    pub(crate) fn stacked_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let stacks = [&mut self.gate_up, &mut self.down].into_iter();
        let stacked = stacks.flat_map(|stack| std::iter::once(&mut stack.weight).chain(&mut stack.bias));
        std::iter::once(&mut self.router).chain(&mut self.router_bias).chain(stacked)
    }

    /// Every tensor of the state dict.
    pub(crate) fn for_each_tensor(&self, f: &mut impl FnMut(&Tensor)) {
        let stacks = [&self.gate_up, &self.down].into_iter();
        let own = [&self.router].into_iter().chain(&self.router_bias).chain(self.router_adapter.iter().flatten());
        let stacked = stacks
            .flat_map(|stack| std::iter::once(&stack.weight).chain(&stack.bias).chain(stack.adapter.iter().flatten()));
        own.chain(stacked).for_each(|parameter| f(&parameter.tensor));
        self.shared.iter().for_each(|linear| linear.for_each_tensor(f));
    }

    /// What is trained.
    pub(crate) fn trained(&self) -> Vec<Trained> {
        let stacks =
            [&self.gate_up, &self.down].into_iter().flat_map(|stack| [Some(&stack.weight), stack.bias.as_ref()]);
        let own = [Some(&self.router), self.router_bias.as_ref()].into_iter().chain(stacks).flatten();
        let mut trained: Vec<Trained> = own.filter_map(|parameter| parameter.trained).collect();
        trained.extend(self.shared.iter().flat_map(Linear::trained));
        trained
    }
}

/// How a checkpoint has a block's experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    /// As transformers keeps them (GPT-OSS in 16 bits).
    Stacked,
    /// Every expert's linears by themselves (`transformers/conversion_mapping.py:1009`): they are stacked, then gate and up joined. `down_first`: in the
    /// order of their names.
    Separate {
        /// Down comes before gate and up.
        down_first: bool,
    },
    /// In blocks of MXFP4, which are unpacked on the device (`Mxfp4Config(dequantize=True)`).
    Mxfp4,
}

impl Published {
    fn of(model: &Architecture) -> Self {
        match (&model.published_quantization, model.family) {
            (Some(PublishedQuantization::Mxfp4Experts), _) => Self::Mxfp4,
            (_, Family::Mixtral | Family::MinimaxM2) => Self::Separate { down_first: false },
            (_, Family::Qwen2Moe | Family::Qwen3Moe | Family::Qwen3Next | Family::Glm4Moe)
                if model.vision.is_none() =>
            {
                Self::Separate { down_first: true }
            }
            _ => Self::Stacked,
        }
    }
}

/// What a block's experts are loaded from, by the checkpoint's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Router,
    RouterBias,
    GateUp,
    GateUpBias,
    Down,
    DownBias,
    /// All experts, one by one.
    All,
    /// A linear of the shared expert.
    Shared(usize),
}

/// Names of what a block's experts are loaded from.
pub(crate) fn pieces(model: &Architecture) -> Vec<(String, Piece)> {
    let (Some(experts), Some(router)) = (&model.experts, model.router()) else { return Vec::new() };
    // Mixtral's checkpoints have another name for the MLP.
    let at = if model.family == Family::Mixtral { "block_sparse_moe" } else { "mlp" };
    let router = router.module.replace("mlp", at);
    let mut pieces = vec![(format!("{router}.weight"), Piece::Router)];
    if experts.router_bias {
        pieces.push((format!("{router}.bias"), Piece::RouterBias));
    }
    if let Published::Separate { .. } = Published::of(model) {
        pieces.push((format!("{at}.experts.0"), Piece::All));
    } else {
        pieces.extend([
            (format!("{at}.experts.gate_up_proj"), Piece::GateUp),
            (format!("{at}.experts.down_proj"), Piece::Down),
        ]);
    }
    if experts.bias {
        let biases = [("gate_up_proj_bias", Piece::GateUpBias), ("down_proj_bias", Piece::DownBias)];
        pieces.extend(biases.map(|(name, piece)| (format!("{at}.experts.{name}"), piece)));
    }
    let shared = model.shared_expert_linears();
    pieces
        .extend(shared.iter().enumerate().map(|(at, linear)| (format!("{}.weight", linear.module), Piece::Shared(at))));
    pieces
}

/// A block's experts while their pieces are loaded.
///
/// 16 bit tensors come by threads that run ahead of what is made of them, so a block's are all there when its experts are stacked or unpacked. On-the-fly
/// quantization loads what it is about to convert (`transformers/core_model_loading.py:1545`).
#[derive(Default)]
pub(crate) struct Loading {
    router: Option<Parameter>,
    router_bias: Option<Parameter>,
    gate_up: Option<Made>,
    gate_up_bias: Option<Parameter>,
    down: Option<Made>,
    down_bias: Option<Parameter>,
    shared: Vec<(usize, Linear)>,
    /// Gates, ups and downs of all experts, by themselves.
    lists: Option<[Vec<Tensor>; 3]>,
    /// Blocks and scales of down, and of gate and up.
    packed: Vec<(Piece, [Tensor; 2])>,
}

impl Loading {
    /// Loads a piece.
    pub(crate) fn load(&mut self, loader: &mut Loader<'_, '_, '_>, piece: Piece) {
        let model = &loader.shape.model;
        let Some((experts, [gate_up, down])) = model.experts.as_ref().zip(sizes(model)) else { return };
        let count = experts.count;
        let packed = Published::of(model) == Published::Mxfp4;
        match piece {
            Piece::Router => self.router = Some(loader.parameter(WEIGHTS, (count, model.hidden), false)),
            Piece::RouterBias => self.router_bias = Some(loader.parameter(WEIGHTS, (1, count), false)),
            Piece::GateUp if packed => self.packed.push((piece, blocks(loader, gate_up))),
            Piece::Down if packed => self.packed.push((piece, blocks(loader, down))),
            Piece::GateUp => self.gate_up = Some(parameter(loader, gate_up)),
            Piece::Down => self.down = Some(parameter(loader, down)),
            Piece::GateUpBias => self.gate_up_bias = Some(loader.parameter(WEIGHTS, (1, count * gate_up.0), false)),
            Piece::DownBias => self.down_bias = Some(loader.parameter(WEIGHTS, (1, count * down.0), false)),
            Piece::All if loader.shape.quantized() => self.merge(loader, [gate_up, down]),
            Piece::All => {
                let mut lists = [const { Vec::new() }; 3];
                for _expert in 0..count {
                    lists.iter_mut().for_each(|list| list.push(expert(loader, down)));
                }
                self.lists = Some(lists);
            }
            Piece::Shared(at) => {
                if let Some(linear) = model.shared_expert_linears().get(at) {
                    let weight = loader.weight(linear);
                    self.shared.push((at, Linear::new(linear, weight, None)));
                }
            }
        }
    }

    /// Makes the block's two parameters, where they are not there yet.
    pub(crate) fn finish(mut self, loader: &mut Loader<'_, '_, '_>) -> Option<ExpertWeights> {
        let [gate_up, down] = sizes(&loader.shape.model)?;
        if self.lists.is_some() {
            self.merge(loader, [gate_up, down]);
        }
        for (piece, packed) in std::mem::take(&mut self.packed) {
            match piece {
                Piece::Down => self.down = Some(unpacked(loader, packed, down)),
                _ => self.gate_up = Some(unpacked(loader, packed, gate_up)),
            }
        }
        self.shared.sort_by_key(|linear| linear.0);
        let stack =
            |made: Made, bias, size| Stack { weight: made.weight, packed: made.packed, bias, adapter: None, size };
        Some(ExpertWeights {
            router: self.router?,
            router_bias: self.router_bias,
            router_adapter: None,
            gate_up: stack(self.gate_up?, self.gate_up_bias, gate_up),
            down: stack(self.down?, self.down_bias, down),
            shared: self.shared.into_iter().map(|linear| linear.1).collect(),
        })
    }

    /// `MergeModulelist`, then `Concatenate` (`transformers/core_model_loading.py:196, :125`).
    fn merge(&mut self, loader: &mut Loader<'_, '_, '_>, [gate_up, down]: [(u64, u64); 2]) {
        let count = experts(loader);
        let elements = count * down.0 * down.1;
        let mut lists = self.lists.take();
        let mut take = |loader: &mut Loader<'_, '_, '_>, which: usize| match &mut lists {
            Some(lists) => std::mem::take(&mut lists[which]),
            None => (0..count).map(|_| expert(loader, down)).collect(),
        };
        if Published::of(&loader.shape.model) == (Published::Separate { down_first: true }) {
            let downs = take(loader, 2);
            self.down = Some(parameter(loader, down));
            drop(downs);
        }
        let (gates, ups) = (take(loader, 0), take(loader, 1));
        let dtype = loader.shape.dtype;
        let gate = loader.tape.new_as(WEIGHTS, elements, dtype);
        drop(gates);
        let up = loader.tape.new_as(WEIGHTS, elements, dtype);
        drop(ups);
        self.gate_up = Some(parameter(loader, gate_up));
        drop((gate, up));
        if self.down.is_none() {
            let downs = take(loader, 2);
            self.down = Some(parameter(loader, down));
            drop(downs);
        }
    }
}

/// Rows and columns of one expert's two matrices.
fn sizes(model: &Architecture) -> Option<[(u64, u64); 2]> {
    let linears = model.expert_linears();
    let [gate_up, down] = linears.as_slice() else { return None };
    Some([(gate_up.out_features, gate_up.in_features), (down.out_features, down.in_features)])
}

fn experts(loader: &Loader<'_, '_, '_>) -> u64 {
    loader.shape.model.experts.as_ref().map_or(1, |experts| experts.count)
}

fn parameter(loader: &mut Loader<'_, '_, '_>, size: (u64, u64)) -> Made {
    let count = experts(loader);
    if loader.shape.packs_experts {
        return packed::made(loader, count, size);
    }
    let part = if loader.shape.quantized() { EXPERTS } else { WEIGHTS };
    Made { weight: loader.stack(part, count, size), packed: None }
}

/// One expert's matrix by itself.
fn expert(loader: &mut Loader<'_, '_, '_>, (rows, columns): (u64, u64)) -> Tensor {
    let dtype = loader.shape.dtype;
    loader.tape.new_as(WEIGHTS, rows * columns, dtype)
}

/// A parameter's MXFP4: two values a byte, and a scale for 32.
fn blocks(loader: &mut Loader<'_, '_, '_>, size: (u64, u64)) -> [Tensor; 2] {
    let elements = experts(loader) * size.0 * size.1;
    [2, 32].map(|values| loader.tape.new_as(DENSE, elements / values, Dtype::U8))
}

/// `_convert_moe_packed_tensors` (`transformers/integrations/mxfp4.py:250`): values are looked up one half of the bytes at a time, by indices of 32 bits
/// that PyTorch makes 64, and then brought from (out, in) to (in, out).
fn unpacked(loader: &mut Loader<'_, '_, '_>, packed: [Tensor; 2], size: (u64, u64)) -> Made {
    let (dtype, elements) = (loader.shape.dtype, experts(loader) * size.0 * size.1);
    let (bytes, groups) = (elements / 2, elements / 32);
    let tape = &mut *loader.tape;
    let mut new = |elements, dtype| tape.new_as(DENSE, elements, dtype);
    let exponents = {
        let _wide = new(groups, Dtype::I32);
        new(groups, Dtype::I32)
    };
    let table = new(16, dtype);
    let out = new(elements, dtype);
    for _half in 0..2 {
        let indices = {
            let _masked = new(bytes, Dtype::U8);
            new(bytes, Dtype::I32)
        };
        let values = {
            let _long = new(bytes, Dtype::I64);
            new(bytes, dtype)
        };
        drop((values, indices));
    }
    drop(new(groups, Dtype::F32));
    let made = parameter(loader, size);
    drop((exponents, table, out, packed));
    made
}

/// Gives the experts' adapted parameters their matrices.
pub(crate) fn adapt(weights: &mut ExpertWeights, shape: &Shape, mut make: impl FnMut((u64, u64)) -> Parameter) {
    let count = weights.router_rows(shape);
    let hidden = shape.model.hidden;
    let targets = &shape.expert_targets;
    if targets.router {
        weights.router_adapter = Some([(shape.rank, hidden), (count, shape.rank)].map(&mut make));
    }
    for (stack, times) in [(&mut weights.gate_up, targets.gate_up), (&mut weights.down, targets.down)] {
        let rank = times * shape.rank * count;
        if rank > 0 {
            stack.adapter = Some([(rank, stack.size.1), (stack.size.0, rank)].map(&mut make));
        }
    }
}

/// Casts the experts' adapters.
pub(crate) fn each_adapter(weights: &mut ExpertWeights) -> impl Iterator<Item = &mut Parameter> {
    let stacks = [&mut weights.gate_up, &mut weights.down].into_iter();
    weights.router_adapter.iter_mut().flatten().chain(stacks.flat_map(|stack| stack.adapter.iter_mut().flatten()))
}
