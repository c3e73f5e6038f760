//! TRL's command line: `trl sft --config FILE` (TRL 1.15 on transformers 5.24).
//!
//! A file holds keys of `ScriptArguments` (`trl/scripts/utils.py`), `SFTConfig` (`trl/trainer/sft_config.py`), which is
//! `transformers.TrainingArguments` with other defaults (`trl/trainer/base_config.py`), `ModelConfig` (`trl/trainer/model_config.py`) and
//! `DatasetMixtureConfig`; keys of none of them go to `accelerate launch` (`trl/cli/commands/training.py`).

mod groups;
mod parallel;

use super::Trainer;
use super::hugging_face::ATTENTION;
use super::table::{Form, Format, Group, Key, aside, differs, formed, former, joined, part, refused, setting};
use super::training_arguments;

pub(super) const FORMAT: Format = Format {
    trainer: Trainer::Trl,
    source: "TRL 1.15.0 and transformers 5.24.0: `trl/scripts/sft.py` and the configurations that it parses",
    model: "model_name_or_path",
    keys: KEYS,
    groups: &[
        Group { read: groups::read_engine, write: groups::write_engine },
        Group { read: groups::read_adapter, write: groups::write_adapter },
        Group { read: groups::read_quantize, write: groups::write_quantize },
        Group { read: groups::read_precision, write: groups::write_precision },
        Group { read: groups::read_data, write: groups::write_data },
        Group {
            read: |file| training_arguments::read_length(file, "num_train_epochs"),
            write: |plan| training_arguments::write_length(plan, "num_train_epochs"),
        },
        Group {
            read: training_arguments::read_schedule,
            write: |plan| training_arguments::write_schedule(plan, "lr_scheduler_type", "warmup_steps"),
        },
        Group { read: training_arguments::read_saves, write: training_arguments::write_saves },
        Group {
            read: |file| training_arguments::read_switches(file, training_arguments::SWITCHES),
            write: |plan| training_arguments::write_switches(plan, training_arguments::SWITCHES),
        },
        Group { read: groups::read_checkpoints, write: groups::write_checkpoints },
        Group { read: parallel::read, write: parallel::write },
    ],
    absent: &[
        ("device", "a file of TRL runs on the cards that are there"),
        ("hourly_price", "it says nothing of prices"),
        ("weights", "TRL takes the weights of `model_name_or_path`"),
        ("budget", "it has no limits"),
        ("serve", "it trains only"),
        ("data.format", "TRL knows a sample's kind by its columns"),
        ("data.samples", "TRL counts them"),
        ("data.mean_length", "TRL measures them"),
        ("data.images", "TRL finds them in the dataset"),
        ("data.image_size", "TRL finds them in the dataset"),
        ("adapter.dtype", "TRL decides it: bf16 on a quantized model, else float32"),
        (
            "adapter.vision",
            "`lora_target_modules: all-linear` adapts the tower's linears too, anything else those that it names",
        ),
        ("quantize.skip", "bitsandbytes leaves the head as it is, and TRL has no key for others"),
        ("quantize.block", "bitsandbytes takes blocks of 64"),
        ("train.device_map", "SFTTrainer decides it, as it loads the model itself"),
        ("data.new_tokens", "a chat template brings them (`chat_template_path`)"),
        ("train.script", "`trl sft` is SFTTrainer"),
        ("train.upcast", "SFTTrainer casts no parameters"),
        ("train.loss", "SFTTrainer's loss is its own, in chunks"),
        ("eval.generate", "SFTTrainer answers no prompts"),
        ("save.merge", "SFTTrainer does not merge"),
    ],
};

/// Keys of other commands of TRL.
const OTHER_COMMAND: &str = "it is a key of another command than `trl sft`, which trains with more than one model or samples while it trains: only \
                             supervised fine-tuning is costed";
const LOGS: &str = "what is logged";
const LOADING: &str = "how samples are loaded";
const PROCESSES: &str = "how processes find each other";
const STREAMING: &str = "where samples come from";

const KEYS: &[Key] = &joined::<{ OWN.len() + training_arguments::KEYS.len() }>(OWN, training_arguments::KEYS);

#[rustfmt::skip]
const OWN: &[Key] = &[
    // the model
    setting("model_name_or_path", "model"),
    aside("model_revision", "which revision of the model"),
    aside("trust_remote_code", "whether the repository's code runs"),
    part("dtype", "`train.base_dtype`; with `bf16` and `fp16`, `train.precision`; of a quantized model also `quantize.compute`").or("float32"),
    former("torch_dtype", "dtype"),
    formed("attn_implementation", "train.attention", Form::Words(ATTENTION)).or("sdpa"),
    refused("model_init_kwargs", &[], "arguments of `from_pretrained` may load the model in any way: give them by their own keys"),
    differs("router_aux_loss_coef", &[], "another weight of the routers' loss; 0 would save their logits"),
    // its weights, packed
    part("load_in_4bit", "`quantize`, of the kind that `bnb_4bit_quant_type` says").or("false"),
    part("load_in_8bit", "`quantize int8`").or("false"),
    part("bnb_4bit_quant_type", "`quantize nf4` or `fp4`").or("nf4"),
    part("use_bnb_nested_quant", "`quantize.double`").or("false"),
    part("bnb_4bit_quant_storage", "`quantize.storage`").or("uint8"),
    // the adapter
    part("use_peft", "`adapter`").or("false"),
    part("use_dora", "`adapter dora`").or("false"),
    setting("lora_r", "adapter.rank").or("16"),
    setting("lora_alpha", "adapter.alpha").or("32"),
    formed("lora_dropout", "adapter.dropout", Form::Share).or("0.05"),
    setting("use_rslora", "adapter.rank_stabilized").or("false"),
    part("lora_target_modules", "`adapter.targets`; without it PEFT adapts `q_proj` and `v_proj`"),
    part("lora_target_parameters", "`adapter.targets`: the parameters that experts are"),
    formed("lora_modules_to_save", "adapter.train_whole", Form::Names),
    refused("lora_task_type", &["CAUSAL_LM"], "only causal language models are costed"),
    // the data
    part("dataset_name", "`data.path`"),
    part("datasets", "`data.path`, of one dataset"),
    aside("dataset_config", STREAMING),
    aside("dataset_train_split", STREAMING),
    part("dataset_test_split", "`data.eval_path`, with `eval_strategy`").or("test"),
    aside("dataset_streaming", STREAMING),
    aside("streaming", STREAMING),
    aside("test_split_size", STREAMING),
    aside("dataset_text_field", "which column is read"),
    aside("dataset_kwargs", LOADING),
    aside("dataset_num_proc", LOADING),
    aside("shuffle_dataset", "the order of samples"),
    part("chat_template_path", "`data.template`"),
    setting("eos_token", "data.eos_token"),
    setting("pad_token", "data.pad_token"),
    part("max_length", "`data.context`").or("1024"),
    former("max_seq_length", "max_length"),
    aside("truncation_mode", "which end of a long sample is cut"),
    setting("packing", "data.packing").or("false"),
    refused("packing_strategy", &["bfd", "bfd_split", "bfd-requeue"], "packing into rows that are cut anywhere is not costed"),
    part("padding_free", "`data.padding = none`").or("false"),
    part("pad_to_multiple_of", "samples as long as that allows"),
    part("assistant_only_loss", "`data.loss_on`").or("false"),
    part("completion_only_loss", "`data.loss_on`"),
    // the step
    part("bf16", "`train.precision`"),
    part("fp16", "`train.precision`").or("false"),
    part("gradient_checkpointing", "`train.checkpointing`").or("true"),
    former("activation_checkpointing", "gradient_checkpointing"),
    part("gradient_checkpointing_kwargs.use_reentrant", "how blocks are computed again"),
    refused("gradient_checkpointing_kwargs.selective", &["false"], "checkpoints that keep some results are not costed"),
    former("activation_checkpointing_kwargs.use_reentrant", "gradient_checkpointing_kwargs.use_reentrant"),
    setting("activation_offloading", "train.activation_offload").or("false"),
    setting("use_liger_kernel", "train.liger").or("false"),
    former("use_liger", "use_liger_kernel"),
    refused("loss_type", &["nll", "chunked_nll"], "only the negative log-likelihood is costed, which TRL computes in chunks"),
    part("env.PYTORCH_CUDA_ALLOC_CONF", "`train.expandable_segments`"),
    former("env.PYTORCH_ALLOC_CONF", "env.PYTORCH_CUDA_ALLOC_CONF"),
    aside("env.CUDA_VISIBLE_DEVICES", "which cards are used"),
    aside("env.WANDB_PROJECT", LOGS),
    aside("env.TOKENIZERS_PARALLELISM", LOADING),
    aside("env.HF_HUB_ENABLE_HF_TRANSFER", LOADING),
    setting("learning_rate", "train.learning_rate").or("0.00002"),
    // evaluation and checkpoints
    refused("eval_packing", &[], "evaluation is costed as packed as training"),
    aside("do_train", "a switch that `trl sft` does not read"),
    aside("do_eval", "a switch that `trl sft` does not read"),
    aside("do_predict", "a switch that `trl sft` does not read"),
    // several cards
    part("accelerate_config", "`parallel`: one of TRL's own configurations by its name"),
    part("num_processes", "`parallel.gpus` times `parallel.nodes`"),
    part("num_machines", "`parallel.nodes`").or("1"),
    part("fsdp_offload_params", "`parallel.offload`").or("false"),
    part("fsdp_reshard_after_forward", "`parallel.reshard`").or("true"),
    part("fsdp_activation_checkpointing", "`parallel.wrapped_checkpointing`").or("false"),
    part("offload_optimizer_device", "`parallel.offload`, under ZeRO").or("none"),
    part("offload_param_device", "`parallel.offload`, under ZeRO 3").or("none"),
    aside("machine_rank", PROCESSES),
    aside("main_process_ip", PROCESSES),
    aside("main_process_port", PROCESSES),
    aside("gpu_ids", "which cards are used"),
    // other commands
    refused("beta", &[], OTHER_COMMAND),
    refused("ref_model", &[], OTHER_COMMAND),
    refused("precompute_ref_log_probs", &[], OTHER_COMMAND),
    refused("max_prompt_length", &[], OTHER_COMMAND),
    refused("max_completion_length", &[], OTHER_COMMAND),
    refused("num_generations", &[], OTHER_COMMAND),
    refused("reward_model_name_or_path", &[], OTHER_COMMAND),
    refused("reward_funcs", &[], OTHER_COMMAND),
    refused("use_vllm", &[], OTHER_COMMAND),
    refused("vllm_mode", &[], OTHER_COMMAND),
    refused("desirable_weight", &[], OTHER_COMMAND),
    refused("undesirable_weight", &[], OTHER_COMMAND),
];
