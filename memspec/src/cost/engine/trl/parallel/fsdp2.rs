//! FSDP2 (`torch/distributed/fsdp/_fully_shard`, 2.11) as accelerate 1.15 sets it up (`utils/fsdp_utils.py`, `fsdp2_prepare_model`).
//!
//! Every block is a group of parameters that is gathered together. So is an untied embedding; a tied one is in a group with the final norm that is never
//! resharded. The final norm and an untied head are the last group; under PEFT the norm is not found there and is left to the root, and the head's own forward
//! never runs, so TRL gathers its weight.

use std::cell::{Cell, RefCell};

use super::super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::super::{Block, Part};
use super::super::experts::weights::ExpertWeights;
use super::super::vision::Tower;
use super::super::weights::{Linear, Model, Norm, Parameter, Weight};
use super::super::{EMBEDDING, GRADIENTS, Shape, WEIGHTS};
use super::Sharing;
use crate::model::Dtype;

/// Parameters as they are communicated.
const GATHERED: Part = Part { what: "all-gather buffers", setting: "parallel" };
/// Parameters as they are computed with.
const UNSHARDED: Part = Part { what: "gathered parameters", setting: "parallel.reshard" };
/// Gradients as they are communicated.
const REDUCED: Part = Part { what: "reduce-scatter buffers", setting: "parallel" };
/// Whole parameters while they are handed out.
const WHOLE: Part = Part { what: "whole parameters while sharding", setting: "parallel" };

/// Parameters and states that are gathered for a checkpoint.
const WHOLE_STATE: Part = Part { what: "whole parameters while saving", setting: "save" };

/// The stream of computation.
const MAIN: u8 = 0;
/// `all_gather_copy_in_stream` (`_fsdp_param_group.py`): buffers of an all-gather are allocated on it.
const COPY_IN: u8 = 1;
/// `reduce_scatter_stream`: what a reduce-scatter makes is allocated on it.
const REDUCE: u8 = 2;

/// A parameter of a group.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Set where it is trained.
    leaf: Option<Leaf>,
    /// Elements of one rank's shard: rows are split, the last shard is padded (`_fsdp_param.py`, `_init_sharded_param`).
    local: u64,
    /// Type of the shard.
    stored: Dtype,
    /// Type it is gathered in.
    compute: Dtype,
}

/// Parameters that are gathered and reduced together (`_fsdp_param_group.py`).
#[derive(Debug)]
struct Group {
    block: Option<Block>,
    members: Vec<Member>,
    reshard: bool,
    /// The gathered parameters; empty while it is sharded.
    unsharded: RefCell<Vec<Tensor>>,
    /// An all-gather's output that nobody has waited for (`_all_gather_result`).
    pending: RefCell<Option<Tensor>>,
    /// The shards' gradients: views of one tensor.
    gradient: RefCell<Option<Tensor>>,
    /// Its backward is over.
    reduced: Cell<bool>,
    /// It is a block of a tower that saw an image.
    used: Cell<bool>,
}

impl Group {
    fn new(block: Option<Block>, members: Vec<Member>, reshard: bool) -> Self {
        Self {
            block,
            members,
            reshard,
            unsharded: RefCell::default(),
            pending: RefCell::default(),
            gradient: RefCell::default(),
            reduced: Cell::new(false),
            used: Cell::new(false),
        }
    }

    fn is_unsharded(&self) -> bool {
        !self.unsharded.borrow().is_empty()
    }

    fn shard(&self) {
        // Parameters are freed one by one, in order.
        self.unsharded.borrow_mut().drain(..).for_each(drop);
    }
}

/// All groups and what they share.
#[derive(Debug)]
pub(crate) struct Groups {
    world: u64,
    offload: bool,
    /// What the root keeps for itself.
    root: Option<Group>,
    /// The embedding's.
    embedding: Group,
    /// The vision tower's blocks'.
    tower: Vec<Group>,
    /// The blocks'.
    blocks: Vec<Group>,
    /// The final norm's and the head's.
    tail: Option<Group>,
    /// Elements and type of the head, where TRL gathers it (`DTensor.full_tensor`, `trl/trainer/utils.py:1634`).
    head: Option<(u64, Dtype)>,
    /// The last all-gather's output, kept until the next one's copies are made (`AllGatherState`).
    gathered: RefCell<Option<Tensor>>,
    /// The last reduce-scatter's input (`ReduceScatterState`).
    scattered: RefCell<Option<Tensor>>,
    /// A forward pass without backward has run since the last backward pass.
    evaluated: Cell<bool>,
    /// Gradients are reduced after this micro batch (`set_requires_gradient_sync`).
    sync: Cell<bool>,
    _shards: Vec<Tensor>,
}

impl Groups {
    /// Shards the model.
    pub(super) fn new(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model) -> Self {
        let (world, reshard, offload, packed, load_whole) = match shape.sharing {
            Sharing::Fsdp2 { world, reshard, offload, packed, load_whole } => {
                (world, reshard, offload, packed, load_whole)
            }
            _ => (1, true, false, false, false),
        };
        let on_host = shape.sharing.loads_on_host(shape.stored);
        let mut sharder =
            Sharder { tape, world, offload, packed, on_host, load_whole, autocast: shape.autocast, shards: Vec::new() };
        let model_shape = &shape.model;
        let (hidden, vocab) = (model_shape.hidden, model_shape.vocab);
        let tied = model.head.is_none();
        let (tower, outside) = sharder.tower(model.tower.as_mut(), reshard);
        // `load_state_dict` in the model's order; a quantized model is sharded group by group, which are the same tensors.
        let embedding = sharder.shard(&mut model.embedding, vocab, hidden, EMBEDDING);
        let mut blocks = Vec::with_capacity(model.blocks.len());
        for decoder in &mut model.blocks {
            sharder.tape.at(Some(decoder.block));
            let mut members = Vec::new();
            let linears = decoder.input.iter_mut().chain(std::iter::once(&mut decoder.output));
            linears.for_each(|linear| sharder.linear(linear, &mut members));
            if let Some(norms) = &mut decoder.head_norms {
                let norms = norms.iter_mut().flat_map(Norm::parameters_mut);
                members.extend(norms.map(|norm| sharder.shard(norm, model_shape.head_dim, 1, WEIGHTS)));
            }
            decoder.mlp.iter_mut().for_each(|linear| sharder.linear(linear, &mut members));
            members.extend(decoder.sinks.as_mut().map(|sinks| sharder.flat(sinks)));
            decoder.experts.iter_mut().for_each(|experts| sharder.experts(experts, &mut members));
            let norms = decoder.norms.iter_mut().flat_map(Norm::parameters_mut);
            members.extend(norms.map(|norm| sharder.shard(norm, hidden, 1, WEIGHTS)));
            blocks.push(Group::new(Some(decoder.block), members, reshard));
        }
        sharder.tape.at(None);
        let norm = sharder.shard(&mut model.norm.weight, hidden, 1, WEIGHTS);
        let head = match &mut model.head {
            Some(head) => Some(sharder.shard(head, vocab, hidden, EMBEDDING)),
            None => {
                if on_host {
                    // A tied head is in the state dict a second time, and tied again afterwards.
                    let (whole, shard) = sharder.hand_out(vocab * hidden, embedding.local, embedding.stored, EMBEDDING);
                    drop((whole, shard));
                }
                None
            }
        };
        let mut shards = sharder.shards;
        if on_host {
            // Buffers that are not in the state dict: the rotary embedding's frequencies.
            shards.extend([(); 2].map(|()| tape.new_as(WEIGHTS, model_shape.head_dim / 2, Dtype::F32)));
        } else if !load_whole {
            release_originals(tape, model, packed);
        }
        let (mut embedding, mut tail, mut root, mut gathered_head) = (vec![embedding], Vec::new(), Vec::new(), None);
        match (shape.full, head) {
            (true, Some(head)) => tail.extend([norm, head]),
            (true, None) => embedding.insert(0, norm),
            (false, head) => {
                root.extend(outside);
                root.push(norm);
                gathered_head = head.map(|head| (head.local * world, head.stored));
            }
        }
        for trained in &mut model.trained {
            let members = root
                .iter()
                .chain(&embedding)
                .chain(tower.iter().chain(&blocks).flat_map(|group| &group.members))
                .chain(&tail);
            trained.stepped = members
                .clone()
                .find(|member| member.leaf == Some(trained.leaf))
                .map(|member| (member.local, member.stored));
        }
        Self {
            world,
            offload,
            root: (!root.is_empty()).then(|| Group::new(None, root, false)),
            embedding: Group::new(None, embedding, reshard && !tied),
            tower,
            blocks,
            tail: (!tail.is_empty()).then(|| Group::new(None, tail, false)),
            head: gathered_head,
            gathered: RefCell::default(),
            scattered: RefCell::default(),
            evaluated: Cell::new(false),
            sync: Cell::new(true),
            _shards: shards,
        }
    }

    pub(super) fn offloads(&self) -> bool {
        self.offload
    }

    pub(super) fn begin(&self, last: bool) {
        self.sync.set(last);
    }

    pub(super) fn before_embedding(&self, tape: &mut Tape<'_>) {
        if let Some(root) = &self.root {
            self.unshard_forward(tape, root);
        }
        self.unshard_forward(tape, &self.embedding);
    }

    pub(super) fn after_embedding<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        if self.embedding.reshard {
            self.embedding.shard();
        }
        self.before_backward(tape, x, &self.embedding, None)
    }

    pub(super) fn before_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        let group = &self.blocks[index];
        self.unshard_forward(tape, group);
        self.after_backward(tape, x, group)
    }

    pub(super) fn after_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        let group = &self.blocks[index];
        if group.reshard {
            group.shard();
        }
        let before = self.tower.last().filter(|group| group.used.get()).unwrap_or(&self.embedding);
        let previous = if index == 0 { before } else { &self.blocks[index - 1] };
        self.before_backward(tape, x, group, Some(previous))
    }

    pub(super) fn before_tower_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        let group = &self.tower[index];
        group.used.set(true);
        self.unshard_forward(tape, group);
        self.after_backward(tape, x, group)
    }

    pub(super) fn after_tower_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        let group = &self.tower[index];
        if group.reshard {
            group.shard();
        }
        let previous = if index == 0 { &self.embedding } else { &self.tower[index - 1] };
        self.before_backward(tape, x, group, Some(previous))
    }

    pub(super) fn before_norm<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        match &self.tail {
            Some(tail) => {
                self.unshard_forward(tape, tail);
                self.after_backward(tape, x, tail)
            }
            None => x,
        }
    }

    pub(super) fn whole_head(&self, tape: &mut Tape<'_>) -> Option<Tensor> {
        self.head.map(|(elements, dtype)| tape.new_as(UNSHARDED, elements, dtype))
    }

    pub(super) fn end_forward<'a>(&'a self, tape: &mut Tape<'a>, loss: Tensor) -> Tensor {
        // The root's post-forward lets go of the last all-gather (`_fsdp_state.py`, `_post_forward`).
        drop(self.gathered.borrow_mut().take());
        if !tape.grad_enabled {
            self.evaluated.set(true);
        }
        match &self.root {
            // The root has parameters, so it prefetches the group before it once backward begins.
            Some(root) => self.before_backward(tape, loss, root, self.blocks.last()),
            None => loss,
        }
    }

    /// What a group with nothing before it prefetches. A tied embedding's group is that of the final norm too, so its backward begins twice, and takes the
    /// second time the place that a forward pass without backward left (`_fsdp_param_group.py`, `_backward_prefetch`: `_post_forward_indices`).
    fn left_over(&self) -> Option<&Group> {
        let joint = self.root.is_none() && self.tail.is_none();
        self.blocks.last().filter(|_| joint && self.evaluated.get())
    }

    /// `_root_post_backward_final_callback`.
    pub(super) fn end_backward(&self, tape: &mut Tape<'_>) {
        let before = tape.part;
        for group in self.all() {
            tape.at(group.block);
            if !group.reduced.get() {
                self.post_backward(tape, group);
            }
            // A prefetch that nobody waited for.
            drop(group.pending.borrow_mut().take());
            group.reduced.set(false);
        }
        tape.at(None);
        drop(self.scattered.borrow_mut().take());
        self.evaluated.set(false);
        tape.part = before;
    }

    pub(super) fn zero(&self, tape: &mut Tape<'_>) {
        for group in self.all() {
            tape.at(group.block);
            drop(group.gradient.borrow_mut().take());
        }
        tape.at(None);
    }

    /// A full state dict (`fsdp_state_dict_type: FULL_STATE_DICT`): every parameter is gathered, goes to the first rank's host memory, and is let go before
    /// the next (`torch/distributed/_state_dict_utils.py`, `_gather_state_dict`). Once for the model's file, once for accelerate's own (of PEFT's
    /// model what is trained, `accelerate/utils/fsdp_utils.py:57`), and the optimizer's two states likewise.
    pub(super) fn save(&self, tape: &mut Tape<'_>, full: bool) {
        let passes: [(bool, u32); 3] = [(false, 1), (!full, 1), (true, 2)];
        for (trained, times) in passes {
            for group in self.all() {
                tape.at(group.block);
                for member in group.members.iter().filter(|member| !trained || member.leaf.is_some()) {
                    for _ in 0..times {
                        self.gather(tape, member);
                    }
                }
            }
            tape.at(None);
        }
    }

    /// One parameter, or a state of its size, whole; a shard that rests on the host comes to the device first.
    fn gather(&self, tape: &mut Tape<'_>, member: &Member) {
        let _shard = self.offload.then(|| tape.new_as(GATHERED, member.local, member.stored));
        drop(tape.new_as(WHOLE_STATE, member.local * self.world, member.stored));
    }

    /// In the order of the model's modules.
    fn all(&self) -> impl Iterator<Item = &Group> {
        let blocks = self.tower.iter().chain(&self.blocks);
        self.root.iter().chain(std::iter::once(&self.embedding)).chain(blocks).chain(&self.tail)
    }

    /// Before a module's forward: all-gather, then copies into each parameter. The output of the all-gather before goes only now, so that
    /// its copies overlap with this one.
    fn unshard_forward(&self, tape: &mut Tape<'_>, group: &Group) {
        if group.is_unsharded() {
            return;
        }
        let gathered = self.all_gather(tape, group);
        self.copy_out(tape, group);
        drop(self.gathered.replace(Some(gathered)));
    }

    /// `foreach_all_gather` (`_fsdp_collectives.py:249`): shards in another type than their parameter are first cast into one flat input; offloaded ones come to
    /// the device one by one.
    fn all_gather(&self, tape: &mut Tape<'_>, group: &Group) -> Tensor {
        tape.stream = COPY_IN;
        let mut inputs = Vec::new();
        if self.offload {
            for member in &group.members {
                let shard = tape.new_as(GATHERED, member.local, member.stored);
                let input = if member.stored == member.compute {
                    shard
                } else {
                    tape.new_as(GATHERED, member.local, member.compute)
                };
                inputs.push(input);
            }
        } else {
            let cast = group.members.iter().filter(|member| member.stored != member.compute);
            let bytes: u64 = cast.map(|member| member.local * member.compute.bytes()).sum();
            if bytes > 0 {
                inputs.push(tape.new_as(GATHERED, bytes, Dtype::U8));
            }
        }
        let bytes: u64 = group.members.iter().map(|member| member.local * member.compute.bytes()).sum();
        let output = tape.new_as(GATHERED, bytes * self.world, Dtype::U8);
        drop(inputs);
        tape.stream = MAIN;
        output
    }

    /// `foreach_all_gather_copy_out`.
    fn copy_out(&self, tape: &mut Tape<'_>, group: &Group) {
        let copies =
            group.members.iter().map(|member| tape.new_as(UNSHARDED, member.local * self.world, member.compute));
        group.unsharded.borrow_mut().extend(copies);
    }

    /// When `x`'s gradient is there, the module's backward is about to begin: it is gathered again, and the group before it is prefetched
    /// (`FSDPParamGroup.pre_backward`).
    fn before_backward<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        x: Tensor,
        group: &'a Group,
        previous: Option<&'a Group>,
    ) -> Tensor {
        let view = x.view(x.elements);
        tape.custom(view, &[&x], &[], move |tape, _, gradients| {
            if !group.is_unsharded() {
                let pending = group.pending.borrow_mut().take();
                let gathered = pending.unwrap_or_else(|| self.all_gather(tape, group));
                self.copy_out(tape, group);
                drop(gathered);
            }
            if let Some(previous) = previous
                .or_else(|| self.left_over())
                .filter(|group| !group.is_unsharded() && group.pending.borrow().is_none())
            {
                *previous.pending.borrow_mut() = Some(self.all_gather(tape, previous));
            }
            vec![gradients[0].clone()]
        })
    }

    /// When `x`'s gradient is there, the module that `x` went into has all its gradients (`RegisterPostBackwardFunction`).
    fn after_backward<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor, group: &'a Group) -> Tensor {
        let view = x.view(x.elements);
        tape.custom(view, &[&x], &[], move |tape, _, gradients| {
            self.post_backward(tape, group);
            vec![gradients[0].clone()]
        })
    }

    /// `FSDPParamGroup.post_backward`: parameters go, then the gradients are copied into one tensor, reduced, and cast to the shards' type.
    fn post_backward(&self, tape: &mut Tape<'_>, group: &Group) {
        group.reduced.set(true);
        group.shard();
        if !self.sync.get() {
            return;
        }
        let trained = || group.members.iter().filter_map(|member| Some((member.leaf?, member)));
        let Some((_, first)) = trained().next() else { return };
        drop(self.scattered.borrow_mut().take());
        let local: u64 = trained().map(|(_, member)| member.local).sum();
        let input = tape.new_as(REDUCED, local * self.world, first.compute);
        let mut last = None;
        for (leaf, _) in trained() {
            // The last gradient stays in a loop variable until the function returns (`foreach_reduce`, `unsharded_grad`).
            drop(std::mem::replace(&mut last, tape.take_gradient(leaf)));
        }
        tape.stream = REDUCE;
        let mut output = tape.new_as(REDUCED, local, first.compute);
        if first.stored != first.compute {
            output = tape.new_as(REDUCED, local, first.stored);
        }
        tape.stream = MAIN;
        drop(last);
        *self.scattered.borrow_mut() = Some(input);
        let mut gradient = group.gradient.borrow_mut();
        if !self.offload && gradient.is_none() {
            output.storage.relabel(GRADIENTS);
            *gradient = Some(output);
        }
    }
}

/// Makes the shards.
struct Sharder<'l, 'a> {
    tape: &'l mut Tape<'a>,
    world: u64,
    offload: bool,
    packed: bool,
    on_host: bool,
    /// Nothing but the model refers to its tensors, so each goes when its shard is there.
    load_whole: bool,
    autocast: Option<Dtype>,
    shards: Vec<Tensor>,
}

impl Sharder<'_, '_> {
    /// A rank's shard of a parameter of `rows` rows. What is in host memory is handed out by the first rank, whole parameter by whole parameter
    /// (`fsdp2_load_full_state_dict`).
    fn shard(&mut self, parameter: &mut Parameter, rows: u64, columns: u64, part: Part) -> Member {
        let stored = parameter.tensor.dtype;
        let compute = match self.autocast {
            // `MixedPrecisionPolicy(param_dtype)`.
            Some(compute) if matches!(stored, Dtype::F32 | Dtype::F16 | Dtype::Bf16) => compute,
            _ => stored,
        };
        let local = rows.div_ceil(self.world) * columns;
        let (whole, shard) = self.hand_out(rows * columns, local, stored, part);
        drop(whole);
        if !self.offload {
            self.shards.push(shard);
        }
        if self.load_whole {
            parameter.tensor.storage = self.tape.elsewhere();
        }
        parameter.tensor.dtype = compute;
        let leaf = parameter.trained.map(|trained| trained.leaf);
        if let Some(leaf) = leaf {
            self.tape.retype(leaf, compute);
        }
        Member { leaf, local, stored, compute }
    }

    /// A parameter whose first dimension the ranks share evenly, or nearly.
    fn flat(&mut self, parameter: &mut Parameter) -> Member {
        let elements = parameter.tensor.elements;
        self.shard(parameter, elements, 1, WEIGHTS)
    }

    /// Router and experts; an expert that every token goes through is made of linears.
    fn experts(&mut self, experts: &mut ExpertWeights, members: &mut Vec<Member>) {
        members.extend(experts.stacked_mut().map(|parameter| self.flat(parameter)));
        experts.shared.iter_mut().for_each(|linear| self.linear(linear, members));
    }

    /// Each block of the tower is a group; the rest of it is the root's.
    fn tower(&mut self, tower: Option<&mut Tower>, reshard: bool) -> (Vec<Group>, Vec<Member>) {
        let (mut groups, mut outside) = (Vec::new(), Vec::new());
        let Some(tower) = tower else { return (groups, outside) };
        for block in &mut tower.blocks {
            self.tape.at(Some(block.block));
            let norms = block.norms.iter_mut().flat_map(Norm::parameters_mut);
            let mut members: Vec<Member> = norms.map(|norm| self.flat(norm)).collect();
            block.linears_mut().for_each(|linear| self.linear(linear, &mut members));
            groups.push(Group::new(Some(block.block), members, reshard));
        }
        self.tape.at(None);
        tower.mergers_mut().for_each(|linear| self.linear(linear, &mut outside));
        outside.extend(tower.rest_mut().map(|rest| self.flat(rest)));
        (groups, outside)
    }

    fn hand_out(&mut self, elements: u64, local: u64, dtype: Dtype, part: Part) -> (Option<Tensor>, Tensor) {
        let whole = self.on_host.then(|| self.tape.new_as(WHOLE, elements, dtype));
        (whole, self.tape.new_as(part, local, dtype))
    }

    fn linear(&mut self, linear: &mut Linear, members: &mut Vec<Member>) {
        let (rows, columns) = (linear.out_features, linear.in_features);
        match &mut linear.weight {
            Weight::Dense(weight) => members.push(self.shard(weight, rows, columns, WEIGHTS)),
            // A column of packed values in the storage's type.
            Weight::Nf4 { elements, parts, .. } if self.packed => {
                if self.load_whole {
                    drop(parts.get_mut().remove(0));
                }
                let local = (*elements / 4).div_ceil(self.world);
                let (_, shard) = self.hand_out(*elements / 4, local, Dtype::Bf16, WEIGHTS);
                self.shards.push(shard);
                members.push(Member { leaf: None, local, stored: Dtype::Bf16, compute: Dtype::Bf16 });
            }
            Weight::Nf4 { .. } | Weight::Int8 { .. } => {}
        }
        members.extend(linear.bias.as_mut().map(|bias| self.shard(bias, rows, 1, WEIGHTS)));
        if let Some([a, b]) = &mut linear.adapter {
            let rank = a.tensor.elements / columns.max(1);
            members.push(self.shard(a, rank, columns, super::super::ADAPTER));
            members.push(self.shard(b, rows, rank, super::super::ADAPTER));
        }
    }
}

/// The optimizer holds the quantized model's own tensors until all shards are made (`accelerator.py`, `_prepare_fsdp2`).
fn release_originals(tape: &mut Tape<'_>, model: &mut Model, packed: bool) {
    for decoder in model.blocks.iter_mut().filter(|_| packed) {
        let linears = decoder.input.iter_mut().chain(std::iter::once(&mut decoder.output)).chain(&mut decoder.mlp);
        linears.for_each(release_packed);
        decoder.experts.iter_mut().flat_map(|experts| &mut experts.shared).for_each(release_packed);
    }
    for tower in model.tower.iter_mut().filter(|_| packed) {
        tower.linears_mut().for_each(|(_, _, linear)| release_packed(linear));
    }
    model.for_each_parameter(|parameter| parameter.tensor.storage = tape.elsewhere());
}

fn release_packed(linear: &mut Linear) {
    if let Weight::Nf4 { parts, .. } = &mut linear.weight {
        drop(parts.get_mut().remove(0));
    }
}
