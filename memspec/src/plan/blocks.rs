//! Every block and setting of a plan: the one home of their names, types, defaults and meanings.

use std::path::PathBuf;

use super::limit::{Headroom, Limit};
use super::{
    AdapterKind, Assertion, Attention, CachePrecision, Checkpointing, Choice, DataFormat, DeviceMap, EngineName, Float,
    ImageSize, LossKind, LossOn, Name, Offload, OptimizerKind, Padding, ParallelKind, Precision, QuantizeKind,
    SampleOrder, Schedule, Script, ServePrecision, Storage, Targets, Upcast, Warmup,
};
use crate::quantity::{Bytes, Money, Percent, Seconds, Steps, Tokens};

block! {
    /// A fine-tuning plan: which model, on which device, trained how, within which budget.
    pub struct Plan: "plan" (name: String) of Choice {
        /// The model: a folder with its `config.json`, a `.gguf` file, or a hub name, which is looked up in the local
        /// Hugging Face cache (`HF_HOME`) and then in the catalog. Costing needs no weights.
        model: String;
        /// Where the weights are, if not with the model.
        weights: PathBuf = "the model's folder";
        /// What it runs on: a name of the device catalog, `cpu`, `auto` (what this machine has) or `cuda:0`. A name that is
        /// not a plain word is quoted: `"a100-80"`.
        device: Name = "auto";
        /// What an hour of all its devices costs, for estimates of the run's cost.
        hourly_price: Money = "the catalog's, of the machine or the cheapest one with the device";
        /// Whose allocations are replayed, and who runs the plan.
        engine: EngineName = "memspec";
        /// The folder for the adapter, checkpoints, `report.json` and metrics; a new one for each run.
        output: PathBuf = "runs/<plan>-<n>";
        /// The seed of every random number: initial adapters, data order, dropout.
        seed: u64 = "42";
    }
    blocks {
        /// Several devices.
        parallel: Parallel;
        /// The base model's weights, packed.
        quantize: Quantize;
        /// What is trained beside the frozen base; without it, all weights are.
        adapter: Adapter;
        /// What it learns from.
        data: Data;
        /// How it learns.
        train: Train;
        /// Evaluation while training.
        eval: Eval;
        /// Checkpoints.
        save: Save;
        /// Inference with the result.
        serve: Serve;
        /// What it may cost.
        budget: Budget;
    }
    lists {
        /// What has to be true of it.
        asserts: Assertion;
    }
}

block! {
    /// Several devices sharing the work.
    pub struct Parallel: "parallel" (kind: ParallelKind) of Choice {
        /// Devices in each machine.
        gpus: u32 = "1", least 1;
        /// Machines.
        nodes: u32 = "1", least 1;
        /// Devices that share the tokens of each sample (context parallelism, by exchanging heads for tokens around attention).
        context: u32 = "1", least 1;
        /// Drop gathered parameters again after the forward pass.
        reshard: bool = "true";
        /// Where parameters and optimizer states rest.
        offload: Offload = "none";
        /// Checkpoint blocks in FSDP's wrapper around each (accelerate's `fsdp_activation_checkpointing`), not in the model;
        /// which ones, `checkpointing` of train says.
        wrapped_checkpointing: bool = "false";
        /// Each device holds the whole model until FSDP takes its parts (LLaMA-Factory's version 1), where others load to host memory.
        load_whole: bool = "false";
    }
}

block! {
    /// The base model's weights in fewer bits.
    pub struct Quantize: "quantize" (kind: QuantizeKind) of Choice {
        /// Quantize the scales (absmax) too.
        double: bool = "true for nf4 with the engine memspec, else false";
        /// Weights that share one scale.
        block: u32 = "64", least 1;
        /// The type that weights are unpacked to.
        compute: Float = "the training precision";
        /// The type that packed weights are stored as, which matters where they are sharded.
        storage: Storage = "uint8";
        /// Modules that stay as they are.
        skip: Vec<String> = "[lm_head]";
        /// Pack the experts of a mixture, too, which bitsandbytes leaves in 16 bits (axolotl's `quantize_moe_experts`).
        experts: bool = "false";
    }
}

block! {
    /// Small matrices trained beside the frozen base. Without this block the whole model is trained.
    pub struct Adapter: "adapter" (kind: AdapterKind) of Choice {
        /// The inner dimension of the two matrices.
        rank: u32 = "16", least 1;
        /// The scale: what the adapter adds is multiplied by alpha / rank.
        alpha: f64 = "2 x rank", least 0;
        /// Scale by alpha / sqrt(rank) instead.
        rank_stabilized: bool = "false";
        /// The part of the adapter's input that is dropped in training.
        dropout: Percent = "0%";
        /// The linears that get an adapter; what each word means for a model comes from its architecture.
        targets: Targets = "all_linear";
        /// Adapt every linear of the vision tower; those that `targets` name are adapted anyway, as PEFT does.
        vision: bool = "false";
        /// The type of the adapter's matrices.
        dtype: Float = "f32, or what the engine does";
        /// Modules trained in full beside the adapter (PEFT's `modules_to_save`).
        train_whole: Vec<String> = "[]";
    }
}

block! {
    /// What the model learns from.
    pub struct Data: "data" of Choice {
        /// The training samples: JSONL, JSON or Parquet; a hub name for costing only.
        path: PathBuf;
        /// The evaluation samples. With them there is evaluation, as the block `eval` says.
        eval_path: PathBuf;
        /// What a record is.
        format: DataFormat = "auto";
        /// The chat template: a file, or a template's name.
        template: Name = "the model's";
        /// The tokens that the loss counts.
        loss_on: LossOn = "all";
        /// The longest sample that is kept whole.
        context: Tokens = "the engine's", least 1;
        /// Join short samples into one sequence; they never attend to each other.
        packing: bool = "false";
        /// In what order samples are trained on. Packed samples, and micro batches of one, fill nothing up: `by_length` is random there.
        order: SampleOrder = "random";
        /// Words that are added to the tokenizer's vocabulary. The rows that embeddings and head get for them are too few to be costed.
        new_tokens: Vec<String> = "[]";
        /// The token that fills samples up. It takes no memory.
        pad_token: String = "the tokenizer's";
        /// The token that ends an answer. It takes no memory.
        eos_token: String = "the tokenizer's";
        /// To what length the samples of a batch are filled.
        padding: Padding = "longest; none under unsloth with adapters, but for int8 and Phi-3";
        /// How many samples there are.
        samples: u64 = "counted, when the file is local";
        /// How long they are on average. A batch of several whose samples may differ in length is padded, and needs the mask for it.
        mean_length: Tokens = "measured, when the file is local";
        /// Images in a sample.
        images: u32 = "0";
        /// Their size in pixels, width by height.
        image_size: ImageSize;
    }
}

block! {
    /// How the model learns.
    pub struct Train: "train" of Choice {
        /// The types a step computes in.
        precision: Precision = "bf16, where the device has it";
        /// The type that weights which are not packed are loaded and kept in, with the engine trl (`dtype` of `from_pretrained`).
        base_dtype: Float = "f32 where all are trained, but for a pure precision and axolotl; else the precision's half";
        /// Where transformers' `from_pretrained` puts the model (its `device_map`). Each device is costed with what `parallel` gives it, so
        /// this takes no memory.
        device_map: DeviceMap = "none";
        /// The script around the model, with the engine trl.
        script: Script = "sft";
        /// Which parameters that are not packed are cast to float32 before training.
        upcast: Upcast = "none";
        /// Samples in one forward pass on one device.
        micro_batch: u32 = "1", least 1;
        /// Forward and backward passes whose gradients are summed before the optimizer steps.
        accumulate: u32 = "1", least 1;
        /// What is recomputed in the backward pass instead of kept: nothing, every block, what the budget asks for, or that
        /// many blocks.
        checkpointing: Checkpointing = "none";
        /// Keep the inputs of recomputed blocks in host memory.
        activation_offload: bool = "false";
        /// How attention is computed.
        attention: Attention = "auto";
        /// How logits and loss are formed.
        loss: LossKind = "auto";
        /// Liger's fused kernels for norms, RoPE and the feed-forward part; its loss is `loss = liger`.
        liger: bool = "false";
        /// Let PyTorch's allocator grow its segments (`PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`).
        expandable_segments: bool = "false";
        /// Round what goes into float32 products to TF32 (transformers' `tf32`), from Ampere on. It takes no memory.
        tf32: bool = "false";
        /// Ask the model for cached keys and values, as generation has them (transformers' `use_cache`). Recomputed blocks keep none, and
        /// SFTTrainer switches it off, so there it takes no memory; elsewhere it is not costed.
        use_cache: bool = "false";
        /// The optimizer.
        optimizer: OptimizerKind = "adamw";
        /// The learning rate after the warmup.
        learning_rate: f64 = "2e-4", least 0;
        /// How the learning rate goes on.
        schedule: Schedule = "cosine";
        /// The steps in which the learning rate rises, as a part of all or a count.
        warmup: Warmup = "3%";
        /// Decoupled weight decay, of matrices: norms and biases do not decay.
        weight_decay: f64 = "0", least 0;
        /// The decay of the optimizer's first and second moments.
        betas: [f64; 2] = "[0.9, 0.999]", least 0;
        /// The largest norm of the gradients; larger ones are scaled down to it. 0: never.
        clip: f64 = "1.0", least 0;
        /// Passes over the data.
        epochs: f64 = "1", least 0;
        /// Optimizer steps, instead of epochs.
        steps: Steps, least 1;
    }
}

block! {
    /// Evaluation while training.
    pub struct Eval: "eval" of Choice {
        /// Steps from one evaluation to the next.
        every: Steps, least 1;
        /// Samples in one forward pass, each as long as `context` of data allows.
        micro_batch: u32 = "that of train; 8 with the engine trl, at most 8 with unsloth", least 1;
        /// A prompt that the model answers at each evaluation.
        generate: String;
    }
}

block! {
    /// Checkpoints.
    pub struct Save: "save" of Choice {
        /// Steps from one checkpoint to the next.
        every: Steps = "500", least 1;
        /// How many checkpoints stay on disk.
        keep: u32 = "2", least 1;
        /// Load the best of the checkpoints, by the evaluation, when training is over (transformers' `load_best_model_at_end`). It takes no
        /// memory of its own.
        load_best: bool = "false";
        /// Save the adapter merged into the base, too. With the engines trl and unsloth that happens in the same process when training
        /// is over: PEFT's `merge_and_unload`, Unsloth's `save_pretrained_merged` with 16 bit weights.
        merge: bool = "false";
    }
}

block! {
    /// Inference with the result, to be costed.
    pub struct Serve: "serve" of Choice {
        /// The type of the weights.
        precision: ServePrecision = "f16";
        /// Tokens of one conversation.
        context: Tokens = "that of data", least 1;
        /// Conversations at once.
        concurrency: u32 = "1", least 1;
        /// The type of cached keys and values.
        cache: CachePrecision = "f16";
    }
}

block! {
    /// Limits on what the plan may cost: a name, a comparison and a quantity.
    pub struct Budget: "budget" of Limit {
        /// The peak on one device, error bar included.
        device_memory: Bytes = "the device's usable memory";
        /// The peak in host memory.
        host_memory: Bytes = "this machine's";
        /// Bytes written to disk.
        disk: Bytes;
        /// The time the run takes.
        wall_clock: Seconds;
        /// What the run costs at the device's hourly price.
        cost: Money;
        /// Device memory that stays free at the peak: an amount, or a part of what is usable.
        headroom: Headroom;
    }
}
