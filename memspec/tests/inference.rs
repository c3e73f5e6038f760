//! What serving takes: known sizes come out, and more of anything never takes less.

use memspec::cost::{Inference, inference};
use memspec::device;
use memspec::model::catalog;
use memspec::plan::{CachePrecision, ServePrecision};
use memspec::setup::Serve;
use proptest::prelude::*;

const SERVE: Serve =
    Serve { precision: ServePrecision::F16, context: 2048, concurrency: 1, cache: CachePrecision::F16 };

fn of(model: &str, serve: Serve) -> Inference {
    inference(&catalog::get(model).unwrap(), &serve, &device::get("t4").unwrap()).unwrap()
}

/// The size of a published file, in bytes; the tokenizer and header that it has beside its tensors are under 1 % of it.
fn check(model: &str, precision: ServePrecision, published: f64) {
    let bytes = of(model, Serve { precision, ..SERVE }).weights.bytes as f64;
    assert!(bytes <= published * 1.001 && bytes > published * 0.99, "{model} {precision}: {bytes} of {published}");
}

#[test]
fn weights_are_as_large_as_published_files() {
    // bartowski/Meta-Llama-3-8B-Instruct-GGUF, by the sizes that its page gives
    check("meta-llama-3-8b", ServePrecision::Q4KM, 4.92e9);
    check("meta-llama-3-8b", ServePrecision::Q5KM, 5.73e9);
    check("meta-llama-3-8b", ServePrecision::Q6K, 6.60e9);
    check("meta-llama-3-8b", ServePrecision::Q8_0, 8.54e9);
    check("meta-llama-3-8b", ServePrecision::Q4_0, 4.66e9);
    // openai/gpt-oss-20b: three safetensors files of 4.79, 4.80 and 4.17 GB; its tensors are 13.76 GB
    check("gpt-oss-20b", ServePrecision::Mxfp4, 13.77e9);
}

#[test]
fn a_cache_is_two_vectors_a_token_and_layer() {
    // 32 layers x 2 x 8 heads x 128 x 2 bytes
    assert_eq!(of("meta-llama-3-8b", SERVE).cache.bytes, 2048 * 131_072);
    let long = Serve { context: 131_072, ..SERVE };
    let gpt_oss = of("gpt-oss-20b", long).cache.bytes;
    // 24 layers, 12 of which see 128 tokens: 2 x 8 heads x 64 x 2 bytes
    assert_eq!(gpt_oss, 2048 * 12 * (131_072 + 128));
    let eight = |cache| of("meta-llama-3-8b", Serve { cache, ..long }).cache.bytes;
    assert_eq!(2 * eight(CachePrecision::F8), eight(CachePrecision::F16));
    assert_eq!(32 * eight(CachePrecision::Int8), 17 * eight(CachePrecision::F16));
}

#[test]
fn what_is_not_there_is_refused() {
    let model = catalog::get("meta-llama-3-8b").unwrap();
    let refused = |serve: Serve| inference(&model, &serve, &device::get("t4").unwrap()).unwrap_err().to_string();
    assert!(refused(Serve { precision: ServePrecision::Mxfp4, ..SERVE }).contains("has none"));
    assert!(refused(Serve { context: u64::MAX / 2, ..SERVE }).contains("more than any machine"));
}

proptest! {
    #[test]
    fn more_tokens_and_conversations_never_take_less(
        model in prop::sample::select(catalog::names()),
        context in 1u64..50_000,
        concurrency in 1u32..64,
    ) {
        let serve = Serve { context, concurrency, ..SERVE };
        let now = of(model, serve);
        for more in [Serve { context: context + 1, ..serve }, Serve { concurrency: concurrency + 1, ..serve }] {
            let more = of(model, more);
            prop_assert!(more.total.bytes >= now.total.bytes && more.total.high >= now.total.high);
        }
        prop_assert!(now.total.low <= now.total.bytes && now.total.bytes <= now.total.high);
        let parts = [now.weights, now.cache, now.workspace, now.context];
        prop_assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), now.total.bytes);
        // fewer bits take less
        let by = |precision| of(model, Serve { precision, ..serve }).weights.bytes;
        prop_assert!(by(ServePrecision::F16) < by(ServePrecision::F32));
        prop_assert!(by(ServePrecision::Nf4) < by(ServePrecision::Int8) && by(ServePrecision::Int8) < by(ServePrecision::F16));
        prop_assert!(by(ServePrecision::Q4KM) < by(ServePrecision::Q5KM) && by(ServePrecision::Q5KM) <= by(ServePrecision::Q6K));
    }
}
