//! Every rule, one line each, and its page.

use crate::context::Context;
use crate::diagnostic::{Confidence, Finding, Severity};
use crate::rules;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its code: `MEM001`. The letters are its family.
    pub code: &'static str,
    /// Its name, which says what it finds: `peak-over-budget`.
    pub name: &'static str,
    /// How bad its findings are.
    pub severity: Severity,
    /// How sure it is of them.
    pub confidence: Confidence,
    /// Finds.
    pub check: fn(&Rule, &Context<'_>) -> Vec<Finding>,
    /// The text of its file, whose first comment is its page.
    source: &'static str,
}

macro_rules! rules {
    ($($code:literal $name:literal $severity:ident $confidence:ident $family:ident::$file:ident;)+) => {
        /// Every rule, by family.
        pub const RULES: &[Rule] = &[$(Rule {
            code: $code,
            name: $name,
            severity: Severity::$severity,
            confidence: Confidence::$confidence,
            check: rules::$family::$file::check,
            source: include_str!(concat!("rules/", stringify!($family), "/", stringify!($file), ".rs")),
        }),+];
    };
}

rules! {
    "MEM001" "peak-over-budget" Error Likely memory::peak_over_budget;
    "MEM002" "thin-headroom" Warning Likely memory::thin_headroom;
    "MEM003" "logits-spike" Warning Likely memory::logits_spike;
    "MEM004" "kbit-upcast-of-embeddings" Warning Likely memory::kbit_upcast_of_embeddings;
    "MEM006" "eval-batch-larger-than-train" Warning Likely memory::eval_batch_larger_than_train;
    "MEM008" "paged-optimizer-for-lora" Info Certain memory::paged_optimizer_for_lora;
    "MEM009" "foreach-optimizer-peak" Info Likely memory::foreach_optimizer_peak;
    "MEM011" "pad-to-max-length" Warning Likely data::pad_to_max_length;
    "MEM012" "trainable-embeddings-with-lora" Warning Likely memory::trainable_embeddings_with_lora;
    "MEM016" "budget-missing" Info Heuristic memory::budget_missing;
    "MEM017" "unused-memory" Info Heuristic memory::unused_memory;
    "MEM018" "budget-limit-not-checked" Info Certain memory::budget_limit_not_checked;
    "MEM020" "run-over-budget" Warning Likely memory::run_over_budget;
    "MEM021" "serving-over-budget" Warning Likely memory::serving_over_budget;
    "MEM022" "upcast-of-unpacked-base" Warning Likely memory::upcast_of_unpacked_base;
    "MEM023" "infeasible-fit" Error Likely memory::infeasible_fit;
    "MEM024" "assert-failed" Error Certain memory::assert_failed;
    "MEM025" "slow-setting" Info Heuristic memory::slow_setting;
    "HW001" "bf16-on-pre-ampere" Error Certain hardware::bf16_on_pre_ampere;
    "HW002" "bf16-quant-compute-on-pre-ampere" Error Certain hardware::bf16_quant_compute_on_pre_ampere;
    "HW003" "flash-attention-on-pre-ampere" Error Certain hardware::flash_attention_on_pre_ampere;
    "HW005" "flash-attention-with-fp32" Error Certain hardware::flash_attention_with_fp32;
    "HW006" "tf32-on-pre-ampere" Error Certain hardware::tf32_on_pre_ampere;
    "HW007" "fp8-unsupported-gpu" Warning Certain hardware::fp8_unsupported_gpu;
    "HW008" "kernel-needs-newer-gpu" Error Certain hardware::kernel_needs_newer_gpu;
    "HW009" "device-not-in-catalog" Error Certain hardware::device_not_in_catalog;
    "HW010" "vram-marketing-gb" Warning Certain hardware::vram_marketing_gb;
    "HW011" "gpu-count-mismatch" Error Certain hardware::gpu_count_mismatch;
    "HW012" "tensor-core-misaligned-dims" Info Heuristic hardware::tensor_core_misaligned_dims;
    "MOD001" "unknown-model" Error Certain model::unknown_model;
    "PRE002" "fp16-trainable-weights" Error Certain precision::fp16_trainable_weights;
    "PRE003" "fp16-on-bf16-only-model" Warning Certain precision::fp16_on_bf16_only_model;
    "PRE004" "pure-fp16-full-finetune" Error Certain precision::pure_fp16_full_finetune;
    "PRE005" "no-mixed-precision" Warning Certain precision::no_mixed_precision;
    "PRE006" "kbit-compute-dtype-fp32" Warning Certain precision::kbit_compute_dtype_fp32;
    "PRE007" "compute-dtype-mismatch" Warning Certain precision::compute_dtype_mismatch;
    "PRE008" "pure-bf16-with-zero3" Error Certain precision::pure_bf16_with_zero3;
    "PRE009" "bf16-weights-small-lr" Info Heuristic precision::bf16_weights_small_lr;
    "QNT001" "quantized-full-finetune" Error Certain quantize::quantized_full_finetune;
    "QNT002" "qlora-without-4bit" Warning Certain quantize::qlora_without_4bit;
    "QNT003" "double-quantization-off" Info Likely quantize::double_quantization_off;
    "QNT004" "fp4-instead-of-nf4" Info Certain quantize::fp4_instead_of_nf4;
    "QNT005" "quantize-prequantized-model" Error Certain quantize::quantize_prequantized_model;
    "QNT008" "fsdp-quant-storage-mismatch" Error Certain quantize::fsdp_quant_storage_mismatch;
    "QNT009" "int8-with-fsdp" Error Certain quantize::int8_with_fsdp;
    "QNT010" "merge-into-quantized" Warning Certain quantize::merge_into_quantized;
    "QNT011" "moe-experts-left-unquantized" Warning Likely quantize::moe_experts_left_unquantized;
    "QNT012" "blockwise-setting-of-int8" Warning Certain quantize::blockwise_setting_of_int8;
    "QNT013" "unknown-skip-module" Warning Certain quantize::unknown_skip_module;
    "LOR001" "unknown-target" Error Certain adapter::unknown_target;
    "LOR003" "tied-lm-head-target" Error Certain adapter::tied_lm_head_target;
    "LOR004" "moe-experts-not-adapted" Warning Certain adapter::moe_experts_not_adapted;
    "LOR005" "moe-router-trained" Warning Likely adapter::moe_router_trained;
    "LOR006" "alpha-rank-ratio" Warning Heuristic adapter::alpha_rank_ratio;
    "LOR007" "high-rank-without-rslora" Info Heuristic adapter::high_rank_without_rslora;
    "LOR008" "rank-exceeds-dimension" Warning Certain adapter::rank_exceeds_dimension;
    "LOR009" "attention-only-lora" Info Heuristic adapter::attention_only_lora;
    "LOR010" "full-finetune-lr-with-lora" Warning Likely adapter::full_finetune_lr_with_lora;
    "LOR011" "new-tokens-not-trained" Warning Likely adapter::new_tokens_not_trained;
    "LOR013" "dora-incompatible" Error Certain adapter::dora_incompatible;
    "LOR014" "adapter-settings-without-adapter" Warning Certain adapter::adapter_settings_without_adapter;
    "LOR017" "vision-adapter-without-tower" Warning Certain adapter::vision_adapter_without_tower;
    "LOR018" "adapter-without-effect" Error Certain adapter::adapter_without_effect;
    "CKP001" "kv-cache-while-checkpointing" Warning Certain checkpointing::kv_cache_while_checkpointing;
    "CKP006" "offload-without-checkpointing" Error Certain checkpointing::offload_without_checkpointing;
    "CKP010" "more-blocks-than-layers" Warning Certain checkpointing::more_blocks_than_layers;
    "CKP011" "wrapped-checkpointing-without-fsdp" Warning Certain checkpointing::wrapped_checkpointing_without_fsdp;
    "CKP012" "offload-on-cpu" Warning Certain checkpointing::offload_on_cpu;
    "ATT001" "packing-without-varlen-attention" Warning Certain attention::packing_without_varlen_attention;
    "ATT003" "context-beyond-positions" Warning Certain data::context_beyond_positions;
    "ATT005" "seq-shorter-than-data" Warning Likely data::seq_shorter_than_data;
    "ATT007" "padding-free-batch-one" Info Certain attention::padding_free_batch_one;
    "ATT012" "packing-with-images" Error Certain attention::packing_with_images;
    "ATT013" "eager-attention" Warning Likely attention::eager_attention;
    "ATT014" "serve-context-beyond-positions" Error Certain attention::serve_context_beyond_positions;
    "BAT001" "effective-batch-exceeds-dataset" Error Certain batch::effective_batch_exceeds_dataset;
    "BAT002" "warmup-exceeds-run" Warning Certain batch::warmup_exceeds_run;
    "BAT004" "too-few-steps" Warning Heuristic batch::too_few_steps;
    "BAT005" "effective-batch-outlier" Warning Heuristic batch::effective_batch_outlier;
    "BAT009" "epochs-and-max-steps" Warning Certain batch::epochs_and_max_steps;
    "BAT011" "batch-one-accumulate-instead" Info Likely batch::batch_one_accumulate_instead;
    "BAT012" "zero-epochs" Error Certain batch::zero_epochs;
    "OPT001" "lr-outlier" Warning Heuristic optimizer::lr_outlier;
    "OPT002" "optimizer-args-without-optimizer" Warning Certain optimizer::optimizer_args_without_optimizer;
    "OPT003" "optimizer-vs-strategy" Error Certain optimizer::optimizer_vs_strategy;
    "OPT004" "no-grad-clip-fp16" Info Heuristic optimizer::no_grad_clip_fp16;
    "OPT005" "weight-decay-on-lora" Info Heuristic optimizer::weight_decay_on_lora;
    "OPT008" "learning-rate-too-large" Warning Certain optimizer::learning_rate_too_large;
    "OPT009" "learning-rate-zero" Error Certain optimizer::learning_rate_zero;
    "OPT010" "betas-out-of-range" Error Certain optimizer::betas_out_of_range;
    "DST001" "device-map-with-zero3" Error Certain parallel::device_map_with_zero3;
    "DST002" "auto-device-map-in-ddp" Error Certain parallel::auto_device_map_in_ddp;
    "DST006" "replicated-quantized-base" Info Heuristic parallel::replicated_quantized_base;
    "DST009" "sharding-setting-without-sharding" Warning Certain parallel::sharding_setting_without_sharding;
    "DST010" "parallel-on-one-device" Warning Certain parallel::parallel_on_one_device;
    "DST011" "tensor-parallel-indivisible" Error Certain parallel::tensor_parallel_indivisible;
    "DST012" "tensor-parallel-of-adapted-or-packed" Error Certain parallel::tensor_parallel_of_adapted_or_packed;
    "EVL001" "save-not-multiple-of-eval" Error Certain evaluation::save_not_multiple_of_eval;
    "EVL003" "eval-without-data" Error Certain evaluation::eval_without_data;
    "EVL009" "eval-on-training-data" Warning Certain evaluation::eval_on_training_data;
    "EVL010" "merge-without-adapter" Warning Certain evaluation::merge_without_adapter;
    "EVL011" "eval-after-the-end" Warning Certain evaluation::eval_after_the_end;
    "TOK001" "pad-equals-eos" Warning Certain data::pad_equals_eos;
    "TOK005" "train-on-prompt-chat" Info Heuristic data::train_on_prompt_chat;
    "TOK006" "data-file-missing" Error Certain data::data_file_missing;
    "TOK008" "data-file-empty" Error Certain data::data_file_empty;
    "TOK009" "assistant-loss-without-assistant" Error Certain data::assistant_loss_without_assistant;
    "TOK010" "images-without-tower" Error Certain data::images_without_tower;
    "TOK011" "image-size-without-images" Warning Certain data::image_size_without_images;
    "TOK012" "images-without-size" Error Certain data::images_without_size;
    "TOK013" "context-shorter-than-images" Error Certain data::context_shorter_than_images;
    "SPEC001" "syntax" Error Certain spec::syntax;
    "SPEC002" "unknown-setting" Error Certain spec::unknown_setting;
    "SPEC003" "duplicate-setting" Error Certain spec::duplicate_setting;
    "SPEC004" "ambiguous-unit" Warning Certain spec::ambiguous_unit;
    "SPEC009" "sweep-explosion" Warning Certain spec::sweep_explosion;
    "SPEC012" "unused-allow" Warning Certain spec::unused_allow;
    "SPEC013" "blanket-allow" Warning Certain spec::blanket_allow;
    "SPEC015" "secret-in-plan" Warning Certain spec::secret_in_plan;
    "SPEC017" "unknown-block" Error Certain spec::unknown_block;
    "SPEC018" "unknown-kind" Error Certain spec::unknown_kind;
    "SPEC019" "missing-kind" Error Certain spec::missing_kind;
    "SPEC020" "missing-model" Error Certain spec::missing_model;
    "SPEC021" "unknown-symbol" Error Certain spec::unknown_symbol;
    "SPEC022" "quoted-symbol" Error Certain spec::quoted_symbol;
    "SPEC023" "unquoted-text" Error Certain spec::unquoted_text;
    "SPEC024" "wrong-type" Error Certain spec::wrong_type;
    "SPEC025" "wrong-unit" Error Certain spec::wrong_unit;
    "SPEC026" "unknown-unit" Error Certain spec::unknown_unit;
    "SPEC027" "out-of-range" Error Certain spec::out_of_range;
    "SPEC028" "not-a-limit" Error Certain spec::not_a_limit;
    "SPEC029" "limit-outside-budget" Error Certain spec::limit_outside_budget;
    "SPEC030" "unsupported-setting" Error Certain spec::unsupported_setting;
    "SPEC031" "unknown-name" Error Certain spec::unknown_name;
    "SPEC032" "let-shadows-symbol" Error Certain spec::let_shadows_symbol;
    "SPEC033" "duplicate-plan" Error Certain spec::duplicate_plan;
    "SPEC034" "edition" Error Certain spec::edition;
    "SPEC035" "not-supported" Error Certain spec::not_supported;
    "SPEC036" "not-utf8" Error Certain spec::not_utf8;
    "SPEC037" "missing-name" Error Certain spec::missing_name;
    "SPEC038" "no-plan" Warning Certain spec::no_plan;
    "SPEC039" "allow-without-reason" Info Heuristic spec::allow_without_reason;
    "SPEC040" "bad-import" Error Certain spec::bad_import;
    "SPEC041" "unknown-profile" Error Certain spec::unknown_profile;
    "SPEC042" "conflicting-parents" Error Certain spec::conflicting_parents;
    "SPEC043" "circular" Error Certain spec::circular;
    "SPEC044" "not-understood" Warning Certain spec::not_understood;
}

/// The rule for comments that silence nothing; its findings come from [`crate::suppress`].
pub(crate) const UNUSED_ALLOW: &Rule = &RULES[position("SPEC012")];

const fn position(code: &str) -> usize {
    let mut at = 0;
    while at < RULES.len() {
        if same(RULES[at].code.as_bytes(), code.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("a rule that is not in the table");
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The rule with that code or name.
pub fn find(code_or_name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == code_or_name || rule.code.eq_ignore_ascii_case(code_or_name))
}

/// The rule that was probably meant.
pub fn nearest(written: &str) -> Option<&'static Rule> {
    let codes = RULES.iter().map(|rule| (strsim::damerau_levenshtein(&written.to_uppercase(), rule.code), rule));
    let code = codes.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= 1).map(|(_, rule)| rule);
    code.or_else(|| find(memspec::plan::nearest(written, RULES.iter().map(|rule| rule.name))?))
}

/// The name of the rule that something unresolved falls under.
pub(crate) fn name_of(unresolved: &'static str) -> &'static str {
    match unresolved {
        "unknown-device" => "device-not-in-catalog",
        "missing-setting" => "missing-model",
        other => other,
    }
}

impl Rule {
    /// It looks at every plan; others only where they are selected by name or code, or with all.
    pub fn is_default(&self) -> bool {
        self.confidence > Confidence::Heuristic
    }

    /// The letters of its code.
    pub fn family(&self) -> &'static str {
        self.code.trim_end_matches(|c: char| c.is_ascii_digit())
    }

    /// Its page: what it does, why that is bad, an example, how safe its fix is.
    pub fn page(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// The first sentence of its page.
    pub fn summary(&self) -> String {
        let page = self.page();
        let text: Vec<&str> = section(&page, "What it does").lines().take_while(|line| !line.is_empty()).collect();
        let text = text.join(" ");
        text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
    }

    /// The `.mem` text of a section: `Example` or `Use instead`.
    pub fn example(&self, heading: &str) -> Option<String> {
        let page = self.page();
        let (_, rest) = section(&page, heading).split_once("```mem\n")?;
        rest.split_once("```").map(|(code, _)| code.to_owned())
    }

    /// Whether its page says that it has a fix, in the words of its section.
    pub fn fix_safety(&self) -> Option<String> {
        let page = self.page();
        let text = section(&page, "Fix safety").trim();
        (!text.is_empty()).then(|| text.lines().collect::<Vec<_>>().join(" "))
    }
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let Some((_, rest)) = page.split_once(&format!("## {heading}\n")) else { return "" };
    rest.split("\n## ").next().unwrap_or(rest).trim_start_matches('\n')
}

/// Every rule's page as one document: `docs/rules.md`.
pub fn pages() -> String {
    let mut text = String::from(
        "# The rules of memspec-lint\n\n<!-- generated from the rules' own comments: `MEMSPEC_UPDATE=1 cargo test -p memspec-lint` writes it anew -->\n\n\
         `memspec-lint explain CODE` prints a rule's page. A finding is allowed where it is meant with a comment on its line or the line\n\
         above it: `# memspec: allow(thin-headroom) measured on this machine`; above a block or plan it holds for all of it,\n\
         `# memspec: file-allow(..)` for the file. Mistakes of the text itself (SPEC, errors) cannot be allowed.\n\n\
         Errors and warnings that are certain fail a check. What is likely fails it only where both ends of the estimate's interval\n\
         say so. Heuristic rules find what good plans do, too: they are off until they are selected by name or\n\
         code (`--select default,alpha-rank-ratio`, or `select` in `memspec.toml`), or with `all`.\n\n\
         | code | name | severity | confidence | fix | what it finds |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for rule in RULES {
        let fix = match rule.fix_safety() {
            Some(text) if text.starts_with("Unsafe") => "unsafe",
            Some(text) if text.starts_with("Safe") => "safe",
            _ => "",
        };
        text += &format!(
            "| [{}](#{}-{}) | {} | {} | {} | {fix} | {} |\n",
            rule.code,
            rule.name,
            rule.code.to_lowercase(),
            rule.name,
            rule.severity,
            rule.confidence.name(),
            rule.summary()
        );
    }
    for rule in RULES {
        text += "\n";
        let mut code = false;
        for line in rule.page().lines() {
            code ^= line.starts_with("```");
            // One level down, as the document has a title of its own.
            if line.starts_with('#') && !code {
                text += "#";
            }
            text += line;
            text += "\n";
        }
    }
    text
}
