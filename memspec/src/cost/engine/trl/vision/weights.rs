//! A tower's weights on the device, and the order that they are loaded in.

use super::super::super::super::torch::Tensor;
use super::super::super::super::{Block, Stack};
use super::super::WEIGHTS;
use super::super::weights::{Linear, Loader, Norm, Parameter, Trained};
use super::form::{self, Form, Rotation};
use crate::cost::engine::trl::form::NormKind;
use crate::model::{Dtype, Vision, VisionKind};

/// A block of the tower.
#[derive(Clone, Debug)]
pub(crate) struct TowerBlock {
    pub(crate) block: Block,
    /// Query, key and value, or all in one.
    pub(crate) input: Vec<Linear>,
    pub(crate) output: Linear,
    /// Gate, up and down, or up and down.
    pub(crate) mlp: Vec<Linear>,
    /// Before attention, and before the MLP.
    pub(crate) norms: [Norm; 2],
}

/// What makes tokens of patches: linears behind a norm.
#[derive(Clone, Debug)]
pub(crate) struct Merger {
    pub(crate) norm: Option<Norm>,
    pub(crate) linears: Vec<Linear>,
    /// The block that it reads is there.
    read: bool,
}

/// What makes the first block's input of pixels.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    /// The convolution.
    pub(crate) patches: Parameter,
    pub(crate) bias: Option<Parameter>,
    /// Learned positions.
    pub(crate) positions: Option<Parameter>,
    /// The class token.
    pub(crate) class: Option<Parameter>,
}

impl Embedding {
    fn iter(&self) -> impl Iterator<Item = &Parameter> {
        let Self { patches, bias, positions, class } = self;
        class.iter().chain([patches]).chain(bias).chain(positions)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let Self { patches, bias, positions, class } = self;
        class.iter_mut().chain([patches]).chain(bias).chain(positions)
    }
}

/// The tower and the mergers behind it.
#[derive(Clone, Debug)]
pub(crate) struct Tower {
    pub(crate) blocks: Vec<TowerBlock>,
    /// Norm before the first block.
    pub(crate) before: Option<Norm>,
    /// Norm after the last.
    pub(crate) after: Option<Norm>,
    pub(crate) merger: Merger,
    /// Qwen3-VL's further mergers, by depth.
    pub(crate) deep: Vec<Merger>,
    pub(crate) embedding: Embedding,
    /// Blocks whose output is read.
    read: usize,
    /// Indices of positions, or frequencies of rotary embeddings.
    _buffers: Vec<Tensor>,
}

impl Tower {
    /// Every linear with its block, and whether a gradient comes to it where images are seen.
    pub(in super::super) fn linears_mut(&mut self) -> impl Iterator<Item = (Option<Block>, bool, &mut Linear)> {
        let read = self.read;
        let blocks = self.blocks.iter_mut().enumerate().flat_map(move |(index, tower)| {
            let block = Some(tower.block);
            tower.linears_mut().map(move |linear| (block, index < read, linear))
        });
        let mergers = std::iter::once(&mut self.merger).chain(&mut self.deep);
        blocks.chain(mergers.flat_map(|merger| merger.linears.iter_mut().map(|linear| (None, merger.read, linear))))
    }

    /// The mergers' linears.
    pub(in super::super) fn mergers_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        std::iter::once(&mut self.merger).chain(&mut self.deep).flat_map(|merger| &mut merger.linears)
    }

    /// Every linear with its block.
    pub(in super::super) fn linears(&self) -> impl Iterator<Item = (Option<Block>, &Linear)> {
        let blocks = self.blocks.iter().flat_map(|tower| tower.linears().map(|linear| (Some(tower.block), linear)));
        let mergers = std::iter::once(&self.merger).chain(&self.deep);
        blocks.chain(mergers.flat_map(|merger| merger.linears.iter().map(|linear| (None, linear))))
    }

    /// What is outside of blocks and in no linear.
    pub(in super::super) fn rest_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let norms = self.before.iter_mut().chain(&mut self.after).chain(&mut self.merger.norm);
        let norms = norms.chain(self.deep.iter_mut().filter_map(|merger| merger.norm.as_mut()));
        norms.flat_map(Norm::parameters_mut).chain(self.embedding.iter_mut())
    }

    /// Every parameter that is not packed.
    pub(in super::super) fn for_each_parameter(&mut self, f: &mut impl FnMut(&mut Parameter)) {
        for block in &mut self.blocks {
            block.norms.iter_mut().flat_map(Norm::parameters_mut).for_each(&mut *f);
            block.linears_mut().for_each(|linear| linear.for_each_parameter(f));
        }
        self.mergers_mut().for_each(|linear| linear.for_each_parameter(f));
        self.rest_mut().for_each(f);
    }

    /// Every tensor of the state dict of a tower of `layers` blocks.
    pub(in super::super) fn for_each_tensor(&self, layers: u64, f: &mut impl FnMut(&Tensor)) {
        let middle = self.blocks.len() / 2;
        for (index, block) in self.blocks.iter().enumerate() {
            let missing = layers.saturating_sub(self.blocks.len() as u64);
            for _ in 0..if index == middle { 1 + missing } else { 1 } {
                block.norms.iter().flat_map(Norm::parameters).for_each(|norm| f(&norm.tensor));
                block.linears().for_each(|linear| linear.for_each_tensor(f));
            }
        }
        let mergers = || std::iter::once(&self.merger).chain(&self.deep);
        mergers().flat_map(|merger| &merger.linears).for_each(|linear| linear.for_each_tensor(f));
        let norms = self.before.iter().chain(&self.after).chain(mergers().filter_map(|merger| merger.norm.as_ref()));
        norms.flat_map(Norm::parameters).chain(self.embedding.iter()).for_each(|rest| f(&rest.tensor));
    }

    /// What is trained of it and is reached by a gradient where images are seen, in the order of its parameters.
    pub(in super::super) fn trained(&self) -> Vec<Trained> {
        let mut trained: Vec<Trained> = self.embedding.iter().filter_map(|parameter| parameter.trained).collect();
        let own = |norm: &Norm| norm.parameters().filter_map(|parameter| parameter.trained).collect::<Vec<_>>();
        trained.extend(self.before.iter().flat_map(own));
        for block in &self.blocks[..self.read] {
            trained.extend(block.linears().flat_map(Linear::trained));
            trained.extend(block.norms.iter().flat_map(own));
        }
        // Behind a last block that nobody reads, nobody reads this norm.
        trained.extend(self.after.iter().filter(|_| self.read == self.blocks.len()).flat_map(own));
        for merger in std::iter::once(&self.merger).chain(&self.deep).filter(|merger| merger.read) {
            trained.extend(merger.norm.iter().flat_map(own));
            trained.extend(merger.linears.iter().flat_map(Linear::trained));
        }
        trained
    }
}

impl TowerBlock {
    /// All linears, in forward order.
    pub(in super::super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.input.iter().chain([&self.output]).chain(&self.mlp)
    }

    /// The same, to be changed.
    pub(in super::super) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.input.iter_mut().chain([&mut self.output]).chain(&mut self.mlp)
    }
}

/// Loads the tower and its projector; what is beside the language model by its name (`multi_modal_projector`) comes before the tower.
pub(in super::super) fn load(loader: &mut Loader<'_, '_, '_>, vision: &Vision, blocks: u64) -> Tower {
    let (width, kind) = (vision.hidden, &vision.kind);
    let form = Form::of(vision);
    let biased = form.norm == NormKind::Layer;
    let pixtral = matches!(kind, VisionKind::Pixtral { .. });
    let apart = pixtral || matches!(kind, VisionKind::Gemma3 | VisionKind::Llava);
    let merger_norm = match kind {
        VisionKind::Llava | VisionKind::Pixtral { merger: false, .. } => None,
        VisionKind::Gemma3 => Some((width, false)),
        _ => Some((width, biased)),
    };
    let early = apart.then(|| merger(loader, vision, merger_norm));
    let (mut before, mut after) = (None, None);
    let mut embedding = None;
    if apart {
        before = pixtral.then(|| loader.norm(width, biased));
        embedding = Some(embed(loader, vision));
    }
    let blocks: Vec<TowerBlock> = (0..blocks).filter_map(|index| block(loader, vision, form, index as u16)).collect();
    loader.tape.at(None);
    if matches!(kind, VisionKind::Gemma3 | VisionKind::Llava) {
        after = Some(loader.norm(width, biased));
    }
    if *kind == VisionKind::Llava {
        before = Some(loader.norm(width, biased));
    }
    // A further merger's norm is of the whole square (`use_postshuffle_norm`).
    let square = Some((vision.merged_width(), biased));
    let further = |&depth: &u64| Merger { read: depth < vision.layers, ..merger(loader, vision, square) };
    let deep = vision.deepstack().iter().map(further).collect();
    let merger = early.unwrap_or_else(|| merger(loader, vision, merger_norm));
    let embedding = embedding.unwrap_or_else(|| embed(loader, vision));
    let read = form::read_blocks(vision, blocks.len());
    let buffers = match form.rotation {
        Rotation::None => vec![loader.tape.new_as(WEIGHTS, vision.positions(), Dtype::I64)],
        _ => [(); 2].map(|()| loader.tape.new_as(WEIGHTS, width / vision.heads.max(1) / 4, Dtype::F32)).into(),
    };
    Tower { blocks, before, after, merger, deep, embedding, read, _buffers: buffers }
}

fn embed(loader: &mut Loader<'_, '_, '_>, vision: &Vision) -> Embedding {
    let width = vision.hidden;
    let mut vector = |there: bool| there.then(|| loader.parameter(WEIGHTS, (1, width), false));
    let class = vector(vision.kind == VisionKind::Llava);
    let bias = vector(matches!(vision.kind, VisionKind::Gemma3 | VisionKind::Qwen3Vl { .. }));
    // A kernel of its own for each output, channel and frame.
    let kernels = vision.patch_width() / (vision.patch * vision.patch).max(1) * width;
    let patches = loader.stack(WEIGHTS, kernels, (vision.patch, vision.patch));
    let rows = vision.positions();
    let positions = (rows > 0).then(|| loader.parameter(WEIGHTS, (rows, width), true));
    Embedding { patches, bias, positions, class }
}

/// `None`: the kind has no such block.
fn block(loader: &mut Loader<'_, '_, '_>, vision: &Vision, form: Form, index: u16) -> Option<TowerBlock> {
    let block = Block { stack: Stack::Vision, index };
    loader.tape.at(Some(block));
    let shapes = vision.block_linears();
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by(|&a, &b| shapes[a].module.cmp(&shapes[b].module));
    let mut linears: Vec<(usize, Linear)> = order.into_iter().map(|at| (at, loader.biased(&shapes[at]))).collect();
    linears.sort_by_key(|linear| linear.0);
    let mut linears: Vec<Linear> = linears.into_iter().map(|linear| linear.1).collect();
    let norms = [(); 2].map(|()| loader.norm(vision.hidden, form.norm == NormKind::Layer));
    // The attention's last linear is its output; the MLP is what is called so.
    let mlp = shapes.iter().position(|shape| !shape.module.contains("att"))?;
    let mlp = linears.split_off(mlp);
    let output = linears.pop()?;
    Some(TowerBlock { block, input: linears, output, mlp, norms })
}

fn merger(loader: &mut Loader<'_, '_, '_>, vision: &Vision, norm: Option<(u64, bool)>) -> Merger {
    let shapes = vision.merger_linears(loader.shape.model.hidden);
    // Gemma's is a bare parameter, which nothing packs.
    let bare = vision.kind == VisionKind::Gemma3;
    let load = |shape| if bare { loader.bare(shape) } else { loader.biased(shape) };
    let linears = shapes.iter().map(load).collect();
    Merger { norm: norm.map(|(width, biased)| loader.norm(width, biased)), linears, read: true }
}
