//! The backward engine (`torch/csrc/autograd/engine.cpp`): nodes run newest first, once all gradients of their outputs are there.

use std::collections::BinaryHeap;
use std::rc::Rc;

use super::tape::{Frame, Gradients, Keep, Tape};
use super::tensor::{Edge, Leaf, Saved, Tensor};
use crate::model::Dtype;

/// Gradients on their way, and how many are still missing.
#[derive(Default)]
struct Waiting {
    gradients: Gradients,
    missing: u32,
}

impl<'a> Tape<'a> {
    /// Backward from `root`, a scalar. The graph is used up.
    pub(crate) fn backward(&mut self, root: Tensor) {
        let Some(Edge::Node(first, _)) = root.edge else { return };
        self.in_backward = true;
        let one = self.new_as(self.gradient_part, 1, Dtype::F32);
        drop(root);
        self.run_from(first, 0, one);
        self.in_backward = false;
        self.at(None);
        self.nodes.clear();
        for leaf in 0..self.leaves.len() {
            if let Some(input) = self.leaves[leaf].input.take() {
                self.at(self.leaves[leaf].block);
                let gradient = self.leaves[leaf].gradient.take();
                if self.keeps_inputs {
                    self.kept_inputs.push((self.block, input, gradient));
                } else {
                    drop((input, gradient));
                }
            }
        }
        self.at(None);
        for (block, storage) in std::mem::take(&mut self.pins) {
            self.at(block);
            drop(storage);
        }
        self.at(None);
    }

    /// Backward from a tensor whose gradient is known, within another backward pass.
    pub(super) fn backward_through(&mut self, root: &Tensor, gradient: Tensor) {
        if let Some(Edge::Node(first, output)) = root.edge {
            self.run_from(first, output, gradient);
        }
    }

    fn run_from(&mut self, first: u32, output: u32, gradient: Tensor) {
        let mut nodes = self.count(first);
        let mut leaves: Vec<Waiting> = Vec::new();
        leaves.resize_with(self.leaves.len(), Waiting::default);
        for node in self.nodes.iter().enumerate().filter(|(at, _)| *at == first as usize || nodes[*at].missing > 0) {
            for edge in node.1.iter().flat_map(|node| &node.edges).flatten() {
                if let Edge::Leaf(leaf) = edge {
                    leaves[leaf.0 as usize].missing += 1;
                }
            }
        }
        nodes[first as usize].gradients.resize(output as usize + 1, None);
        nodes[first as usize].gradients[output as usize] = Some(gradient);
        let mut ready = BinaryHeap::from([first]);
        while let Some(at) = ready.pop() {
            let Some(mut node) = self.nodes[at as usize].take() else { continue };
            self.at(node.block);
            let mut gradients = std::mem::take(&mut nodes[at as usize].gradients);
            gradients.resize(node.outputs, None);
            let keep = std::mem::replace(&mut node.saved, Keep::Places(0, 0));
            let saved = self.unpack(keep, node.frame.as_ref());
            let before = std::mem::replace(&mut self.part, self.gradient_part);
            let mut outgoing = (node.backward)(self, &saved, &gradients);
            // What a checkpoint's hook handed out goes when the function returns; what the node itself saved stays until its variables are
            // released.
            let mut saved = Some(saved);
            if node.frame.is_some() {
                saved = None;
            }
            if let Some(finish) = node.finish.take() {
                finish(self, &mut outgoing);
            }
            drop(saved);
            node.frame = None;
            self.part = before;
            drop(gradients);
            for (edge, gradient) in node.edges.into_iter().zip(outgoing) {
                let Some(edge) = edge else { continue };
                let (waiting, place) = match edge {
                    Edge::Node(to, output) => (&mut nodes[to as usize], output as usize),
                    Edge::Leaf(leaf) => (&mut leaves[leaf.0 as usize], 0),
                };
                waiting.missing -= 1;
                let complete = waiting.missing == 0;
                if let Some(gradient) = gradient {
                    if waiting.gradients.len() <= place {
                        waiting.gradients.resize(place + 1, None);
                    }
                    let sum = match waiting.gradients[place].take() {
                        None => gradient,
                        Some(first) => self.sum(first, gradient),
                    };
                    waiting.gradients[place] = Some(sum);
                }
                match edge {
                    Edge::Node(to, _) if complete => ready.push(to),
                    Edge::Leaf(leaf) if complete => {
                        let gradient = std::mem::take(&mut waiting.gradients).into_iter().next().flatten();
                        if let Some(gradient) = gradient {
                            self.accumulate(leaf, gradient);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// How many gradients each node that `first` reaches waits for.
    fn count(&self, first: u32) -> Vec<Waiting> {
        let mut nodes: Vec<Waiting> = Vec::new();
        nodes.resize_with(self.nodes.len(), Waiting::default);
        // An edge goes to an older node, so one pass from the newest on sees every node after all that lead to it.
        for at in (0..=first).rev() {
            if at != first && nodes[at as usize].missing == 0 {
                continue;
            }
            for edge in self.nodes[at as usize].iter().flat_map(|node| &node.edges).flatten() {
                if let Edge::Node(to, _) = edge {
                    nodes[*to as usize].missing += 1;
                }
            }
        }
        nodes
    }

    /// What a node saved; the first node of a checkpoint recomputes it.
    fn unpack(&mut self, keep: Keep, frame: Option<&Rc<Frame<'a>>>) -> Saved {
        let (first, count, frame) = match (keep, frame) {
            (Keep::Storages(saved), _) => return saved,
            (Keep::Places(first, count), Some(frame)) => (first, count, frame),
            (Keep::Places(..), None) => return Vec::new(),
        };
        if count > 0 && frame.recomputed.borrow().is_none() {
            self.recompute(frame);
        }
        let mut recomputed = frame.recomputed.borrow_mut();
        match recomputed.as_mut() {
            Some(recomputed) => recomputed[first..first + count].iter_mut().filter_map(Option::take).collect(),
            None => Vec::new(),
        }
    }

    fn recompute(&mut self, frame: &Rc<Frame<'a>>) {
        *frame.recomputed.borrow_mut() = Some(Vec::with_capacity(frame.places.get()));
        let recorded = self.recorded.take();
        let recomputed = self.recomputed.replace(Rc::clone(frame));
        let autocast = std::mem::replace(&mut self.autocast, frame.autocast);
        let casts = std::mem::take(&mut self.casts);
        let grad_enabled = std::mem::replace(&mut self.grad_enabled, true);
        let part = std::mem::replace(&mut self.part, self.recompute_part);
        let pins = self.pins.len();
        drop((frame.run)(self));
        self.stopped = false;
        self.recorded = recorded;
        self.recomputed = recomputed;
        self.autocast = autocast;
        self.casts = casts;
        self.grad_enabled = grad_enabled;
        self.part = part;
        self.pins.truncate(pins);
    }

    /// The sum of two gradients of one tensor: in place where nobody else sees the first (`InputBuffer::add`).
    fn sum(&mut self, first: Tensor, second: Tensor) -> Tensor {
        if first.is_unshared() {
            return first;
        }
        let sum = self.new_as(self.gradient_part, first.elements, first.dtype);
        drop(second);
        sum
    }

    /// A leaf's gradient: the first is taken over, later ones are added in place (`AccumulateGrad`).
    fn accumulate(&mut self, leaf: Leaf, gradient: Tensor) {
        self.add_gradient(leaf, gradient);
        if let Some(hook) = self.gradient_hook.clone() {
            hook(self, leaf);
        }
    }

    fn add_gradient(&mut self, leaf: Leaf, gradient: Tensor) {
        let state = &self.leaves[leaf.0 as usize];
        if state.gradient.is_some() {
            return;
        }
        let (part, elements, dtype) = (state.part, state.elements, state.dtype);
        let gradient = if gradient.dtype == dtype { gradient } else { self.new_as(part, elements, dtype) };
        gradient.storage.relabel(part);
        self.leaves[leaf.0 as usize].gradient = Some(gradient);
    }
}
