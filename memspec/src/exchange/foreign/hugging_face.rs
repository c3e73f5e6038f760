//! Words that every trainer on transformers shares.

/// Optimizers (`transformers.training_args.OptimizerNames`); the first for a word is the one that is written.
pub(super) const OPTIMIZERS: &[(&str, &str)] = &[
    ("adamw_torch_fused", "adamw"),
    ("adamw_torch", "adamw_foreach"),
    ("adamw_8bit", "adamw_8bit"),
    ("adamw_bnb_8bit", "adamw_8bit"),
    ("paged_adamw_8bit", "paged_adamw_8bit"),
    ("paged_adamw_32bit", "paged_adamw"),
    ("paged_adamw", "paged_adamw"),
    ("adafactor", "adafactor"),
    ("sgd", "sgd"),
    ("lion_32bit", "lion"),
    ("lion", "lion"),
];

/// Kernels of attention (`attn_implementation`), the hub's builds of them too.
pub(super) const ATTENTION: &[(&str, &str)] = &[
    ("sdpa", "sdpa"),
    ("sdpa", "auto"),
    ("eager", "eager"),
    ("flash_attention_2", "flash2"),
    ("flash_attention_3", "flash3"),
    ("kernels-community/flash-attn2", "flash2"),
    ("kernels-community/flash-attn3", "flash3"),
    ("kernels-community/vllm-flash-attn3", "flash3"),
];

/// Types of tensors.
pub(super) const FLOATS: &[(&str, &str)] = &[("bfloat16", "bf16"), ("float16", "fp16"), ("float32", "f32")];

/// The types that hold packed weights (`bnb_4bit_quant_storage`). Half precision has bf16's size.
pub(super) const STORAGES: &[(&str, &str)] =
    &[("uint8", "uint8"), ("bfloat16", "bf16"), ("float16", "bf16"), ("float32", "f32")];

/// Theirs for ours.
pub(super) fn theirs(words: &[(&'static str, &str)], ours: &str) -> Option<&'static str> {
    words.iter().find(|(_, word)| *word == ours).map(|(theirs, _)| *theirs)
}

/// Ours for theirs.
pub(super) fn ours(words: &[(&str, &'static str)], theirs: &str) -> Option<&'static str> {
    words.iter().find(|(word, _)| *word == theirs).map(|(_, ours)| *ours)
}
