//! LLaMA-Factory's version 1: `USE_V1=1 llamafactory-cli sft FILE` (LLaMA-Factory 0.9.5).
//!
//! A file holds the fields of `ModelArguments`, `DataArguments`, `TrainingArguments` and `SampleArguments` (`llamafactory/v1/config`), and in mappings what
//! plugins take. It is no transformers Trainer but a loop of its own. On how many cards it runs is said by what launches it.

mod adapter;
mod data;
mod model;
mod parallel;

use super::Trainer;
use super::table::{Form, Format, Group, Key, aside, differs, formed, part, refused, setting};
use super::training_arguments;

pub(super) const FORMAT: Format = Format {
    trainer: Trainer::LlamafactoryV1,
    source: "LLaMA-Factory 0.9.5: `llamafactory/v1/config`, and what reads it in `llamafactory/v1/core` and `llamafactory/v1/plugins`",
    model: "model",
    keys: KEYS,
    groups: &[
        Group { read: model::read_engine, write: model::write_engine },
        Group { read: parallel::read, write: parallel::write },
        Group { read: adapter::read, write: adapter::write },
        Group { read: model::read_quantize, write: model::write_quantize },
        Group { read: model::read_precision, write: model::write_precision },
        Group { read: model::read_kernels, write: model::write_kernels },
        Group { read: model::read_checkpoints, write: model::write_checkpoints },
        Group { read: data::read, write: data::write },
        Group { read: data::read_batch, write: data::write_batch },
        Group {
            read: |file| training_arguments::read_steps(file, "num_train_epochs"),
            write: |plan| training_arguments::write_steps(plan, "num_train_epochs"),
        },
    ],
    absent: &[
        ("device", "a file of LLaMA-Factory runs on the cards that are there"),
        ("hourly_price", "it says nothing of prices"),
        ("weights", "LLaMA-Factory takes the weights of `model`"),
        ("budget", "it has no limits"),
        ("asserts", "it has no conditions"),
        ("serve", "it trains only"),
        ("eval", "version 1 evaluates nothing"),
        ("data.eval_path", "version 1 evaluates nothing"),
        ("data.format", "a dataset's `converter` says what a record is"),
        ("data.order", "version 1 has no key for it"),
        ("data.samples", "LLaMA-Factory counts them"),
        ("data.mean_length", "LLaMA-Factory measures them"),
        ("data.images", "LLaMA-Factory finds them in the dataset"),
        ("data.image_size", "LLaMA-Factory finds them in the dataset"),
        ("quantize.skip", "bitsandbytes leaves the head as it is, and LLaMA-Factory has no key for others"),
        ("quantize.block", "bitsandbytes takes blocks of 64"),
        ("train.expandable_segments", "`PYTORCH_CUDA_ALLOC_CONF` is set where it is launched"),
        ("train.weight_decay", "it is that of `torch.optim.AdamW`"),
        ("train.betas", "they are those of `torch.optim.AdamW`"),
        ("train.device_map", "version 1 gives each process its own card"),
        ("data.new_tokens", "version 1 adds none"),
        ("data.pad_token", "it is the tokenizer's"),
        ("data.eos_token", "it is the tokenizer's"),
        ("train.tf32", "version 1 has no switch for it"),
        ("train.use_cache", "version 1 has no switch for it"),
        ("save.load_best", "version 1 evaluates nothing"),
        ("save.merge", "`llamafactory-cli merge` merges, when training is over"),
    ],
};

const LOADING: &str = "how samples are loaded";
const ANSWERS: &str = "how answers are made, after training";
const PROCESSES: &str = "how processes find each other";
const EXPORT: &str = "what `llamafactory-cli merge` writes";

#[rustfmt::skip]
const KEYS: &[Key] = &[
    // the model
    setting("model", "model").or("Qwen/Qwen3-4B-Instruct-2507"),
    setting("template", "data.template"),
    aside("trust_remote_code", "whether the repository's code runs"),
    part("flash_attn", "`train.attention`: `eager`, `sdpa`, and `flash_attention_2` as `flash2`").or("sdpa"),
    refused("model_class", &["llm"], "models for something else than text are not costed"),
    part("init_config.name", "`parallel.load_whole`, unless it is `init_on_meta` or `init_on_rank0`").or("init_on_default"),
    // its weights, packed
    part("quant_config.name", "`quantize`, by bitsandbytes").or("bnb"),
    part("quant_config.quantization_bit", "`quantize`: 4 bits of the kind that `quantization_type` says, or `int8`"),
    part("quant_config.quantization_type", "`quantize nf4` or `fp4`").or("nf4"),
    part("quant_config.double_quantization", "`quantize.double`").or("true"),
    part("quant_config.compute_dtype", "`quantize.compute` and `quantize.storage`").or("float16"),
    // what is trained
    part("peft_config.name", "`adapter`, or none where all is trained"),
    setting("peft_config.r", "adapter.rank").or("8"),
    setting("peft_config.lora_alpha", "adapter.alpha").or("16"),
    formed("peft_config.lora_dropout", "adapter.dropout", Form::Share).or("0.05"),
    part("peft_config.target_modules", "`adapter.targets`: `all` is `all_linear`").or("all"),
    setting("peft_config.use_rslora", "adapter.rank_stabilized").or("false"),
    part("peft_config.use_dora", "`adapter dora`").or("false"),
    formed("peft_config.modules_to_save", "adapter.train_whole", Form::Names),
    differs("peft_config.adapter_name_or_path", &[], "an adapter that is there is trained on: it is costed as this file describes a new one"),
    aside("peft_config.freeze_trainable_layers", "what `name: freeze` trains"),
    aside("peft_config.freeze_trainable_modules", "what `name: freeze` trains"),
    aside("peft_config.freeze_extra_modules", "what `name: freeze` trains"),
    differs("peft_config.cast_trainable_params_to_fp32", &["true"], "what is trained stays in the checkpoint's type: it is costed in float32"),
    aside("peft_config.export_dir", EXPORT),
    aside("peft_config.export_size", EXPORT),
    aside("peft_config.export_hub_model_id", EXPORT),
    aside("peft_config.infer_dtype", EXPORT),
    aside("peft_config.export_legacy_format", EXPORT),
    // kernels
    part("kernel_config.name", "`train.liger` where it is `liger_kernel`").or("auto"),
    part("kernel_config.include_kernels", "which of them; `auto` is all"),
    // samples
    setting("train_dataset", "data.path"),
    aside("eval_dataset", "version 1 evaluates nothing"),
    setting("cutoff_len", "data.context").or("2048"),
    part("batching_strategy", "`data.packing` for `padding_free` and `dynamic_padding_free`").or("normal"),
    aside("batching_workers", LOADING),
    // the step
    setting("micro_batch_size", "train.micro_batch").or("1"),
    part("global_batch_size", "`train.accumulate`"),
    part("bf16", "`train.precision` under FSDP").or("true"),
    part("enable_activation_checkpointing", "`train.checkpointing`").or("true"),
    // learning
    refused("optim_config", &[], "no optimizer comes with version 1: the run ends"),
    setting("learning_rate", "train.learning_rate").or("0.0001"),
    refused("lr_scheduler_config", &[], "no schedule comes with version 1: the run ends"),
    setting("max_grad_norm", "train.clip").or("1"),
    part("num_train_epochs", "`train.epochs`").or("3"),
    part("max_steps", "`train.steps`"),
    setting("seed", "seed").or("42"),
    differs("full_determinism", &["false"], "deterministic kernels have workspaces of their own"),
    // checkpoints
    setting("output_dir", "output"),
    aside("resume_from_checkpoint", "where training begins"),
    setting("save_steps", "save.every"),
    aside("save_epochs", "a plan counts steps between checkpoints"),
    differs("save_ckpt_as_hf", &["false"], "whole weights are gathered for checkpoints, too, where the last save alone is costed so"),
    setting("save_total_limit", "save.keep"),
    aside("logging_steps", "what is logged"),
    // several cards
    part("dist_config.name", "`parallel fsdp2`, or `zero2` and `zero3` by DeepSpeed's configuration"),
    part("dist_config.reshard_after_forward", "`parallel.reshard`").or("true"),
    part("dist_config.offload_params", "`parallel.offload`").or("false"),
    aside("dist_config.pin_memory", "host memory"),
    aside("dist_config.dcp_path", "where weights are loaded from"),
    part("dist_config.config_file", "DeepSpeed's configuration"),
    part("dist_config.mp_shard_size", "`parallel.gpus`"),
    refused("dist_config.mp_replicate_size", &["1"], "several copies of a sharded model are not costed"),
    part("dist_config.dp_size", "with `cp_size`, `parallel.gpus`"),
    part("dist_config.cp_size", "`parallel.context`").or("1"),
    aside("dist_config.cp_mode", "how samples are split over cards: there is one way"),
    aside("dist_config.timeout", PROCESSES),
    // answering
    aside("sample_backend", ANSWERS),
    aside("max_new_tokens", ANSWERS),
];
