//! Which phase a traceback was in.

use memspec::cost::PhaseName;

/// What stands in the frames of each phase. Phases whose frames are called by those of others come first: a block that is computed again is
/// called by the backward pass, and the whole of a step by the trainer.
const FRAMES: &[(PhaseName, &[&str])] = &[
    (
        PhaseName::Optimizer,
        &[
            "/optim/adam",
            "/optim/optimizer.py",
            "optimizer.step(",
            "bitsandbytes/optim",
            "deepspeed/ops/adam",
            "exp_avg",
        ],
    ),
    (PhaseName::Merge, &["merge_and_unload", "_merge_lora", "merge_lora(", "get_delta_weight", "export_model.py"]),
    (PhaseName::Save, &["save_pretrained", "_save_checkpoint", "save_checkpoint", "model.state_dict("]),
    (PhaseName::Evaluate, &["evaluation_loop", "prediction_step", "prediction_loop", "trainer.evaluate"]),
    (PhaseName::Backward, &["run_backward", "loss.backward", ".backward(", "torch/autograd/__init__.py"]),
    (
        PhaseName::Prepare,
        &[
            "_prepare_fsdp",
            "FullyShardedDataParallel(",
            "fully_shard(",
            "deepspeed.initialize",
            "initialize_optimizer_states",
        ],
    ),
    (PhaseName::Init, &["get_peft_model", "prepare_model_for_kbit_training", "prepare_model_for_int8_training"]),
    (
        PhaseName::Load,
        &[
            "from_pretrained",
            "_load_state_dict_into",
            "set_module_tensor_to_device",
            "load_state_dict",
            "load_checkpoint",
            "dispatch_model",
        ],
    ),
    (PhaseName::Forward, &["in forward", "forward(", "compute_loss", "cross_entropy", "_convert_to_fp32"]),
];

/// The phase of the last traceback in a text, up to where its error stands.
pub(super) fn phase(log: &str) -> Option<PhaseName> {
    // Of the last traceback alone: what loaded before died of nothing.
    let frames = log.rfind("Traceback (most recent call last)").map_or(log, |at| &log[at..]);
    FRAMES.iter().find(|(_, words)| words.iter().any(|word| frames.contains(word))).map(|(phase, _)| *phase)
}
