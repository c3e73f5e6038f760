//! What holds for every estimate, whatever the plan.
#![cfg(feature = "lang")]

use std::path::Path;

use memspec::cost::{Estimate, estimate};
use memspec::model::Environment;
use memspec::plan::read_text;
use memspec::solve::setups;
use proptest::prelude::*;

fn estimated(blocks: &str) -> Estimate {
    let text = format!("plan \"p\" {{\n  device = t4\n{blocks}\n}}\n");
    let document = read_text("p.mem", text.as_str());
    assert_eq!(document.problems, [], "{text}");
    let setups = setups(&document.plans[0].plan, Path::new("."), &Environment::default()).unwrap();
    estimate(&setups[0].setup).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_parts_add_up_to_the_peak_and_the_peak_is_a_phases(
        model in prop::sample::select(vec!["meta-llama/Meta-Llama-3-8B", "HuggingFaceTB/SmolLM2-135M-Instruct", "mistralai/Mistral-7B-v0.3"]),
        quantize in prop::sample::select(vec!["", "quantize nf4 { double = true }", "quantize nf4 { double = false }", "quantize int8 { }"]),
        targets in prop::sample::select(vec!["all_linear", "attention", "query_value"]),
        optimizer in prop::sample::select(vec!["adamw", "sgd"]),
        rank in 1u32..128,
        context in 1u32..4096,
        micro_batch in 1u32..16,
        recomputed in 0u32..40,
    ) {
        let blocks = format!(
            "  model = \"{model}\"\n  {quantize}\n  adapter lora {{ rank = {rank}; targets = {targets} }}\n  data {{ context = {context}tok }}\n  \
             train {{ precision = fp16; micro_batch = {micro_batch}; checkpointing = {recomputed}; optimizer = {optimizer} }}"
        );
        let first = estimated(&blocks);
        let peak = first.peak.allocated.bytes;
        prop_assert_eq!(first.at_peak.iter().map(|part| part.bytes).sum::<u64>(), peak);
        prop_assert_eq!(first.phases.iter().map(|phase| phase.allocated_bytes).max(), Some(peak));
        prop_assert_eq!(first.phase(first.peak.phase), Some(peak));
        // Deterministic: the same plan is the same estimate.
        prop_assert_eq!(estimated(&blocks), first);
    }
}
