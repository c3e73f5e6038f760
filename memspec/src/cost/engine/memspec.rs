//! The engine `memspec`: what `memspec-train` allocates, in the order in which it does.
//!
//! This file is the executor's `step.rs`, `network/` and `kernels/` with bytes in place of numbers: a change there is a change here,
//! and the executor's test `promise` measures every phase against it. `T` is the number of tokens in a micro batch.

mod card;
mod host;
mod moved;
mod supported;

use crate::cost::CostError;
use crate::cost::trace::{Part, PhaseName, Tensor, Trace};
use crate::device::DeviceKind;
use crate::model::Architecture;
use crate::plan::{AdapterKind, OptimizerKind, Precision, QuantizeKind};
use crate::setup::{Quantize, Setup};

pub use card::{Reading, is_folded, is_read_once};
pub use host::{beside_tensors, context, host, is_measured_on, workspace};
pub use moved::Moved;

/// Elements of a packed weight that are dense at a time (`memspec_train::network::linear::PANEL_ELEMENTS`).
pub const PANEL_ELEMENTS: u64 = 512 * 1024;
/// Query rows whose scores exist at a time, for each thread (`memspec_train`'s `kernels/cpu/attention.rs`).
pub const ATTENTION_ROWS: u64 = 64;
/// Logits that exist at a time on the CPU (32 MiB in f32), which sets [`loss_rows`].
pub const LOGITS: u64 = 8 * 1024 * 1024;
/// The same on a card (256 MiB in bf16), whose products want more rows.
pub const CARD_LOGITS: u64 = 128 * 1024 * 1024;

/// Tensors with fewer elements have moments in f32 under `adamw_8bit` (bitsandbytes' `optim/optimizer.py`, `min_8bit_size`).
const MIN_8BIT_ELEMENTS: u64 = 4096;
/// Elements of an 8-bit moment that share one largest magnitude in f32.
const STATE_BLOCK: u64 = 256;
/// Elements that a block of a card's optimizer takes (`memspec_train`'s `kernels/cuda/optimizer.rs`).
const OPTIMIZER_CHUNK: u64 = 8192;
/// Bytes of a trained tensor's line in that optimizer's table.
const OPTIMIZER_LINE: u64 = 80;

const WEIGHTS: Part = Part { what: "base weights", setting: "quantize" };
const EMBEDDING: Part = Part { what: "embedding and head", setting: "model" };
const ROTARY: Part = Part { what: "rotary tables", setting: "data.context" };
const ADAPTER: Part = Part { what: "adapter weights", setting: "adapter.rank" };
const GRADIENTS: Part = Part { what: "gradients", setting: "adapter.rank" };
const STATES: Part = Part { what: "optimizer states", setting: "train.optimizer" };
const FULL_GRADIENTS: Part = Part { what: "gradients", setting: "adapter" };
const NORMS: Part = Part { what: "norms for DoRA's magnitudes", setting: "adapter" };
const BATCH: Part = Part { what: "token ids and targets", setting: "train.micro_batch" };
const INPUTS: Part = Part { what: "block inputs", setting: "train.micro_batch" };
const SAVED: Part = Part { what: "activations kept for backward", setting: "train.checkpointing" };
const WORK: Part = Part { what: "activations of one block", setting: "train.micro_batch" };
const SCORES: Part = Part { what: "attention scores", setting: "data.context" };
const LOGITS_PART: Part = Part { what: "logits", setting: "train.loss" };
const DENSE: Part = Part { what: "decoded weights", setting: "quantize" };

/// Whether the moments of a tensor with so many elements have 8 bits under `adamw_8bit`. The table of embeddings keeps f32, as it does in
/// transformers' Trainer (`trainer.py`, `register_module_override`; Dettmers et al. 2022, "stable embedding layer").
pub fn has_eight_bit_states(elements: u64, embedding: bool) -> bool {
    elements >= MIN_8BIT_ELEMENTS && !embedding
}

/// Tokens whose logits exist at a time: the power of two whose logits are at most [`LOGITS`] or [`CARD_LOGITS`], between 16 and 1024.
pub fn loss_rows(setup: &Setup) -> u64 {
    let logits = if setup.device.kind == DeviceKind::Cpu { LOGITS } else { CARD_LOGITS };
    let rows = (logits / setup.model.vocab.max(1)).clamp(16, 1024);
    1 << rows.ilog2()
}

/// The trace of loading, one step of one micro batch (with the states and gradients that later ones find), and saving.
///
/// # Errors
/// What this engine cannot run: another family, kind of quantization, optimizer ...
pub fn trace(setup: &Setup) -> Result<Trace, CostError> {
    supported::check(setup)?;
    let mut program = Program::new(setup);
    program.load();
    program.step();
    program.optimizer();
    program.trace.enter(PhaseName::Save);
    Ok(program.trace)
}

/// Samples and tokens of the largest micro batch, as the executor pads it.
fn batch(setup: &Setup) -> (u64, u64) {
    match setup.largest_batch() {
        // So few samples that all of them are one batch: rows of the context, of which not all are there.
        (_, tokens) if setup.data.packing && tokens > setup.data.context => {
            (tokens.div_ceil(setup.data.context), setup.data.context)
        }
        batch => batch,
    }
}

/// Bytes of an activation's element.
fn element(setup: &Setup) -> u64 {
    if setup.device.kind == DeviceKind::Cpu || setup.train.precision == Precision::F32 { 4 } else { 2 }
}

/// A linear of a block, as it is kept.
#[derive(Clone, Copy)]
struct Module {
    /// Kept packed.
    quantized: bool,
    out: u64,
    columns: u64,
    bias: bool,
    adapted: bool,
}

/// One of the seven products of a block: a module, or some rows of a fused one.
#[derive(Clone, Copy)]
struct Linear {
    /// Of these rows only.
    module: Module,
    /// The first of its module's, which makes the adapter's inner activation for all of them.
    first: bool,
}

/// What the executor's `Saved` holds, and the block's input.
struct Saved {
    x: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attention: Tensor,
    lse: Tensor,
    middle: Tensor,
    gate: Tensor,
    up: Tensor,
    /// Queries and keys before their norms.
    unnormed: [Option<Tensor>; 2],
    /// q, k, v, o, gate, up.
    low: [Option<Tensor>; 6],
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

struct Program<'a> {
    trace: Trace,
    setup: &'a Setup,
    model: &'a Architecture,
    quantize: Option<&'a Quantize>,
    modules: Vec<Module>,
    /// q, k, v, o, gate, up, down.
    linears: Vec<Linear>,
    /// Tokens of a micro batch, and of its longest sample.
    tokens: u64,
    context: u64,
    rank: u64,
    /// The adapter trains magnitudes.
    dora: bool,
    /// Some of the adapter's input is dropped.
    dropout: bool,
    /// Bytes of an activation's element.
    element: u64,
    /// Bytes of an element of what is trained: weight, gradient and moment.
    kept: u64,
    threads: u64,
    /// Not the CPU: other kernels with other buffers.
    card: bool,
    /// Blocks, the first so many, whose inputs are not on the device between their passes.
    moved: u64,
    /// Trained tensors, and the blocks of a card's optimizer that they make.
    trained: u64,
    optimizer_blocks: u64,
}

impl<'a> Program<'a> {
    fn new(setup: &'a Setup) -> Self {
        let model = &setup.model;
        let adapted = |module: &str| {
            let leaf = module.rsplit('.').next().unwrap_or(module);
            setup.adapter.as_ref().is_some_and(|adapter| adapter.targets.iter().any(|target| target == leaf))
        };
        let modules: Vec<Module> = model
            .block_linears()
            .into_iter()
            .map(|linear| Module {
                quantized: setup
                    .quantize
                    .as_ref()
                    .is_some_and(|quantize| !quantize.skip.iter().any(|skip| skip == linear.leaf())),
                out: linear.out_features,
                columns: linear.in_features,
                bias: linear.bias,
                adapted: adapted(&linear.module),
            })
            .collect();
        let linears = linears(model, &modules);
        let (samples, context) = batch(setup);
        let cpu = setup.device.kind == DeviceKind::Cpu;
        Self {
            trace: Trace::default(),
            setup,
            model,
            quantize: setup.quantize.as_ref(),
            modules,
            linears,
            tokens: samples * context,
            context,
            rank: setup.adapter.as_ref().map_or(0, |adapter| u64::from(adapter.rank)),
            dropout: setup.adapter.as_ref().is_some_and(|adapter| adapter.dropout > 0.0),
            dora: setup.adapter.as_ref().is_some_and(|adapter| adapter.kind == AdapterKind::Dora),
            element: element(setup),
            kept: if setup.train.precision == Precision::Bf16Pure { 2 } else { 4 },
            threads: u64::from(setup.device.cores.unwrap_or(1)),
            card: !cpu,
            moved: Moved::off_the_device(setup).inputs,
            trained: 0,
            optimizer_blocks: 0,
        }
    }

    /// Bytes of an activation `[T, features]`.
    fn activation(&self, features: u64) -> u64 {
        self.tokens * features * self.element
    }

    fn work(&mut self, features: u64) -> Tensor {
        let bytes = self.activation(features);
        self.trace.allocate(WORK, bytes)
    }

    fn saved(&mut self, features: u64) -> Tensor {
        let bytes = self.activation(features);
        self.trace.allocate(SAVED, bytes)
    }

    // ---- load

    fn load(&mut self) {
        self.trace.enter(PhaseName::Load);
        let full = self.setup.adapter.is_none();
        let (hidden, vocabulary) = (self.model.hidden, self.model.vocab);
        match full {
            true => self.trained(EMBEDDING, FULL_GRADIENTS, vocabulary * hidden, true),
            false => self.parameter(EMBEDDING, vocabulary * hidden, false),
        }
        for _ in 0..self.model.layers {
            for _ in 0..2 {
                self.parameter(WEIGHTS, hidden, full);
            }
            for norm in self.model.query_key_norms().into_iter().flatten() {
                self.parameter(WEIGHTS, norm.width, full);
            }
            for index in 0..self.modules.len() {
                self.module(index, full);
            }
        }
        self.parameter(WEIGHTS, hidden, full);
        if !self.model.tied_embeddings {
            self.parameter(EMBEDDING, vocabulary * hidden, full);
        }
        // Cosines and sines in f32.
        let pairs = self.model.rope.rotated(self.model.head_dim) / 2;
        for positions in self.model.rope.tables(self.setup.longest_sample()) {
            for _ in 0..2 {
                self.trace.allocate(ROTARY, positions * pairs * 4).keep();
            }
        }
    }

    /// A dense weight; with gradient and states when it is trained.
    fn parameter(&mut self, part: Part, elements: u64, trained: bool) {
        if trained {
            self.trained(part, FULL_GRADIENTS, elements, false);
        } else {
            self.trace.allocate(part, elements * self.element).keep();
        }
    }

    /// `Parameter::trained`.
    fn trained(&mut self, part: Part, gradients: Part, elements: u64, embedding: bool) {
        if self.element != self.kept {
            // What products read: the same weight in the type of activations.
            self.trace.allocate(part, elements * self.element).keep();
        }
        self.trained_alone(part, gradients, elements, embedding);
    }

    /// `Parameter::trained_alone`.
    fn trained_alone(&mut self, part: Part, gradients: Part, elements: u64, embedding: bool) {
        self.trained += 1;
        self.optimizer_blocks += elements.div_ceil(OPTIMIZER_CHUNK);
        self.trace.allocate(part, elements * self.kept).keep();
        self.trace.allocate(gradients, elements * self.kept).keep();
        let moments = match self.setup.train.optimizer {
            OptimizerKind::Sgd => return,
            OptimizerKind::Adamw8bit if has_eight_bit_states(elements, embedding) => {
                vec![elements, elements.div_ceil(STATE_BLOCK) * 4]
            }
            // Those of tensors that are too small for 8 bits are f32.
            OptimizerKind::Adamw8bit => vec![elements * 4],
            _ => vec![elements * self.kept],
        };
        for bytes in [&moments[..], &moments].concat() {
            self.trace.allocate(STATES, bytes).keep();
        }
    }

    fn module(&mut self, index: usize, full: bool) {
        let Module { quantized, out, columns, bias, adapted } = self.modules[index];
        let elements = out * columns;
        match self.quantize.filter(|_| quantized) {
            None => self.parameter(WEIGHTS, elements, full),
            Some(quantize) => {
                for bytes in packed(quantize, out, columns) {
                    self.trace.allocate(WEIGHTS, bytes).keep();
                }
            }
        }
        if bias {
            self.parameter(WEIGHTS, out, full);
        }
        if adapted {
            for elements in [self.rank * columns, out * self.rank] {
                self.trained(ADAPTER, GRADIENTS, elements, false);
            }
        }
        if adapted && self.dora {
            // `Linear::add_magnitude`: the squares of the rows' norms, their norms, and the magnitudes that these begin as.
            self.trace.allocate(NORMS, out * 4).keep();
            self.panel_of(self.modules[index]);
            self.trace.allocate(NORMS, out * 4).keep();
            self.norms(self.modules[index]);
            self.trained_alone(ADAPTER, GRADIENTS, out, false);
        }
    }

    /// `Linear::norms`, over those that are there.
    fn norms(&mut self, module: Module) {
        let inner = self.trace.allocate(NORMS, self.rank * module.out * self.element);
        self.panel_of(module);
        self.trace.scratch(NORMS, self.rank * self.rank * self.element);
        self.trace.free(inner);
    }

    // ---- a step

    fn step(&mut self) {
        let model = self.model;
        self.trace.enter(PhaseName::Forward);
        // i32 ids, i32 targets, and where packed samples begin.
        let integers = if self.setup.data.packing { 3 } else { 2 };
        let batch: Vec<Tensor> = (0..integers).map(|_| self.trace.allocate(BATCH, self.tokens * 4)).collect();
        let recomputed = self.setup.recomputed_blocks();
        let mut inputs = Vec::new();
        let mut saved = Vec::new();
        let bytes = self.activation(model.hidden);
        let mut x = self.trace.allocate(INPUTS, bytes);
        for block in 0..model.layers {
            if block < recomputed {
                let y = self.block_forward();
                // `Shelf::put`: the copy that began before the block is done.
                if block < self.moved {
                    self.trace.free(x);
                } else {
                    inputs.push(x);
                }
                x = y;
            } else {
                saved.push(self.block_recompute(x));
                let product = self.work(model.intermediate);
                let low = self.low_of_product();
                x = self.linear_output(DOWN, INPUTS, low);
                self.trace.free(product);
            }
        }

        self.trace.enter(PhaseName::Loss);
        let mut g = self.work(model.hidden);
        let rows = loss_rows(self.setup).min(self.tokens);
        // On a card nothing is gathered: there are the losses of all tokens instead.
        let beside = if self.card { self.tokens * 4 } else { rows * model.hidden * self.element };
        let hidden = self.trace.allocate(LOGITS_PART, beside);
        let logits = self.trace.allocate(LOGITS_PART, rows * model.vocab * self.element);
        self.trace.free_all([hidden, logits]);

        self.trace.enter(PhaseName::Backward);
        self.trace.free(x);
        let full = self.setup.adapter.is_none();
        let mut coming = None;
        for block in (0..model.layers).rev() {
            let x = match block < self.moved {
                true => coming.take(),
                false if block < recomputed => inputs.pop(),
                false => None,
            };
            // `Shelf::prefetch`: the input of the block below comes back while this one goes backward.
            if (1..=self.moved).contains(&block) {
                coming = Some(self.trace.allocate(INPUTS, bytes));
            }
            let kept = match (x, saved.pop()) {
                (Some(x), _) => self.block_recompute(x),
                (None, Some(kept)) => kept,
                (None, None) => break,
            };
            match self.block_backward(kept, g, block > 0 || full) {
                Some(next) => g = next,
                None => {
                    self.trace.free_all(batch);
                    return;
                }
            }
        }
        self.trace.free(g);
        self.trace.free_all(batch);
    }

    /// `optimizer_step`: a sum of squares for each trained tensor; on a card one for each block, and the table of the tensors.
    fn optimizer(&mut self) {
        self.trace.enter(PhaseName::Optimizer);
        let scratch = match self.card && self.setup.train.optimizer != OptimizerKind::Sgd {
            true => self.optimizer_blocks * 4 + self.trained * OPTIMIZER_LINE + 4,
            false => self.trained * 4,
        };
        let part = if self.setup.adapter.is_none() { FULL_GRADIENTS } else { GRADIENTS };
        self.trace.scratch(part, scratch);
        if self.dora {
            // `Model::renew_norms`: every block's are alike.
            let adapted: Vec<Module> = self.modules.iter().copied().filter(|module| module.adapted).collect();
            adapted.into_iter().for_each(|module| self.norms(module));
        }
    }

    /// `Block::forward`: the output; the input stays with the caller.
    fn block_forward(&mut self) -> Tensor {
        let model = self.model;
        let normed = self.work(model.hidden);
        let [q, k, v] = self.outputs([Q, K, V]);
        self.trace.free(normed);
        let (q, unnormed) = self.normed(Q, q, WORK);
        self.trace.free_all(unnormed);
        let (k, unnormed) = self.normed(K, k, WORK);
        self.trace.free_all(unnormed);
        let qkv = [q, k, v];
        let (attention, lse) = self.attention(WORK);
        self.trace.free(lse);
        self.trace.free_all(qkv);
        let middle = self.linear_output(O, WORK, None);
        self.trace.free(attention);
        let normed = self.work(model.hidden);
        let (gate, low) = self.product();
        self.trace.free(normed);
        let y = self.linear_output(DOWN, INPUTS, low);
        self.trace.free_all([gate, middle]);
        y
    }

    /// `Block::recompute`: what is kept.
    fn block_recompute(&mut self, x: Tensor) -> Saved {
        let model = self.model;
        let normed = self.work(model.hidden);
        let [(q, q_low), (k, k_low), (v, v_low)] = self.projection_forward([Q, K, V]);
        self.trace.free(normed);
        let (q, q_unnormed) = self.normed(Q, q, SAVED);
        let (k, k_unnormed) = self.normed(K, k, SAVED);
        let unnormed = [q_unnormed, k_unnormed];
        let (attention, lse) = self.attention(SAVED);
        let (middle, o_low) = self.linear_forward(O, SAVED, None);
        let normed = self.work(model.hidden);
        let [(gate, gate_low), (up, up_low)] = self.projection_forward([GATE, UP]);
        self.trace.free(normed);
        let low = [q_low, k_low, v_low, o_low, gate_low, up_low];
        Saved { x, q, k, v, attention, lse, middle, gate, up, unnormed, low }
    }

    /// `Block::backward`: the gradient of the block's input, when it is wanted.
    fn block_backward(&mut self, saved: Saved, g: Tensor, input: bool) -> Option<Tensor> {
        let model = self.model;
        let Saved { x, q, k, v, attention, lse, middle, gate, up, unnormed, low } = saved;
        let [q_low, k_low, v_low, o_low, gate_low, up_low] = low;

        let [gate, up] = self.mlp_backward([gate, up]);
        let g_normed = self.input_backward(GATE, gate_low, None);
        self.trace.free(gate);
        let g_normed = self.input_backward(UP, up_low, Some(g_normed));
        self.trace.free_all([up, g, middle]);
        let g = g_normed;

        let unscaled = self.magnitude_backward(O);
        self.output_backward(O);
        self.dropped(O);
        let g_attention = self.input_backward(O, o_low, None);
        self.trace.free_all(unscaled);
        let kv = model.kv_heads * model.head_dim;
        let (gk, gv) = (self.work(kv), self.work(kv));
        self.scores(2);
        self.trace.free_all([k, v, attention, lse, g_attention]);
        // The gradient of q is written over q; those of the norms over theirs.
        let gq = q;
        self.trace.free_all(unnormed.into_iter().flatten());

        let normed = self.work(model.hidden);
        let gq = self.magnitude_backward_over(Q, gq);
        let gk = self.magnitude_backward_over(K, gk);
        let gv = self.magnitude_backward_over(V, gv);
        [Q, K, V].into_iter().for_each(|index| self.output_backward(index));
        self.inner_backward([Q, K, V]);
        self.trace.free(normed);
        if !input {
            self.trace.free_all([gq, gk, gv, g, x]);
            self.trace.free_all([q_low, k_low, v_low].into_iter().flatten());
            return None;
        }
        let g_normed = self.input_backward(Q, q_low, None);
        self.trace.free(gq);
        let g_normed = self.input_backward(K, k_low, Some(g_normed));
        self.trace.free(gk);
        let g_normed = self.input_backward(V, v_low, Some(g_normed));
        self.trace.free_all([gv, g, x]);
        Some(g_normed)
    }

    /// `Linears::product`: the gated product over gate, and its inner activation where that is made with it.
    fn product(&mut self) -> (Tensor, Option<Tensor>) {
        if !self.adds_late() {
            let [gate, up] = self.outputs([GATE, UP]);
            self.trace.free(up);
            return (gate, None);
        }
        let [(gate, gate_low), (up, up_low)] = self.projection_forward([GATE, UP]);
        let low = self.low_of_product();
        self.trace.free_all([gate_low, up_low].into_iter().flatten().chain([up]));
        (gate, low)
    }

    /// `Linears::adds_late`: gate and up go without what their adapters add until they are gated.
    fn adds_late(&self) -> bool {
        let known = self.card && self.element == 2 && is_read_once(self.rank, self.model.intermediate);
        known && self.has_plain_adapters() && !self.folded(GATE) && !self.folded(UP)
    }

    /// `Linears::has_plain_adapters`.
    fn has_plain_adapters(&self) -> bool {
        self.reads_once([GATE, UP]) && self.linears[DOWN].module.adapted && !self.dora
    }

    /// The product's inner activation, where gating makes it.
    fn low_of_product(&mut self) -> Option<Tensor> {
        if !self.adds_late() {
            return None;
        }
        let low = self.saved(self.rank);
        self.sums(self.model.intermediate, 1, 0);
        Some(low)
    }

    /// `Block::mlp_backward` up to the gradients of gate and up, which are written over them.
    fn mlp_backward(&mut self, [gate, up]: [Tensor; 2]) -> [Tensor; 2] {
        let model = self.model;
        if self.has_plain_adapters() {
            let g_low = self.saved(self.rank);
            let g_product = self.input_gradient(DOWN, true, None);
            self.sums(model.intermediate, 3, 3);
            self.trace.free_all([g_product, g_low]);
            let normed = self.work(model.hidden);
            self.inner_backward([GATE, UP]);
            self.trace.free(normed);
            return [gate, up];
        }
        let unscaled = self.late_magnitude_backward(DOWN);
        let adapted = self.linears[DOWN].module.adapted;
        let g_low = adapted.then(|| self.saved(self.rank));
        let g_product = self.input_gradient(DOWN, adapted, None);
        // The product is written over its gradient.
        let low = self.low(DOWN);
        self.dropped(DOWN);
        self.trace.free_all(low.into_iter().chain(g_low));
        self.trace.free(g_product);
        self.trace.free_all(unscaled);
        let normed = self.work(model.hidden);
        let gate = self.magnitude_backward_over(GATE, gate);
        let up = self.magnitude_backward_over(UP, up);
        [GATE, UP].into_iter().for_each(|index| self.output_backward(index));
        self.inner_backward([GATE, UP]);
        self.trace.free(normed);
        [gate, up]
    }

    /// `Projection::reads_once`.
    fn reads_once<const N: usize>(&self, linears: [usize; N]) -> bool {
        !self.model.fused_linears && !self.dropout && linears.iter().all(|&index| self.linears[index].module.adapted)
    }

    /// `Linear::output_backward`, of a module whose output's gradient is one tensor.
    fn output_backward(&mut self, index: usize) {
        let several = self.model.fused_linears && index != O && index != DOWN;
        let Module { adapted, out, .. } = self.linears[index].module;
        if adapted && !several {
            self.sums(out, 1, 1);
        }
    }

    /// `Projection::inner_backward`.
    fn inner_backward<const N: usize>(&mut self, linears: [usize; N]) {
        if self.reads_once(linears) {
            return self.sums(self.linears[linears[0]].module.columns, 0, N as u64);
        }
        linears.into_iter().for_each(|index| self.dropped(index));
    }

    /// The parts of inner and outer sums over an activation with so many columns that a card reads once.
    fn sums(&mut self, columns: u64, inner: u64, outer: u64) {
        if !(self.card && self.element == 2 && is_read_once(self.rank, columns)) {
            return;
        }
        let Reading { inner_elements, outer_elements, .. } = Reading::of(self.tokens, columns);
        let parts = [inner * inner_elements, outer * outer_elements].into_iter().filter(|&elements| elements > 0);
        let parts: Vec<Tensor> = parts.map(|elements| self.trace.allocate(WORK, elements * 4)).collect();
        self.trace.free_all(parts);
    }

    /// `block::normed`: queries or keys with their norm, and as they were.
    fn normed(&mut self, index: usize, x: Tensor, part: Part) -> (Tensor, Option<Tensor>) {
        if !self.model.qk_norm {
            return (x, None);
        }
        let bytes = self.activation(self.linears[index].module.out);
        (self.trace.allocate(part, bytes), Some(x))
    }

    /// `kernels::attention`: output and log-sum-exp.
    fn attention(&mut self, part: Part) -> (Tensor, Tensor) {
        let model = self.model;
        let out = self.activation(model.heads * model.head_dim);
        let out = self.trace.allocate(part, out);
        let lse = self.trace.allocate(part, self.tokens * model.heads * 4);
        self.scores(1);
        (out, lse)
    }

    fn scores(&mut self, matrices: u64) {
        if self.card {
            // Scores stay in registers; backward has one sum for each query and head.
            if matrices == 2 {
                self.trace.scratch(SCORES, self.tokens * self.model.heads * 4);
            }
            return;
        }
        let one = ATTENTION_ROWS.min(self.context) * self.context * 4;
        self.trace.scratch(SCORES, self.threads * matrices * one);
    }

    /// `Projection::forward`: the outputs and what their adapters keep.
    fn projection_forward<const N: usize>(&mut self, linears: [usize; N]) -> [(Tensor, Option<Tensor>); N] {
        let mut lows = self.lows(linears).into_iter();
        linears.map(|index| self.linear_forward(index, SAVED, lows.next().flatten()))
    }

    /// `Projection::outputs`.
    fn outputs<const N: usize>(&mut self, linears: [usize; N]) -> [Tensor; N] {
        let folded = linears.iter().all(|&index| self.folded(index));
        let mut lows = if folded { [const { None }; N] } else { self.lows(linears) }.into_iter();
        let mut kept = Vec::new();
        let outputs = linears.map(|index| {
            let (y, low) = self.output_rows(index, WORK, lows.next().flatten());
            kept.extend(low);
            y
        });
        self.trace.free_all(kept);
        outputs
    }

    /// `Projection::lows`: the inner activations of adapters that read one input, where they are made together.
    fn lows<const N: usize>(&mut self, linears: [usize; N]) -> [Option<Tensor>; N] {
        if !self.reads_once(linears) {
            return [const { None }; N];
        }
        let lows = linears.map(|_| Some(self.saved(self.rank)));
        self.sums(self.linears[linears[0]].module.columns, N as u64, 0);
        lows
    }

    /// `Linear::folded`.
    fn folded(&self, index: usize) -> bool {
        let Module { quantized, columns, .. } = self.linears[index].module;
        let plain = self.card && self.element == 2 && !self.dora && !self.dropout;
        plain && quantized && is_folded(self.rank, columns)
    }

    /// `Linear::output_rows`: the output, and the adapter's inner activation, which is made where the output needs it.
    fn output_rows(&mut self, index: usize, part: Part, low: Option<Tensor>) -> (Tensor, Option<Tensor>) {
        let bytes = self.activation(self.linears[index].module.out);
        let y = self.trace.allocate(part, bytes);
        let low = match low {
            None if !self.folded(index) => self.low(index),
            low => low,
        };
        self.panel(index);
        (y, low)
    }

    /// `Linear::forward_rows`: the output and what the adapter keeps.
    fn linear_forward(&mut self, index: usize, part: Part, low: Option<Tensor>) -> (Tensor, Option<Tensor>) {
        let (y, low) = self.output_rows(index, part, low);
        (y, low.or_else(|| self.low(index)))
    }

    /// `Linear::output_onto`.
    fn linear_output(&mut self, index: usize, part: Part, low: Option<Tensor>) -> Tensor {
        let (y, low) = self.output_rows(index, part, low);
        self.trace.free_all(low);
        y
    }

    /// `Linear::low`: the adapter's inner activation.
    fn low(&mut self, index: usize) -> Option<Tensor> {
        let (rank, Linear { module, first }) = (self.rank, self.linears[index]);
        if !(module.adapted && first) {
            return None;
        }
        let dropped = self.dropout.then(|| self.work(module.columns));
        let low = self.saved(rank);
        self.trace.free_all(dropped);
        Some(low)
    }

    /// The adapter's input less what is dropped, for as long as one product takes.
    fn dropped(&mut self, index: usize) {
        let Linear { module, first } = self.linears[index];
        if self.dropout && module.adapted && first {
            let dropped = self.work(module.columns);
            self.trace.free(dropped);
        }
    }

    /// `Linear::magnitude_backward`: the unscaled output, and over it its gradient.
    fn magnitude_backward(&mut self, index: usize) -> Option<Tensor> {
        let Linear { module, .. } = self.linears[index];
        if !(self.dora && module.adapted) {
            return None;
        }
        let unscaled = self.work(module.out);
        self.panel(index);
        Some(unscaled)
    }

    /// `Linear::late_magnitude_backward`, by way of the product.
    fn late_magnitude_backward(&mut self, index: usize) -> Option<Tensor> {
        let Linear { module, .. } = self.linears[index];
        if !(self.dora && module.adapted) {
            return None;
        }
        let x = self.work(module.columns);
        let unscaled = self.work(module.out);
        let low = self.low(index);
        self.panel(index);
        self.trace.free_all(low);
        self.trace.free(x);
        Some(unscaled)
    }

    /// The same where nobody needs the gradient of the scaled output any more.
    fn magnitude_backward_over(&mut self, index: usize, g: Tensor) -> Tensor {
        match self.magnitude_backward(index) {
            Some(unscaled) => {
                self.trace.free(g);
                unscaled
            }
            None => g,
        }
    }

    /// `Linear::input_backward`.
    fn input_backward(&mut self, index: usize, low: Option<Tensor>, into: Option<Tensor>) -> Tensor {
        let g = self.input_gradient(index, low.is_some(), into);
        self.trace.free_all(low);
        g
    }

    /// `Linear::input_backward_rows`, with or without what comes by the adapter.
    fn input_gradient(&mut self, index: usize, low: bool, into: Option<Tensor>) -> Tensor {
        let columns = self.linears[index].module.columns;
        let g = match into {
            Some(into) => into,
            None => self.work(columns),
        };
        self.panel(index);
        // What comes by the adapter, which is where its gradient is: with a fused module's first output.
        if low {
            self.dropped(index);
        }
        g
    }

    /// `Weight::panels`: the rows of a packed weight that are dense at a time.
    fn panel(&mut self, index: usize) {
        self.panel_of(self.linears[index].module);
    }

    /// The same of a whole module.
    fn panel_of(&mut self, Module { quantized, out, columns, .. }: Module) {
        if !quantized {
            return;
        }
        // A card decodes all rows of a product at once.
        let rows = if self.card { out } else { (PANEL_ELEMENTS / columns).clamp(1, out) };
        self.trace.scratch(DENSE, rows * columns * self.element);
    }
}

/// The products of a block: its modules, the fused ones in the parts that the executor makes of them.
fn linears(model: &Architecture, modules: &[Module]) -> Vec<Linear> {
    if !model.fused_linears {
        return modules.iter().map(|&module| Linear { module, first: true }).collect();
    }
    let (query, key, inside) = (model.query_width(), model.key_width(), model.intermediate);
    let parts: [&[u64]; 4] = [&[query, key, key], &[model.hidden], &[inside, inside], &[model.hidden]];
    let parts = modules.iter().zip(parts).flat_map(|(&module, widths)| {
        widths.iter().enumerate().map(move |(at, &out)| Linear { module: Module { out, ..module }, first: at == 0 })
    });
    parts.collect()
}

/// The tensors of a packed weight, in bytes.
///
/// NF4: two codes a byte and one f32 maximum for 64 weights; doubly quantized, one byte a maximum and one f32 for 256 of them
/// (bitsandbytes' layout, Dettmers et al. 2023). int8: one byte a weight, one f32 a row.
fn packed(quantize: &Quantize, out: u64, columns: u64) -> Vec<u64> {
    let elements = out * columns;
    match quantize.kind {
        QuantizeKind::Nf4 => {
            let blocks = elements.div_ceil(u64::from(quantize.block));
            let codes = elements.div_ceil(2);
            if quantize.double { vec![codes, blocks, blocks.div_ceil(256) * 4] } else { vec![codes, blocks * 4] }
        }
        _ => vec![elements, out * 4],
    }
}
