//! Tensors: a shared storage, a number of elements and a type.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::trace::{Event, Part, Trace};
use crate::model::Dtype;

/// The trace that storages write themselves into.
pub(super) type Recording = Rc<RefCell<Trace>>;

/// Memory of a tensor; freed when it is dropped.
#[derive(Debug)]
pub(crate) struct Storage {
    /// `None`: never allocated, because a recomputation had already stopped.
    place: Option<(Recording, u32)>,
}

impl Storage {
    pub(super) fn new(recording: &Recording, index: u32) -> Rc<Self> {
        Rc::new(Self { place: Some((Rc::clone(recording), index)) })
    }

    pub(super) fn phantom() -> Rc<Self> {
        Rc::new(Self { place: None })
    }

    /// Says what the memory is for, now that it is known.
    pub(crate) fn relabel(&self, part: Part) {
        if let Some((recording, index)) = &self.place {
            recording.borrow_mut().relabel(*index, part);
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some((recording, index)) = &self.place {
            recording.borrow_mut().push(Event::Free(*index));
        }
    }
}

/// Storages that a node keeps for its backward.
pub(crate) type Saved = Vec<Rc<Storage>>;

/// The index of a leaf of the graph: a parameter, or an input that a gradient is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leaf(pub(super) u32);

/// Where a tensor's gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// To this output of this node.
    Node(u32, u32),
    /// To this leaf.
    Leaf(Leaf),
}

/// A tensor.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) storage: Rc<Storage>,
    /// Elements.
    pub(crate) elements: u64,
    /// Type of an element.
    pub(crate) dtype: Dtype,
    /// Stored as (batch, tokens, heads, width) but seen heads first, so that a reshape back is a view.
    pub(crate) rows_first: bool,
    /// Made by `view()` of another tensor object, which holds the storage too.
    pub(crate) is_view: bool,
    pub(super) edge: Option<Edge>,
}

impl Tensor {
    /// A tensor over memory that a node saved.
    pub(crate) fn of(storage: &Rc<Storage>, elements: u64, dtype: Dtype) -> Tensor {
        Tensor { storage: Rc::clone(storage), elements, dtype, rows_first: false, is_view: false, edge: None }
    }

    /// A gradient is asked for.
    pub(crate) fn requires_grad(&self) -> bool {
        self.edge.is_some()
    }

    /// The leaf it is.
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        match self.edge {
            Some(Edge::Leaf(leaf)) => Some(leaf),
            _ => None,
        }
    }

    /// A view of the same storage without history.
    pub(crate) fn view(&self, elements: u64) -> Tensor {
        Tensor { storage: Rc::clone(&self.storage), elements, edge: None, ..*self }
    }

    /// The same tensor without history.
    pub(crate) fn detached(self) -> Tensor {
        Tensor { edge: None, ..self }
    }

    /// The same tensor, seen or stored rows first.
    pub(crate) fn rows_first(self, rows_first: bool) -> Tensor {
        Tensor { rows_first, ..self }
    }

    /// The same tensor as a `view()` of what made it.
    pub(crate) fn seen_again(self) -> Tensor {
        Tensor { is_view: true, ..self }
    }

    /// Nobody else refers to the storage.
    pub(super) fn is_unshared(&self) -> bool {
        !self.is_view && Rc::strong_count(&self.storage) == 1
    }
}
