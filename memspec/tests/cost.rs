//! Laws of the estimate: parts add up, more of anything that is computed never takes less, and known figures come out.

use std::path::Path;

use memspec::cost::{Estimate, PhaseName, estimate};
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Checkpointing, Choice, Plan, QuantizeKind};
use memspec::quantity::Tokens;
use memspec::setup::resolve;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Knobs {
    quantize: Option<QuantizeKind>,
    rank: u32,
    micro_batch: u32,
    context: u64,
    recomputed: u32,
}

const MODEL: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

fn of(knobs: Knobs) -> Estimate {
    let plan = Plan {
        name: "law".to_owned(),
        model: Some(MODEL.into()),
        device: Some("h200".into()),
        quantize: knobs.quantize.map(|kind| plan::Quantize { kind, ..Default::default() }),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, rank: Some(knobs.rank.into()), ..Default::default() }),
        data: Some(plan::Data { context: Some(Choice::One(Tokens(knobs.context))), ..Default::default() }),
        train: Some(plan::Train {
            micro_batch: Some(knobs.micro_batch.into()),
            checkpointing: Some(Choice::One(Checkpointing::Blocks(knobs.recomputed))),
            ..Default::default()
        }),
        ..Default::default()
    };
    estimate(&resolve(&plan, Path::new("."), &Environment::default()).unwrap()).unwrap()
}

fn knobs() -> impl Strategy<Value = Knobs> {
    let quantize = prop_oneof![Just(None), Just(Some(QuantizeKind::Nf4)), Just(Some(QuantizeKind::Int8))];
    (quantize, 1..128u32, 1..16u32, 1..4096u64, 0..=30u32).prop_map(
        |(quantize, rank, micro_batch, context, recomputed)| Knobs { quantize, rank, micro_batch, context, recomputed },
    )
}

proptest! {
    #[test]
    fn parts_add_up_and_the_peak_is_the_highest_phase(knobs in knobs()) {
        let estimate = of(knobs);
        let peak = estimate.peak.allocated.bytes;
        prop_assert_eq!(estimate.at_peak.iter().map(|part| part.bytes).sum::<u64>(), peak);
        prop_assert_eq!(estimate.phases.iter().map(|phase| phase.allocated_bytes).max(), Some(peak));
        prop_assert_eq!(estimate.phase(estimate.peak.phase), Some(peak));
        prop_assert_eq!(&of(knobs), &estimate, "the same plan, the same estimate");
    }

    #[test]
    fn more_work_never_takes_less(knobs in knobs()) {
        let least = of(knobs).peak.allocated.bytes;
        let more = [
            Knobs { rank: knobs.rank + 1, ..knobs },
            Knobs { micro_batch: knobs.micro_batch + 1, ..knobs },
            Knobs { context: knobs.context + 1, ..knobs },
            Knobs { quantize: None, ..knobs },
        ];
        for more in more {
            prop_assert!(of(more).peak.allocated.bytes >= least, "{more:?}");
        }
    }

    #[test]
    fn recomputing_a_block_more_never_takes_more(knobs in knobs()) {
        prop_assume!(knobs.recomputed > 0);
        let fewer = of(Knobs { recomputed: knobs.recomputed - 1, ..knobs });
        prop_assert!(of(knobs).peak.allocated.bytes <= fewer.peak.allocated.bytes);
    }
}

#[test]
fn loading_takes_weights_adapter_and_states() {
    let load = |quantize| {
        of(Knobs { quantize, rank: 16, micro_batch: 1, context: 256, recomputed: 30 }).phase(PhaseName::Load).unwrap()
    };
    // 134,515,008 weights in bf16; 4,884,480 adapter weights in f32 with gradient, two moments and a copy in bf16; rotary tables of 256 x 32 x 2 in f32.
    let beside = 4_884_480 * 18 + 256 * 32 * 2 * 4;
    assert_eq!(load(None), 134_515_008 * 2 + beside);
    // Linears of the blocks: 106,168,320 weights; the embedding and 61 norms of 576 stay bf16.
    let dense = (134_515_008 - 106_168_320) * 2;
    // Codes of 4 bits, one byte for 64 of them, and one f32 for 256 of those bytes in each of q, k, v, o, gate, up, down.
    let scales = 30 * (21 + 7 + 7 + 21 + 54 + 54 + 54) * 4;
    assert_eq!(load(Some(QuantizeKind::Nf4)) - beside - dense, 106_168_320 / 2 + 106_168_320 / 64 + scales);
}
