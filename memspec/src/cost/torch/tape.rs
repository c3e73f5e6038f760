//! The tape: what is allocated, which nodes the graph has, and what a checkpoint recomputes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::super::trace::{Block, Entry, Event, Part, PhaseName, Trace};
use super::tensor::{Edge, Leaf, Recording, Saved, Storage, Tensor};
use crate::model::Dtype;

/// A node's gradients by input; `None`: no gradient is asked for.
pub(crate) type Gradients = Vec<Option<Tensor>>;
type Finish<'a> = Box<dyn FnOnce(&mut Tape<'a>, &mut Gradients) + 'a>;
type Backward<'a> = Box<dyn FnOnce(&mut Tape<'a>, &Saved, &Gradients) -> Gradients + 'a>;

/// What is called with each leaf whose gradient is complete (`register_post_accumulate_grad_hook`).
pub(crate) type GradientHook<'a> = Rc<dyn Fn(&mut Tape<'a>, Leaf) + 'a>;

/// A function that a checkpoint runs, and runs again in backward.
pub(crate) type Checkpointed<'a> = Box<dyn Fn(&mut Tape<'a>) -> Tensor + 'a>;

/// One operation of the graph.
pub(super) struct Node<'a> {
    pub(super) edges: Vec<Option<Edge>>,
    pub(super) saved: Keep,
    pub(super) frame: Option<Rc<Frame<'a>>>,
    pub(super) outputs: usize,
    pub(super) block: Option<Block>,
    pub(super) backward: Backward<'a>,
    /// The engine's `validate_outputs`: sums to the inputs' shapes, then casts to their types.
    pub(super) finish: Option<Finish<'a>>,
}

/// What a node keeps for its backward.
pub(super) enum Keep {
    /// The tensors themselves.
    Storages(Saved),
    /// Places among what its checkpoint recomputes: the first, and how many.
    Places(usize, usize),
}

/// A checkpoint (`torch.utils.checkpoint`, non-reentrant): nothing saved inside is kept, and the first node that needs something runs the
/// function again until the last saved tensor is there.
pub(super) struct Frame<'a> {
    pub(super) run: Checkpointed<'a>,
    /// How many tensors the forward would have saved.
    pub(super) places: Cell<usize>,
    pub(super) recomputed: RefCell<Option<Vec<Option<Rc<Storage>>>>>,
    pub(super) autocast: Option<Dtype>,
}

/// A leaf of the graph.
pub(super) struct LeafState {
    pub(super) block: Option<Block>,
    pub(super) elements: u64,
    pub(super) dtype: Dtype,
    pub(super) gradient: Option<Tensor>,
    /// Keeps an input alive for as long as the graph refers to it.
    pub(super) input: Option<Rc<Storage>>,
    pub(super) part: Part,
}

/// Records allocations and the graph.
pub(crate) struct Tape<'a> {
    pub(super) recording: Recording,
    /// What allocations are for, until it is changed.
    pub(crate) part: Part,
    /// What gradients of activations are for.
    pub(crate) gradient_part: Part,
    /// What tensors that a checkpoint recomputes are for.
    pub(crate) recompute_part: Part,
    /// Bytes of a cuBLAS workspace, and what it is for.
    pub(crate) workspace: (u64, Part),
    /// The workspaces of the forward and of the backward thread.
    pub(super) workspaces: [Option<Tensor>; 2],
    /// cuBLASLt's, which products with a bias use, of the same threads.
    pub(super) bias_workspaces: [Option<Tensor>; 2],
    /// The script holds the graph after backward, and through it inputs and their gradients.
    pub(crate) keeps_inputs: bool,
    /// Those, with their blocks.
    pub(super) kept_inputs: Vec<(Option<Block>, Rc<Storage>, Option<Tensor>)>,
    /// In the backward engine's thread.
    pub(super) in_backward: bool,
    /// Multiprocessors of the card, which decide how a sum is split.
    pub(crate) multiprocessors: u64,
    /// The stream that allocations are used on.
    pub(crate) stream: u8,
    /// What is allocated is in host memory, so not in the trace.
    pub(crate) on_host: bool,
    /// The type that autocast computes matrix products in.
    pub(crate) autocast: Option<Dtype>,
    pub(crate) grad_enabled: bool,
    pub(super) block: Option<Block>,
    pub(super) nodes: Vec<Option<Node<'a>>>,
    pub(super) leaves: Vec<LeafState>,
    pub(super) recorded: Option<Rc<Frame<'a>>>,
    pub(super) recomputed: Option<Rc<Frame<'a>>>,
    /// The recomputation has everything: Python has left the function by an exception, so nothing is allocated any more.
    pub(super) stopped: bool,
    /// Autocast's copies of trained parameters, by leaf.
    pub(super) casts: BTreeMap<Leaf, Tensor>,
    /// Called when a leaf's gradient is complete.
    pub(crate) gradient_hook: Option<GradientHook<'a>>,
    /// Tensors that autograd contexts hold as plain attributes, out of a checkpoint's reach, until the graph dies.
    pub(super) pins: Vec<(Option<Block>, Rc<Storage>)>,
    /// What hooks collect in a forward pass, by block.
    captured: Vec<(Option<Block>, Tensor)>,
}

impl<'a> Tape<'a> {
    /// An empty tape whose allocations are for `part`.
    pub(crate) fn new(part: Part) -> Self {
        Self {
            recording: Rc::new(RefCell::new(Trace::with_room(4096))),
            part,
            gradient_part: part,
            recompute_part: part,
            workspace: (0, part),
            workspaces: [None, None],
            bias_workspaces: [None, None],
            keeps_inputs: false,
            kept_inputs: Vec::new(),
            in_backward: false,
            multiprocessors: 132,
            stream: 0,
            on_host: false,
            autocast: None,
            grad_enabled: true,
            block: None,
            nodes: Vec::new(),
            leaves: Vec::new(),
            recorded: None,
            recomputed: None,
            stopped: false,
            casts: BTreeMap::new(),
            gradient_hook: None,
            pins: Vec::new(),
            captured: Vec::new(),
        }
    }

    /// The trace so far, taken: nothing that happens later is in it.
    pub(crate) fn recording(&self) -> Trace {
        self.recording.take()
    }

    /// The block that events are of.
    pub(crate) fn block(&self) -> Option<Block> {
        self.block
    }

    /// A leaf's elements and type.
    pub(crate) fn leaf_type(&self, leaf: Leaf) -> (u64, Dtype) {
        let state = &self.leaves[leaf.0 as usize];
        (state.elements, state.dtype)
    }

    /// Says that `output` came from an operation on `inputs` that keeps `saved` and whose gradients `backward` makes.
    pub(crate) fn custom(
        &mut self,
        output: Tensor,
        inputs: &[&Tensor],
        saved: &[&Tensor],
        backward: impl FnOnce(&mut Tape<'a>, &Saved, &Gradients) -> Gradients + 'a,
    ) -> Tensor {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().copied().map(Some).collect();
        let node = self.node(&inputs, 1, saved, backward);
        made_by(output, node, 0)
    }

    /// The same for an operation with several outputs.
    pub(crate) fn custom_many(
        &mut self,
        outputs: Vec<Tensor>,
        inputs: &[&Tensor],
        saved: &[&Tensor],
        backward: impl FnOnce(&mut Tape<'a>, &Saved, &Gradients) -> Gradients + 'a,
    ) -> Vec<Tensor> {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().copied().map(Some).collect();
        let node = self.node(&inputs, outputs.len(), saved, backward);
        (0..).zip(outputs).map(|(place, output)| made_by(output, node, place)).collect()
    }

    /// A phase begins.
    pub(crate) fn enter(&mut self, phase: PhaseName) {
        self.at(None);
        self.recording.borrow_mut().push(Event::Enter(phase));
    }

    /// What an operation saves lives as long as its graph: everywhere but in the first pass of a checkpoint.
    pub(crate) fn keeps_saved(&self) -> bool {
        self.grad_enabled && self.recorded.is_none()
    }

    /// `torch.cuda.empty_cache`.
    pub(crate) fn empty_cache(&mut self) {
        self.recording.borrow_mut().push(Event::EmptyCache);
    }

    /// What follows is of this block.
    pub(crate) fn at(&mut self, block: Option<Block>) {
        if self.block != block {
            self.block = block;
            self.recording.borrow_mut().push(Event::Block(block));
        }
    }

    /// A tensor of `elements`.
    pub(crate) fn new_tensor(&mut self, elements: u64, dtype: Dtype) -> Tensor {
        self.new_as(self.part, elements, dtype)
    }

    /// A tensor for `part`.
    pub(crate) fn new_as(&mut self, part: Part, elements: u64, dtype: Dtype) -> Tensor {
        let storage = if self.stopped || self.on_host {
            Storage::phantom()
        } else {
            let entry = Entry { part, bytes: elements * dtype.bytes(), stream: self.stream };
            let index = self.recording.borrow_mut().add(entry);
            Storage::new(&self.recording, index)
        };
        Tensor { storage, elements, dtype, rows_first: false, is_view: false, edge: None }
    }

    /// Memory that is not in the trace, or that something else accounts for.
    pub(crate) fn elsewhere(&self) -> Rc<Storage> {
        Storage::phantom()
    }

    /// Allocations of `f` are for `part`.
    pub(crate) fn labelled<R>(&mut self, part: Part, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.part, part);
        let result = f(self);
        self.part = before;
        result
    }

    /// Runs `f` and lets go of what it makes, its part of the graph with it.
    pub(crate) fn tried(&mut self, f: impl FnOnce(&mut Self) -> Tensor) {
        let before = std::mem::replace(&mut self.grad_enabled, false);
        drop(f(self));
        self.grad_enabled = before;
    }

    /// Makes `tensor` a leaf that a gradient is asked for; `input`: it lives as long as the graph refers to it.
    pub(crate) fn leaf(&mut self, tensor: &mut Tensor, gradient: Part, input: bool) -> Leaf {
        let leaf = Leaf(self.leaves.len() as u32);
        self.leaves.push(LeafState {
            block: self.block,
            elements: tensor.elements,
            dtype: tensor.dtype,
            gradient: None,
            input: input.then(|| Rc::clone(&tensor.storage)),
            part: gradient,
        });
        tensor.edge = Some(Edge::Leaf(leaf));
        leaf
    }

    /// The leaf's type and elements changed: its tensor was replaced.
    pub(crate) fn retype(&mut self, leaf: Leaf, dtype: Dtype) {
        self.leaves[leaf.0 as usize].dtype = dtype;
    }

    /// Takes a leaf's gradient.
    pub(crate) fn take_gradient(&mut self, leaf: Leaf) -> Option<Tensor> {
        self.leaves[leaf.0 as usize].gradient.take()
    }

    /// Sets a leaf's gradient, where it has none: a backward pass that is written out.
    pub(crate) fn give_gradient(&mut self, leaf: Leaf, gradient: Tensor) {
        self.leaves[leaf.0 as usize].gradient.get_or_insert(gradient);
    }

    /// Keeps `tensor` until the graph dies, as an autograd context's plain attribute does.
    pub(crate) fn pin(&mut self, tensor: &Tensor) {
        if !self.stopped {
            self.pins.push((self.block, Rc::clone(&tensor.storage)));
        }
    }

    /// A hook collects `tensor` (`transformers/utils/output_capturing.py`): in forward, not where a checkpoint runs it again.
    pub(crate) fn capture(&mut self, tensor: &Tensor) {
        if self.recomputed.is_none() {
            self.captured.push((self.block, tensor.clone()));
        }
    }

    /// What hooks collected, taken.
    pub(crate) fn take_captured(&mut self) -> Vec<(Option<Block>, Tensor)> {
        std::mem::take(&mut self.captured)
    }

    /// The script lets go of the graph.
    pub(crate) fn release_inputs(&mut self) {
        for (block, input, gradient) in std::mem::take(&mut self.kept_inputs) {
            self.at(block);
            drop((input, gradient));
        }
        self.at(None);
    }

    /// Autocast ends: its copies of parameters go.
    pub(crate) fn end_autocast(&mut self) {
        self.autocast = None;
        for (leaf, cast) in std::mem::take(&mut self.casts) {
            self.at(self.leaves[leaf.0 as usize].block);
            drop(cast);
        }
        self.at(None);
    }

    /// Adds an operation that needs `saved` for its backward and sends gradients to `inputs`; returns where the gradients of its outputs go, or
    /// `None` where none is asked for.
    pub(crate) fn node(
        &mut self,
        inputs: &[Option<&Tensor>],
        outputs: usize,
        saved: &[&Tensor],
        backward: impl FnOnce(&mut Tape<'a>, &Saved, &Gradients) -> Gradients + 'a,
    ) -> Option<u32> {
        if !self.grad_enabled || !inputs.iter().flatten().any(|tensor| tensor.requires_grad()) {
            return None;
        }
        if let Some(frame) = &self.recomputed {
            // Only what is saved matters: the graph is there already.
            if !self.stopped {
                let mut recomputed = frame.recomputed.borrow_mut();
                let recomputed = recomputed.get_or_insert_default();
                for tensor in saved {
                    recomputed.push(Some(Rc::clone(&tensor.storage)));
                    if recomputed.len() == frame.places.get() {
                        self.stopped = true;
                        break;
                    }
                }
            }
            return Some(u32::MAX);
        }
        let keep = match &self.recorded {
            Some(frame) => {
                let first = frame.places.get();
                frame.places.set(first + saved.len());
                Keep::Places(first, saved.len())
            }
            None => Keep::Storages(saved.iter().map(|tensor| Rc::clone(&tensor.storage)).collect()),
        };
        let index = self.nodes.len() as u32;
        self.nodes.push(Some(Node {
            edges: inputs.iter().map(|tensor| tensor.and_then(|tensor| tensor.edge)).collect(),
            saved: keep,
            // Nodes that save nothing hold no checkpoint.
            frame: if saved.is_empty() { None } else { self.recorded.clone() },
            outputs,
            block: self.block,
            backward: Box::new(backward),
            finish: None,
        }));
        Some(index)
    }

    /// How many nodes the graph has.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// These nodes go with what they saved: nobody holds their outputs any more.
    pub(crate) fn forget(&mut self, nodes: Range<usize>) {
        for node in &mut self.nodes[nodes] {
            *node = None;
        }
    }

    /// Says what the engine does with a node's gradients once they are made.
    pub(crate) fn finish(&mut self, node: Option<u32>, finish: impl FnOnce(&mut Tape<'a>, &mut Gradients) + 'a) {
        if let Some(Some(node)) = node.and_then(|node| self.nodes.get_mut(node as usize)) {
            node.finish = Some(Box::new(finish));
        }
    }

    /// A matrix product ran: a thread's first one makes its cuBLAS workspace, once its output is there.
    pub(crate) fn product(&mut self) {
        let thread = usize::from(self.in_backward);
        if self.stopped || self.workspace.0 == 0 || self.workspaces[thread].is_some() {
            return;
        }
        let (bytes, part) = self.workspace;
        self.workspaces[thread] = Some(self.new_as(part, bytes, Dtype::U8));
    }

    /// Runs a part of a backward pass that is written out, in the backward engine's thread, whose cuBLAS handles are its own.
    pub(crate) fn backward_thread<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.in_backward, true);
        let result = run(self);
        self.in_backward = before;
        result
    }

    /// A product with a bias ran: it goes through cuBLASLt, which has a workspace of 1 MiB a thread
    /// (`aten/src/ATen/cuda/CUDABlas.cpp`, `gemm_and_bias`).
    pub(crate) fn biased_product(&mut self) {
        let thread = usize::from(self.in_backward);
        if self.stopped || self.workspace.0 == 0 || self.bias_workspaces[thread].is_some() {
            return;
        }
        self.bias_workspaces[thread] = Some(self.new_as(self.workspace.1, 1 << 20, Dtype::U8));
    }

    /// The buffer through which a sum of `rows` rows into `outputs` is staged (`aten/src/ATen/native/cuda/Reduce.cuh`, `setReduceConfig`): blocks of
    /// 32 x 4 threads, 4 outputs a thread, at least 16 rows a thread.
    pub(crate) fn reduction_staging(&mut self, outputs: u64, rows: u64) -> Option<Tensor> {
        let (per_thread, grid) = (rows.div_ceil(4), outputs.div_ceil(128));
        let most = self.multiprocessors * 16;
        if !outputs.is_multiple_of(4) || per_thread < 16 || grid > most {
            return None;
        }
        let blocks = most.div_ceil(grid).min(per_thread.div_ceil(16)).max(per_thread.div_ceil(256));
        (blocks > 1).then(|| self.new_tensor(4 * outputs * blocks * 128, Dtype::U8))
    }

    /// Runs `run` as one checkpoint.
    pub(crate) fn checkpoint(&mut self, run: Checkpointed<'a>) -> Tensor {
        let frame =
            Rc::new(Frame { run, places: Cell::new(0), recomputed: RefCell::new(None), autocast: self.autocast });
        self.recorded = Some(Rc::clone(&frame));
        let output = (frame.run)(self);
        self.recorded = None;
        output
    }
}

/// Says that output `output` of `node` made the tensor.
pub(super) fn made_by(tensor: Tensor, node: Option<u32>, output: u32) -> Tensor {
    Tensor { edge: node.map(|node| Edge::Node(node, output)), ..tensor }
}
