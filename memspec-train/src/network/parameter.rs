//! Parameters: a value, and what training it needs.

use burn::tensor::Tensor;
use memspec::cost::engine::memspec::has_eight_bit_states;
use memspec::plan::OptimizerKind;

#[cfg(feature = "cuda")]
use crate::kernels::cuda::{
    optimizer::Trained,
    tensor::{here, here_bytes},
};
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

/// Gradient and optimizer states of a trained parameter.
#[derive(Debug)]
pub struct Training<const D: usize> {
    /// Gradient, summed over the micro batches of a step.
    pub grad: Slot<D>,
    /// What the optimizer remembers.
    pub moments: Moments<D>,
    /// Whether weight decay holds for it.
    pub decays: bool,
}

/// What an optimizer remembers of a parameter from step to step.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "handles to tensors that are a thousand times larger")]
pub enum Moments<const D: usize> {
    /// Nothing (SGD).
    None,
    /// First and second moment as numbers (AdamW).
    Full(Slot<D>, Slot<D>),
    /// The same in 8 bits.
    EightBit(Moment8, Moment8),
}

/// A moment in 8 bits: see [`kernels::Moment8`].
#[derive(Debug)]
pub struct Moment8(Option<kernels::Moment8>);

impl Moment8 {
    fn zeros(elements: usize, place: Place) -> Self {
        Self(Some((place.zero_bytes(elements), place.zeros([elements.div_ceil(kernels::STATE_BLOCK)]))))
    }

    /// Codes and largest magnitudes.
    pub fn get(&self) -> &kernels::Moment8 {
        match &self.0 {
            Some(moment) => moment,
            None => unreachable!("it is only gone inside a step"),
        }
    }

    /// Replaces it by what `change` makes of it.
    pub fn change(&mut self, change: impl FnOnce(kernels::Moment8) -> kernels::Moment8) {
        self.0 = self.0.take().map(change);
    }

    fn take(&mut self) -> kernels::Moment8 {
        match self.0.take() {
            Some(moment) => moment,
            None => unreachable!("it is only gone inside a step"),
        }
    }
}

/// A weight of the network; frozen unless it has [`Training`].
#[derive(Debug)]
pub struct Parameter<const D: usize> {
    /// The weight.
    pub value: Slot<D>,
    /// A trained weight in the type of activations, where that is another: what products read.
    pub copy: Option<Slot<D>>,
    /// Present when it is trained.
    pub training: Option<Training<D>>,
}

/// What a trained parameter keeps beside its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerStates {
    /// First and second moment in the weight's type (AdamW).
    Moments,
    /// First and second moment in f32, whatever the weight's type is.
    FullMoments,
    /// First and second moment in 8 bits.
    EightBit,
    /// Nothing (SGD).
    None,
}

impl OptimizerStates {
    /// What an optimizer keeps of a parameter with so many elements; `embedding` says that it is the table of embeddings.
    pub fn of(optimizer: OptimizerKind, elements: usize, embedding: bool) -> Self {
        match optimizer {
            OptimizerKind::Sgd => Self::None,
            OptimizerKind::Adamw8bit if has_eight_bit_states(elements as u64, embedding) => Self::EightBit,
            // bitsandbytes' `optim/optimizer.py`, `init_state`.
            OptimizerKind::Adamw8bit => Self::FullMoments,
            _ => Self::Moments,
        }
    }
}

impl<const D: usize> Parameter<D> {
    /// A weight that is not trained.
    pub fn frozen(value: Tensor<D>) -> Self {
        Self { value: Slot::new(value), copy: None, training: None }
    }

    /// A weight that is trained, in the type that `place` has for it, with zeroed gradient and states. Norms and biases do not decay, as in
    /// transformers' `Trainer` (its `get_decay_parameter_names`); of the weights that products read they are the vectors.
    pub fn trained(value: Tensor<D>, states: OptimizerStates, place: Place) -> Self {
        let copy = place.working_zeros(value.dims()).map(|copy| Slot::new(kernels::working_copy(copy, &value)));
        Self { copy, ..Self::trained_alone(value, states, D > 1, place) }
    }

    /// The same for one that no product reads: without a copy in the type of activations.
    pub fn trained_alone(value: Tensor<D>, states: OptimizerStates, decays: bool, place: Place) -> Self {
        let shape = value.dims();
        let zeros = || Slot::new(place.zeros_to_train(shape));
        let grad = zeros();
        let moments = match states {
            OptimizerStates::None => Moments::None,
            OptimizerStates::Moments => Moments::Full(zeros(), zeros()),
            OptimizerStates::FullMoments => Moments::Full(Slot::new(place.zeros(shape)), Slot::new(place.zeros(shape))),
            OptimizerStates::EightBit => {
                let moment = || Moment8::zeros(shape.iter().product(), place);
                Moments::EightBit(moment(), moment())
            }
        };
        Self { value: Slot::new(value), copy: None, training: Some(Training { grad, moments, decays }) }
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

    /// The gradient, to be given back by [`Parameter::return_grad`]; `None`: nothing is trained here.
    pub(super) fn take_grad(&mut self) -> Option<Tensor<D>> {
        Some(self.training.as_mut()?.grad.take())
    }

    /// Puts back what [`Parameter::take_grad`] gave.
    pub(super) fn return_grad(&mut self, grad: Tensor<D>) {
        if let Some(training) = &mut self.training {
            training.grad = Slot::new(grad);
        }
    }

    /// The tensors of a step on a card; `None` where it is elsewhere, frozen, or without moments.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_card(&self) -> Option<Trained> {
        let training = self.training.as_ref()?;
        let (first, second, largest) = match &training.moments {
            Moments::None => return None,
            Moments::Full(first, second) => (here(first.get())?, here(second.get())?, None),
            Moments::EightBit(first, second) => {
                let ((first, first_largest), (second, second_largest)) = (first.get(), second.get());
                let largest = [here(first_largest)?, here(second_largest)?];
                (here_bytes(first)?, here_bytes(second)?, Some(largest))
            }
        };
        let copy = match &self.copy {
            Some(copy) => Some(here(copy.get())?),
            None => None,
        };
        Some(Trained {
            value: here(self.value.get())?,
            grad: here(training.grad.get())?,
            first,
            second,
            largest,
            copy,
            decays: training.decays,
        })
    }

    /// What the optimizer remembers; `None` when frozen.
    pub(super) fn moments_mut(&mut self) -> Option<&mut Moments<D>> {
        self.training.as_mut().map(|training| &mut training.moments)
    }

    /// Writes the sum of squares of the gradient over `sums[index]`; nothing when frozen.
    pub fn grad_square(&self, sums: Tensor<1>, index: usize) -> Tensor<1> {
        match &self.training {
            Some(training) => kernels::sum_of_squares(sums, training.grad.get(), index),
            None => sums,
        }
    }

    /// Zeroes the gradient, as a step does. Nothing when frozen.
    pub fn zero_grad(&mut self, place: Place) {
        let Some(training) = &mut self.training else { return };
        let shape = training.grad.get().dims();
        // Gone before its successor is there.
        drop(training.grad.take());
        training.grad = Slot::new(place.zeros_to_train(shape));
    }

    /// One optimizer step; zeroes the gradient. Nothing when frozen.
    pub fn step(&mut self, mut how: AdamW) {
        let Some(training) = &mut self.training else { return };
        if !training.decays {
            how.weight_decay = 0.0;
        }
        let (value, grad) = (self.value.take(), training.grad.take());
        let (value, grad) = match &mut training.moments {
            Moments::Full(first, second) => {
                let (value, grad, m, v) = kernels::adamw((value, grad, first.take(), second.take()), how);
                (*first, *second) = (Slot::new(m), Slot::new(v));
                (value, grad)
            }
            Moments::EightBit(first, second) => {
                let (stepped, m, v) = kernels::adamw_8bit((value, grad), first.take(), second.take(), how);
                (*first, *second) = (Moment8(Some(m)), Moment8(Some(v)));
                stepped
            }
            Moments::None => kernels::sgd(value, grad, how),
        };
        self.value = Slot::new(value);
        training.grad = Slot::new(grad);
        if let Some(copy) = &mut self.copy {
            copy.change(|copy| kernels::working_copy(copy, self.value.get()));
        }
    }
}
