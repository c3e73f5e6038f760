//! One training step: micro batches forward and backward, then the optimizer.

use burn::tensor::{Int, Tensor};
use memspec::cost::PhaseName;
use memspec::cost::engine::memspec::{Moved, loss_rows};
use memspec::setup::Setup;

use crate::kernels::lane::{Home, Lane};
use crate::kernels::place::{Place, fetch};
use crate::kernels::{self, AdamW, DeviceFailed};
use crate::network::offload::Shelf;
use crate::network::{Layout, Model, ParameterMut};

/// Token ids and targets of a micro batch, padded to equal length.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `rows * context` token ids, row after row.
    pub ids: Vec<i32>,
    /// The token that follows each token, or -1 where nothing is scored.
    pub targets: Vec<i32>,
    /// Tokens of one row, padding included: of one sample, unless they are packed.
    pub context: usize,
    /// Where samples begin, where a row may hold several.
    pub packed: Option<Packed>,
}

/// The samples of packed rows.
#[derive(Clone, Debug)]
pub struct Packed {
    /// For each token, the column of its row in which its sample begins.
    pub starts: Vec<i32>,
    /// Tokens of the longest sample.
    pub longest: usize,
}

impl Batch {
    /// Tokens whose prediction is scored.
    pub fn scored(&self) -> usize {
        self.targets.iter().filter(|&&target| target >= 0).count()
    }

    /// Tokens of the longest sample, padding included where they are not packed.
    fn longest(&self) -> usize {
        self.packed.as_ref().map_or(self.context, |packed| packed.longest)
    }

    /// Its shape, and where samples begin, at `place`.
    fn layout(&self, place: Place) -> Layout {
        let starts = self.packed.as_ref().map(|packed| place.integers(&packed.starts));
        Layout { context: self.context, longest: self.longest(), starts }
    }
}

/// How a step is run.
#[derive(Clone, Copy, Debug)]
pub struct StepConfig {
    /// The first so many blocks keep only their input and are computed again in backward.
    pub recomputed_blocks: usize,
    /// Which of these inputs are in host memory meanwhile.
    pub moved: Moved,
    /// Tokens whose logits exist at a time.
    pub loss_rows: usize,
    /// What the loss is multiplied with, and by it every gradient: 1 but in fp16 ([`crate::scaler`]).
    pub loss_scale: f32,
    /// Micro batches of the run before this one: each has masks of its own for dropout, and the same when it is run again.
    pub draw: u64,
}

impl StepConfig {
    /// As a setup says, and as its promise counts.
    pub fn of(setup: &Setup) -> Self {
        Self {
            recomputed_blocks: setup.recomputed_blocks() as usize,
            moved: Moved::of(setup),
            loss_rows: loss_rows(setup) as usize,
            loss_scale: 1.0,
            draw: 0,
        }
    }
}

/// Forward, loss and backward of one micro batch; gradients are added to the parameters'.
/// `scored` is the number of scored tokens in the whole step, over which the loss is averaged. `enter` is called at each phase's start.
/// The scaled loss, as `[1]`, is read when all is queued, so that a device never waits for the host.
pub fn micro_batch(
    model: &mut Model,
    batch: &Batch,
    scored: usize,
    config: &StepConfig,
    enter: &mut dyn FnMut(PhaseName),
) -> Tensor<1> {
    model.drop_inputs(Some(config.draw));
    let moved = config.moved.inputs as usize;
    let loss = match model.place {
        Place::Cpu => forward_backward(model, batch, scored, config, Shelf::new(Home, moved), enter),
        #[cfg(feature = "cuda")]
        Place::Cuda { card, .. } => {
            let lane = kernels::cuda::offload::Pinned { card, place_bytes: config.moved.input_bytes as usize };
            forward_backward(model, batch, scored, config, Shelf::new(lane, moved), enter)
        }
    };
    model.drop_inputs(None);
    loss
}

/// The same with the inputs of recomputed blocks on a shelf, which is empty.
pub(crate) fn forward_backward<L: Lane>(
    model: &mut Model,
    batch: &Batch,
    scored: usize,
    config: &StepConfig,
    mut inputs: Shelf<L>,
    enter: &mut dyn FnMut(PhaseName),
) -> Tensor<1> {
    enter(PhaseName::Forward);
    let (ids, targets) = (model.place.integers(&batch.ids), model.place.integers(&batch.targets));
    let layout = batch.layout(model.place);
    let mut kept = Vec::with_capacity(model.blocks.len().saturating_sub(config.recomputed_blocks));
    let mut x = kernels::embed(model.embedding.used(), &ids);
    for (index, block) in model.blocks.iter().enumerate() {
        let at = model.positions(&layout);
        if index < config.recomputed_blocks {
            x = inputs.put(x, |x| block.forward(x, at));
        } else {
            let (y, saved) = block.forward_saving(x, at);
            kept.push(saved);
            x = y;
        }
    }

    enter(PhaseName::Loss);
    let scale = config.loss_scale / scored.max(1) as f32;
    let (loss, g) = loss(model, &x, &targets, config.loss_rows, scale);

    enter(PhaseName::Backward);
    let mut g = Some(model.norm.backward(g, &x));
    drop(x);
    let embedding_trained = model.embedding.training.is_some();
    for index in (0..model.blocks.len()).rev() {
        let x = if index < config.recomputed_blocks { inputs.take() } else { None };
        if index <= config.moved.inputs as usize {
            // The input of the block below comes back while this one goes backward.
            inputs.prefetch();
        }
        let (block, at) = model.block_mut(index, &layout);
        let saved = x.map(|x| block.recompute(x, at)).or_else(|| kept.pop());
        let (Some(saved), Some(above)) = (saved, g.take()) else { break };
        g = block.backward(saved, above, at, index > 0 || embedding_trained);
    }
    if let Some(g) = g {
        model.embedding.add_grad(|grad| kernels::embed_backward(grad, &ids, &g));
    }
    loss
}

/// The loss, and the gradient of the final norm's output.
fn loss(model: &mut Model, x: &Tensor<2>, targets: &Tensor<1, Int>, rows: usize, scale: f32) -> (Tensor<1>, Tensor<2>) {
    let normed = model.norm.forward(x);
    model.cross_entropy(normed, targets, rows, scale)
}

/// The summed loss of a batch and nothing else, as evaluation wants it.
///
/// # Errors
/// The device failed.
pub fn evaluate(model: &Model, batch: &Batch, loss_rows: usize) -> Result<f32, DeviceFailed> {
    let targets = model.place.integers(&batch.targets);
    let normed = hidden(model, batch);
    let loss = kernels::cross_entropy_loss(&normed, model.head(), &targets, loss_rows, 1.0);
    Ok(fetch(&loss)?[0])
}

/// The normed output of the last block, `[T, hidden]`: what the head turns into logits.
pub fn hidden(model: &Model, batch: &Batch) -> Tensor<2> {
    let (ids, layout) = (model.place.integers(&batch.ids), batch.layout(model.place));
    let mut x = kernels::embed(model.embedding.used(), &ids);
    for block in &model.blocks {
        x = block.forward(&x, model.positions(&layout));
    }
    model.norm.forward(&x)
}

/// Clips, steps every trained parameter and zeroes its gradient; returns the gradient's global norm before clipping, after it was
/// multiplied with `gradient_scale`. Where that is no number, gradients are zeroed and nothing else is changed.
///
/// # Errors
/// The device failed, here or in what was queued before.
pub fn optimizer_step(model: &mut Model, how: AdamW, clip: f32) -> Result<f32, DeviceFailed> {
    let place = model.place;
    let parameters = model.trained_mut().into_iter().map(|(_, parameter)| parameter).collect();
    let norm = step(place, parameters, how, clip)?;
    model.renew_norms();
    Ok(norm)
}

/// The same for parameters that are all at `place`.
///
/// # Errors
/// As [`optimizer_step`].
pub(crate) fn step(
    place: Place,
    parameters: Vec<ParameterMut<'_>>,
    mut how: AdamW,
    clip: f32,
) -> Result<f32, DeviceFailed> {
    // A card takes all in a few launches, and the norm stays there until the step is queued.
    #[cfg(feature = "cuda")]
    if let Some(all) = parameters.iter().map(ParameterMut::on_card).collect::<Option<Vec<_>>>()
        && let Some(square) = kernels::cuda::optimizer::step(&all, how, clip)
    {
        return Ok(kernels::cuda::tensor::read(&square)?[0].sqrt() * how.gradient_scale);
    }
    let mut sums = place.zeros([parameters.len()]);
    for (index, parameter) in parameters.iter().enumerate() {
        sums = parameter.grad_square(sums, index);
    }
    let norm = fetch(&sums)?.into_iter().map(f64::from).sum::<f64>().sqrt() as f32 * how.gradient_scale;
    if clip > 0.0 {
        // As torch.nn.utils.clip_grad_norm_.
        how.gradient_scale *= (clip / (norm + 1e-6)).min(1.0);
    }
    for parameter in parameters {
        match norm.is_finite() {
            true => parameter.step(how),
            false => parameter.zero_grad(place),
        }
    }
    Ok(norm)
}
