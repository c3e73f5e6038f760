//! Parameters: a value, and what training it needs.

use burn::tensor::Tensor;

#[cfg(feature = "cuda")]
use crate::kernels::cuda::{optimizer::Trained, tensor::here};
use crate::kernels::place::Place;
use crate::kernels::{self, AdamW};

/// A tensor that kernels rewrite in place. They need its only reference, so it is taken out and put back.
#[derive(Debug)]
pub struct Slot<const D: usize>(Option<Tensor<D>>);

impl<const D: usize> Slot<D> {
    /// Holds `tensor`.
    pub fn new(tensor: Tensor<D>) -> Self {
        Self(Some(tensor))
    }

    /// The tensor.
    pub fn get(&self) -> &Tensor<D> {
        match &self.0 {
            Some(tensor) => tensor,
            None => unreachable!("a slot is only empty inside `change`"),
        }
    }

    /// Replaces the tensor by what `change` makes of it.
    pub fn change(&mut self, change: impl FnOnce(Tensor<D>) -> Tensor<D>) {
        self.0 = self.0.take().map(change);
    }

    /// Takes the tensor out; the slot must be filled again before it is read.
    pub(crate) fn take(&mut self) -> Tensor<D> {
        match self.0.take() {
            Some(tensor) => tensor,
            None => unreachable!("a slot is only empty inside `change`"),
        }
    }
}

/// Gradient and optimizer states of a trained parameter, in f32.
#[derive(Debug)]
pub struct Training<const D: usize> {
    /// Gradient, summed over the micro batches of a step.
    pub grad: Slot<D>,
    /// The optimizer's moments: two for AdamW, none for SGD.
    pub moments: Option<(Slot<D>, Slot<D>)>,
}

/// A weight of the network; frozen unless it has [`Training`].
#[derive(Debug)]
pub struct Parameter<const D: usize> {
    /// The weight.
    pub value: Slot<D>,
    /// A trained weight in the type of activations, where that is not f32: what products read.
    pub copy: Option<Slot<D>>,
    /// Present when it is trained.
    pub training: Option<Training<D>>,
}

/// What a trained parameter keeps beside its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerStates {
    /// First and second moment (AdamW).
    Moments,
    /// Nothing (SGD).
    None,
}

impl<const D: usize> Parameter<D> {
    /// A weight that is not trained.
    pub fn frozen(value: Tensor<D>) -> Self {
        Self { value: Slot::new(value), copy: None, training: None }
    }

    /// A weight that is trained, in f32 at `place`, with zeroed gradient and states.
    pub fn trained(value: Tensor<D>, states: OptimizerStates, place: Place) -> Self {
        let shape = value.dims();
        let zeros = || Slot::new(place.zeros(shape));
        let copy = place.working_zeros(shape).map(|copy| Slot::new(kernels::working_copy(copy, &value)));
        let grad = zeros();
        let moments = (states == OptimizerStates::Moments).then(|| (zeros(), zeros()));
        Self { value: Slot::new(value), copy, training: Some(Training { grad, moments }) }
    }

    /// The weight as products read it.
    pub fn used(&self) -> &Tensor<D> {
        self.copy.as_ref().unwrap_or(&self.value).get()
    }

    /// Replaces a weight by `change`, and what products read with it.
    pub fn set(&mut self, change: impl FnOnce(Tensor<D>) -> Tensor<D>) {
        self.value.change(change);
        if let Some(copy) = &mut self.copy {
            copy.change(|copy| kernels::working_copy(copy, self.value.get()));
        }
    }

    /// Adds to the gradient, when the parameter is trained.
    pub fn add_grad(&mut self, add: impl FnOnce(Tensor<D>) -> Tensor<D>) {
        if let Some(training) = &mut self.training {
            training.grad.change(add);
        }
    }

    /// The tensors of a step on a card; `None` where it is elsewhere, frozen, or without moments.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_card(&self) -> Option<Trained> {
        let training = self.training.as_ref()?;
        let (first, second) = training.moments.as_ref()?;
        let copy = match &self.copy {
            Some(copy) => Some(here(copy.get())?),
            None => None,
        };
        Some(Trained {
            value: here(self.value.get())?,
            grad: here(training.grad.get())?,
            first: here(first.get())?,
            second: here(second.get())?,
            copy,
            decays: Self::DECAYS,
        })
    }

    /// The optimizer's states with their names: nothing when frozen, or for SGD.
    pub(super) fn states(&mut self) -> Vec<(&'static str, &mut Slot<D>)> {
        let moments = self.training.as_mut().and_then(|training| training.moments.as_mut());
        moments.map_or_else(Vec::new, |(first, second)| vec![("first", first), ("second", second)])
    }

    /// Writes the sum of squares of the gradient over `sums[index]`; nothing when frozen.
    pub fn grad_square(&self, sums: Tensor<1>, index: usize) -> Tensor<1> {
        match &self.training {
            Some(training) => kernels::sum_of_squares(sums, training.grad.get(), index),
            None => sums,
        }
    }

    /// Whether weight decay holds for it. Norms and biases do not decay, as in transformers' `Trainer` (its
    /// `get_decay_parameter_names`); of the architectures that run they are the vectors.
    const DECAYS: bool = D > 1;

    /// One optimizer step; zeroes the gradient. Nothing when frozen.
    pub fn step(&mut self, mut how: AdamW) {
        let Some(training) = &mut self.training else { return };
        if !Self::DECAYS {
            how.weight_decay = 0.0;
        }
        let (value, grad) = (self.value.take(), training.grad.take());
        match &mut training.moments {
            Some((first, second)) => {
                let (value, grad, m, v) = kernels::adamw((value, grad, first.take(), second.take()), how);
                self.value = Slot::new(value);
                training.grad = Slot::new(grad);
                (*first, *second) = (Slot::new(m), Slot::new(v));
            }
            None => {
                let (value, grad) = kernels::sgd(value, grad, how);
                self.value = Slot::new(value);
                training.grad = Slot::new(grad);
            }
        }
        if let Some(copy) = &mut self.copy {
            copy.change(|copy| kernels::working_copy(copy, self.value.get()));
        }
    }
}
