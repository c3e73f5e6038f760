//! What one step asks of a device: floating-point operations, bytes moved, operators launched.
//!
//! Everything is counted from the architecture and the setup. A product of a token's activations and a weight is two
//! operations for each weight; its backward pass is another two for the gradient of the activations, and two more for that of the
//! weight where it is trained. The bytes of operators that multiply nothing are what their reads and writes add up to, from the
//! source of the stack's modules; see [`super::operators`].

use crate::device::DeviceKind;
use crate::model::{Architecture, Linear, Norm, Vision};
use crate::plan::{
    AdapterKind, Attention, EngineName, Float, LossKind, OptimizerKind, ParallelKind, Precision, QuantizeKind,
};
use crate::setup::{Adapter, Setup};

use super::operators::{
    ADAPTER_CASTS, ATTENTION_BACKWARD, Elementwise, GATE, GATE_FUSED, LOGITS, LOGITS_FUSED, NORM, NORM_FUSED, PEFT,
    PEFT_4BIT, RESIDUAL, ROPE, ROPE_FUSED, SCORES, UNPACK, UNSLOTH,
};

/// What one pass asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pass {
    /// Floating-point operations of matrix products.
    pub(super) matmul_flops: f64,
    /// Bytes of their weights, inputs and outputs.
    pub(super) matmul_bytes: f64,
    /// Floating-point operations of attention's two products, where a fused kernel does them.
    pub(super) attention_flops: f64,
    /// Bytes that all other operators read and write.
    pub(super) bytes: f64,
    /// Operators that the host launches.
    pub(super) operators: f64,
}

impl Pass {
    /// The share of one of `world` devices, which launches as many operators.
    fn shared(self, world: f64) -> Self {
        Self {
            matmul_flops: self.matmul_flops / world,
            matmul_bytes: self.matmul_bytes / world,
            attention_flops: self.attention_flops / world,
            bytes: self.bytes / world,
            ..self
        }
    }

    fn add(&mut self, other: Pass, times: f64) {
        self.matmul_flops += other.matmul_flops * times;
        self.matmul_bytes += other.matmul_bytes * times;
        self.attention_flops += other.attention_flops * times;
        self.bytes += other.bytes * times;
        self.operators += other.operators * times;
    }

    fn elementwise(&mut self, bytes: f64, operators: f64) {
        self.bytes += bytes;
        self.operators += operators;
    }
}

/// The work of one optimizer step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// Forward and loss of one micro batch.
    pub(super) forward: Pass,
    /// Backward of one micro batch, recomputation included.
    pub(super) backward: Pass,
    /// Clipping and the optimizer, once a step.
    pub(super) optimizer: Pass,
}

struct Counter<'a> {
    setup: &'a Setup,
    model: &'a Architecture,
    /// Samples, and tokens of each.
    rows: f64,
    columns: f64,
    trained: bool,
    fused: bool,
    unsloth: bool,
    /// Bytes of an activation's element.
    element: f64,
}

/// The work of a step whose micro batches have the setup's samples of `columns` tokens each, padding included.
pub(super) fn work(setup: &Setup, columns: f64) -> Work {
    let unsloth = setup.engine == EngineName::Unsloth;
    let counter = Counter {
        setup,
        model: &setup.model,
        rows: f64::from(setup.train.micro_batch),
        columns,
        trained: setup.adapter.is_none(),
        fused: unsloth || setup.train.liger || setup.engine == EngineName::Memspec,
        unsloth,
        element: if setup.train.precision == Precision::F32 || setup.device.kind == DeviceKind::Cpu {
            4.0
        } else {
            2.0
        },
    };
    let mut work = Work::default();
    let (forward, backward) = counter.blocks();
    // Tensor parallelism splits linears and heads; norms and residual sums stay whole, which this leaves out.
    let split = setup.parallel.filter(|parallel| parallel.kind == ParallelKind::Tensor);
    let split = split.map_or(1.0, |parallel| parallel.world() as f64);
    let (forward, backward) = (forward.shared(split), backward.shared(split));
    work.forward.add(forward, 1.0);
    work.backward.add(backward, 1.0);
    let recomputed = setup.recomputed_blocks() as f64 / setup.model.layers.max(1) as f64;
    work.backward.add(forward, recomputed);
    counter.head(&mut work);
    if setup.train.loss == LossKind::Asft {
        // A frozen copy of the model goes first.
        let copy = work.forward;
        work.forward.add(copy, 1.0);
    }
    if let Some(vision) = &setup.model.vision {
        let (forward, backward) = counter.tower(vision);
        work.forward.add(forward, 1.0);
        work.backward.add(backward, 1.0);
        work.backward.add(forward, if recomputed > 0.0 { 1.0 } else { 0.0 });
    }
    let context = setup.parallel.map_or(1.0, |parallel| f64::from(parallel.context));
    (work.forward, work.backward) = (work.forward.shared(context), work.backward.shared(context));
    // All but DDP step a part each.
    let parts = setup.parallel.filter(|parallel| parallel.kind != ParallelKind::Ddp);
    work.optimizer = counter.optimizer().shared(parts.map_or(1.0, |parallel| parallel.world() as f64));
    work
}

/// Trained elements, and the tensors they are in.
pub(super) fn trained(setup: &Setup) -> (f64, f64) {
    let model = &setup.model;
    let Some(adapter) = &setup.adapter else { return (model.parameters() as f64, model.layers as f64 * 9.0) };
    let mut trained = (0.0, 0.0);
    for linear in model.block_linears() {
        if adapter.targets.iter().any(|target| target == linear.leaf()) {
            let layers = model.layers as f64;
            let low = f64::from(adapter.rank) * (linear.in_features + linear.out_features) as f64;
            trained = (trained.0 + layers * low, trained.1 + 2.0 * layers);
        }
    }
    trained
}

impl Counter<'_> {
    fn tokens(&self) -> f64 {
        self.rows * self.columns
    }

    /// Both passes of one operator over `elements` of each token.
    fn apply(&self, passes: &mut (Pass, Pass), what: Elementwise, elements: f64) {
        let scale = self.tokens() * elements * self.element / 2.0;
        passes.0.elementwise(what.forward.0 * scale, what.forward.1);
        passes.1.elementwise(what.backward.0 * scale, what.backward.1);
    }

    /// All blocks, forward and backward.
    fn blocks(&self) -> (Pass, Pass) {
        let model = self.model;
        let linear_layers = (0..model.layers).filter(|&layer| model.is_linear(layer)).count() as f64;
        let dense = model.experts.as_ref().map_or(0, |experts| experts.first_dense.min(model.layers)) as f64;
        let layers = model.layers as f64;
        let mut blocks = (Pass::default(), Pass::default());
        let mut add = |part: (Pass, Pass), times: f64| {
            blocks.0.add(part.0, times);
            blocks.1.add(part.1, times);
        };
        add(self.linears(&model.attention_linears()), layers - linear_layers);
        add(self.linear_attention(), linear_layers);
        add(self.mlp(), layers - dense);
        add(self.dense_mlp(), dense);
        add(self.stream(), layers);
        for layer in (0..model.layers).filter(|&layer| !model.is_linear(layer)) {
            self.attention(&mut blocks, layer);
        }
        blocks
    }

    fn linears(&self, linears: &[Linear]) -> (Pass, Pass) {
        let mut passes = (Pass::default(), Pass::default());
        for linear in linears {
            self.linear(&mut passes, linear, 1.0, 1.0);
        }
        passes
    }

    /// The MLP of a block: dense, or its router, its experts and the one that every token goes through.
    fn mlp(&self) -> (Pass, Pass) {
        let model = self.model;
        let Some(experts) = &model.experts else { return self.dense_mlp() };
        let mut passes = self.linears(&model.shared_expert_linears());
        let (active, all) = (experts.per_token as f64, experts.count as f64);
        for linear in model.router().iter().chain(&model.expert_linears()) {
            let routed = linear.module.contains(".experts.");
            let (active, all) = if routed { (active, all) } else { (1.0, 1.0) };
            self.linear(&mut passes, linear, active, all);
        }
        let inside = experts.intermediate as f64 * active + experts.shared_intermediate as f64;
        self.apply(&mut passes, self.gate(), inside);
        passes
    }

    fn dense_mlp(&self) -> (Pass, Pass) {
        let mut passes = self.linears(&self.model.dense_mlp_linears());
        self.apply(&mut passes, self.gate(), self.model.intermediate as f64);
        passes
    }

    /// Linear attention of one block (Gated DeltaNet): its linears, a short convolution, and for each head and token a state of
    /// key by value width that is decayed, read and written.
    fn linear_attention(&self) -> (Pass, Pass) {
        let Some(linear) = &self.model.linear_attention else { return Default::default() };
        let mut passes = self.linears(&self.model.linear_attention_linears());
        let state = (linear.value_heads * linear.key_dim * linear.value_dim) as f64;
        let flops = self.tokens() * (8.0 * state + 2.0 * (linear.conv * linear.conv_width()) as f64);
        passes.0.matmul_flops += flops;
        passes.1.matmul_flops += 2.0 * flops;
        self.apply(&mut passes, GATE, linear.conv_width() as f64);
        passes
    }

    /// Norms, positions and sums of one block.
    fn stream(&self) -> (Pass, Pass) {
        let model = self.model;
        let mut block = (Pass::default(), Pass::default());
        let norm = if self.fused || model.norm != Norm::Rms { NORM_FUSED } else { NORM };
        for _ in 0..model.norms_per_block {
            self.apply(&mut block, norm, model.hidden as f64);
        }
        let heads = (model.query_width() + model.key_width()) as f64;
        if model.qk_norm {
            self.apply(&mut block, norm, heads);
        }
        self.apply(&mut block, if self.fused { ROPE_FUSED } else { ROPE }, heads * model.rope.fraction);
        for _ in 0..2 {
            self.apply(&mut block, RESIDUAL, model.hidden as f64);
        }
        block
    }

    fn gate(&self) -> Elementwise {
        match (self.model.gated_mlp, self.fused) {
            (true, true) => GATE_FUSED,
            (true, false) => GATE,
            (false, _) => Elementwise { forward: (4.0, 1.0), backward: (6.0, 1.0) },
        }
    }

    /// A linear of a block. Of `all` weights like it, each token goes through `active`.
    fn linear(&self, passes: &mut (Pass, Pass), linear: &Linear, active: f64, all: f64) {
        let (weights, tokens) = (linear.weights() as f64, self.tokens());
        let (input, output) = (linear.in_features as f64, linear.out_features as f64);
        let product = Pass {
            matmul_flops: 2.0 * tokens * weights * active,
            matmul_bytes: self.element * (weights * all + tokens * active * (input + output)),
            operators: 1.0,
            ..Pass::default()
        };
        let leaf = linear.leaf();
        let adapter = self.setup.adapter.as_ref().filter(|adapter| adapter.targets.iter().any(|target| target == leaf));
        // `memspec-train` computes the outputs of a DoRA, before they are scaled, in backward once more.
        let of_dora = |adapter: &Adapter| adapter.kind == AdapterKind::Dora && self.setup.engine == EngineName::Memspec;
        let again = if adapter.is_some_and(of_dora) { 1.0 } else { 0.0 };
        passes.0.add(product, 1.0);
        passes.1.add(product, if self.trained { 2.0 } else { 1.0 } + again);
        // transformers keeps a block's experts in one parameter, which bitsandbytes leaves dense and PEFT without adapters
        if linear.module.contains(".experts.") {
            return;
        }
        let packed = self.setup.quantize.as_ref().filter(|quantize| !quantize.skip.iter().any(|skip| skip == leaf));
        let four_bit = packed.is_some_and(|quantize| quantize.kind == QuantizeKind::Nf4);
        match packed.map(|quantize| quantize.kind) {
            None => (),
            Some(QuantizeKind::Nf4) => {
                // half a byte a weight read, the unpacked one written; the product reads it
                let unpack = weights * all * (0.5 + self.element);
                let operators = if self.unsloth { UNPACK.1 } else { UNPACK.0 };
                passes.0.elementwise(unpack, operators);
                passes.1.elementwise(unpack * (1.0 + again), operators * (1.0 + again));
            }
            Some(_) => {
                // LLM.int8: activations to int8 (2 + 1), products in i32 (4 + 4) to 16 bit (2); backward unpacks the weight
                passes.0.elementwise(tokens * (3.0 * input + 10.0 * output), UNPACK.0);
                passes.1.elementwise(weights * all * (1.0 + self.element) * (1.0 + again), UNPACK.0);
            }
        }
        let Some(adapter) = adapter else { return };
        let low = 2.0 * tokens * f64::from(adapter.rank) * (input + output) * active;
        passes.0.matmul_flops += low;
        passes.1.matmul_flops += (2.0 + again) * low;
        let cost = match (self.unsloth, four_bit) {
            (true, _) => UNSLOTH,
            (false, true) => PEFT_4BIT,
            (false, false) => PEFT,
        };
        let scale = tokens * active * self.element / 2.0;
        passes.0.elementwise(scale * (cost.forward.0 * input + cost.forward.1 * output), cost.forward.2);
        passes.1.elementwise(scale * (cost.backward.0 * input + cost.backward.1 * output), cost.backward.2);
        // TRL casts the adapters of a quantized model to bf16; the others stay f32
        let f32 = adapter.dtype.map_or(packed.is_none(), |dtype| dtype == Float::F32);
        if f32 && !self.unsloth && self.element == 2.0 && !pure(self.setup) {
            passes.0.elementwise(scale * ADAPTER_CASTS.0 * input, ADAPTER_CASTS.1);
            passes.1.elementwise(scale * ADAPTER_CASTS.0 * input, ADAPTER_CASTS.2);
        }
    }

    /// Attention of one layer: the pairs of a token and one before it, within the window where there is one.
    fn attention(&self, passes: &mut (Pass, Pass), layer: u64) {
        let model = self.model;
        let window = model.sliding_window.filter(|_| model.slides(layer)).map_or(self.columns, |window| window as f64);
        let (columns, window) = (self.columns, window.min(self.columns));
        let pairs = columns * window - window * window / 2.0;
        let width = model.query_width() as f64;
        let operators = 4.0;
        passes.0.operators += operators;
        passes.1.operators += operators;
        if self.setup.train.attention == Attention::Eager {
            let all = columns * columns;
            let flops = 4.0 * self.rows * all * width;
            passes.0.matmul_flops += flops;
            passes.1.matmul_flops += 2.0 * flops;
            let scores = self.rows * all * model.heads as f64;
            passes.0.elementwise(SCORES.forward.0 * scores, SCORES.forward.1);
            passes.1.elementwise(SCORES.backward.0 * scores, SCORES.backward.1);
        } else {
            let flops = 4.0 * self.rows * pairs * width;
            passes.0.attention_flops += flops;
            passes.1.attention_flops += ATTENTION_BACKWARD * flops;
        }
    }

    /// The head's product and the loss.
    fn head(&self, work: &mut Work) {
        let (vocabulary, hidden, tokens) = (self.model.vocab as f64, self.model.hidden as f64, self.tokens());
        let product = Pass {
            matmul_flops: 2.0 * tokens * vocabulary * hidden,
            matmul_bytes: self.element * (vocabulary * hidden + tokens * (vocabulary + hidden)),
            operators: 1.0,
            ..Pass::default()
        };
        work.forward.add(product, 1.0);
        work.backward.add(product, if self.trained { 2.0 } else { 1.0 });
        let train = &self.setup.train;
        let fused = self.setup.engine != EngineName::Trl || train.liger || train.loss == LossKind::Liger;
        let loss = if fused { LOGITS_FUSED } else { LOGITS };
        let mut passes = (Pass::default(), Pass::default());
        self.apply(&mut passes, loss, vocabulary);
        work.forward.add(passes.0, 1.0);
        work.backward.add(passes.1, 1.0);
    }

    /// The vision tower over a micro batch's images. A frozen one computes the gradients of its activations all the same.
    fn tower(&self, vision: &Vision) -> (Pass, Pass) {
        let size = self.setup.data.image_size;
        let windows = size.and_then(|size| vision.windows(size.width.into(), size.height.into()).ok());
        let windows: Vec<f64> = windows.unwrap_or_default().into_iter().map(|patches| patches as f64).collect();
        let patches: f64 = windows.iter().sum();
        let seen = (0..vision.layers).filter(|index| vision.sees_all(*index)).count() as f64;
        // Pairs of patches that see each other, in all layers.
        let pairs = seen * patches * patches
            + (vision.layers as f64 - seen) * windows.iter().map(|patches| patches * patches).sum::<f64>();
        let images = self.rows * f64::from(self.setup.data.images);
        let weights: u64 = vision.block_linears().iter().map(Linear::weights).sum();
        let merger: u64 = vision.merger_linears(self.model.hidden).iter().map(Linear::weights).sum();
        let merged = merger as f64 / (vision.merge * vision.merge).max(1) as f64;
        let (layers, width, all) = (vision.layers as f64, vision.hidden as f64, images * patches);
        let per_patch = layers * weights as f64 + (vision.patch_width() * vision.hidden) as f64 + merged;
        let elements = all * layers * width;
        let forward = Pass {
            matmul_flops: 2.0 * all * per_patch,
            matmul_bytes: self.element * (layers * weights as f64 + all * layers * 8.0 * width),
            attention_flops: 4.0 * images * pairs * width,
            // two LayerNorms, RoPE in f32, GELU of a width four times as large, two sums
            bytes: elements * (2.0 * 4.0 + 40.0 + 4.0 * 4.0 + 2.0 * 6.0),
            operators: layers * 30.0,
        };
        let mut backward = Pass::default();
        backward.add(forward, if self.trained { 2.0 } else { 1.0 });
        backward.attention_flops = ATTENTION_BACKWARD * forward.attention_flops;
        if images == 0.0 { Default::default() } else { (forward, backward) }
    }

    /// Clipping reads every gradient and scales it; the optimizer reads weights, gradients and states, and writes weights and states.
    fn optimizer(&self) -> Pass {
        let (trained, tensors) = trained(self.setup);
        let element = if pure(self.setup) { 2.0 } else { 4.0 };
        let (states, per_tensor) = match self.setup.train.optimizer {
            OptimizerKind::Adamw | OptimizerKind::PagedAdamw => (4.0 * element, 0.0),
            OptimizerKind::AdamwForeach => (14.0 * element, 0.0),
            OptimizerKind::Adamw8bit | OptimizerKind::PagedAdamw8bit => (4.0, 3.0),
            OptimizerKind::Adafactor => (6.0 * element, 15.0),
            OptimizerKind::Sgd => (0.0, 0.0),
            OptimizerKind::Lion => (2.0 * element, 1.0),
        };
        let clipping = if self.setup.train.clip > 0.0 { 3.0 * element } else { 0.0 };
        let bytes = trained * (3.0 * element + states + clipping);
        Pass { bytes, operators: tensors * per_tensor, ..Pass::default() }
    }
}

/// Parameters that are trained have 16 bits.
fn pure(setup: &Setup) -> bool {
    matches!(setup.train.precision, Precision::Bf16Pure | Precision::Fp16Pure)
}
