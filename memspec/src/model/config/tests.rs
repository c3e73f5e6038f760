use proptest::prelude::*;

use super::super::{Rope, RopeScaling, catalog};
use super::*;

/// A small config of this `model_type` with `more` keys, which may take away (`null` takes nothing away: it is a value).
fn config(model_type: &str, more: &str) -> String {
    let base = r#""hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 96, "vocab_size": 100"#;
    let comma = if more.is_empty() { "" } else { ", " };
    format!(r#"{{"model_type": "{model_type}", {base}{comma}{more}}}"#)
}

fn read(model_type: &str, more: &str) -> Architecture {
    from_json(&config(model_type, more)).unwrap()
}

fn refused(text: &str, expected: &str) {
    let error = from_json(text).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}\nlacks: {expected}");
}

#[test]
fn absent_keys_have_transformers_defaults() {
    let llama = read("llama", "");
    assert_eq!((llama.family, llama.head_dim, llama.tied_embeddings), (Family::Llama, 16, false));
    assert_eq!((llama.norm_epsilon, llama.max_positions, llama.dtype), (1e-6, 2048, Dtype::F32));
    let rope = Rope { theta: 10_000.0, local_theta: None, fraction: 1.0, scaling: RopeScaling::None };
    assert_eq!(llama.rope, rope);
    assert_eq!(read("llama", r#""num_key_value_heads": null"#).kv_heads, 4);
    assert_eq!(read("qwen3", "").head_dim, 128);

    let gemma = read("gemma3_text", "");
    assert_eq!((gemma.head_dim, gemma.tied_embeddings, gemma.norms_per_block), (256, true, 4));
    assert_eq!((gemma.rope.theta, gemma.rope.local_theta), (1e6, Some(1e4)));
    assert_eq!(gemma.activation, Activation::GeluTanh);
    assert_eq!((0..6).map(|l| gemma.slides(l)).collect::<Vec<_>>(), [true, true, true, true, true, false]);
}

#[test]
fn both_layouts_of_rope_and_dtype_say_the_same() {
    let old = r#""rope_theta": 5e5, "torch_dtype": "bfloat16", "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#;
    let new = r#""dtype": "bfloat16", "rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#;
    assert_eq!(read("llama", old), read("llama", new));
    assert_eq!(read("llama", new).rope.theta, 5e5);
    assert!(matches!(read("llama", new).rope.scaling, RopeScaling::Llama3 { original_max_positions: 8192, .. }));

    let linear = read("llama", r#""rope_scaling": {"type": "linear", "factor": 2}"#).rope.scaling;
    assert_eq!(linear, RopeScaling::Linear { factor: 2.0 });
    let other = read("llama", r#""rope_scaling": {"type": "yarn", "factor": 2}"#).rope.scaling;
    assert_eq!(other, RopeScaling::Other { kind: "yarn".to_owned() });
    let gemma = r#""rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}"#;
    assert_eq!(read("gemma3_text", gemma).rope, read("gemma3_text", "").rope);
}

#[test]
fn longrope_is_read_as_transformers_computes_it() {
    let lists = r#""short_factor": [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5], "long_factor": [2, 3, 4, 5, 6, 7, 8, 9]"#;
    let phi = |more: &str, kind: &str, inside: &str| {
        read("phi3", &format!(r#"{more}"rope_scaling": {{"type": "{kind}", {lists}{inside}}}"#)).rope.scaling
    };
    let long = r#""max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "#;
    let RopeScaling::LongRope { short_factors, long_factors, original_max_positions, attention_factor } =
        phi(long, "longrope", "")
    else {
        panic!("it is longrope");
    };
    assert_eq!((short_factors[1], long_factors[7], original_max_positions), (1.5, 9.0, 4096));
    // sqrt(1 + ln 32 / ln 4096)
    assert!((attention_factor - 1.190_238).abs() < 1e-6, "{attention_factor}");
    assert_eq!(phi(long, "su", ""), phi(long, "longrope", ""), "its older name");
    let factor = |scaling| match scaling {
        RopeScaling::LongRope { attention_factor, .. } => attention_factor,
        other => panic!("{other:?}"),
    };
    assert_eq!(factor(phi("", "longrope", "")), 1.0, "a context that is not stretched");
    assert_eq!(factor(phi(long, "longrope", r#", "attention_factor": 1.25"#)), 1.25);
    // without its lists it is known by name
    let named = read("phi3", r#""rope_scaling": {"type": "longrope"}"#).rope.scaling;
    assert_eq!(named, RopeScaling::Other { kind: "longrope".to_owned() });
    let short = r#""rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]}"#;
    refused(&config("phi3", short), "`short_factor` = 1 numbers cannot be: 8 numbers are needed");
}

#[test]
fn families_differ_where_they_should() {
    let biases = |model_type: &str, more: &str| {
        let a = read(model_type, more);
        [a.qkv_bias, a.o_bias, a.mlp_bias, a.head_bias].map(u8::from)
    };
    assert_eq!(biases("llama", ""), [0, 0, 0, 0]);
    assert_eq!(biases("llama", r#""attention_bias": true, "mlp_bias": true"#), [1, 1, 1, 0]);
    assert_eq!(biases("qwen2", ""), [1, 0, 0, 0]);
    assert_eq!(biases("phi", ""), [1, 1, 1, 1]);
    assert_eq!(biases("gpt_oss", r#""num_local_experts": 4, "num_experts_per_tok": 2"#), [1, 1, 1, 0]);
    assert!(read("qwen3", "").qk_norm && read("phi3", "").fused_linears && !read("phi", "").gated_mlp);
    assert_eq!(read("mistral", "").sliding_window, Some(4096));
    assert_eq!(read("mistral", r#""sliding_window": null"#).sliding_window, None);
    assert_eq!(read("qwen2", r#""sliding_window": 32768, "use_sliding_window": false"#).sliding_window, None);
    let qwen = read("qwen2", r#""sliding_window": 32, "use_sliding_window": true, "max_window_layers": 4"#);
    assert_eq!((qwen.slides(3), qwen.slides(4)), (false, true));
    let listed = r#""layer_types": ["full_attention", "sliding_attention", "full_attention", "full_attention",
        "full_attention", "full_attention"]"#;
    let gemma = read("gemma2", listed);
    assert_eq!((gemma.slides(0), gemma.slides(1), gemma.slides(2), gemma.slides(99)), (false, true, false, false));
}

#[test]
fn a_vision_model_keeps_its_language_model_at_the_top_or_in_text_config() {
    let vision = r#""vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 4, "hidden_size": 64}"#;
    let flat = read("qwen2_vl", vision);
    let text = config("qwen2_vl_text", "");
    let nested = from_json(&format!(r#"{{"model_type": "qwen2_vl", "text_config": {text}, {vision}}}"#)).unwrap();
    assert_eq!(flat, nested);
    assert_eq!(flat.vision.as_ref().unwrap().intermediate, 128);
    refused(&config("qwen2_vl", ""), "`vision_config` is missing");
    refused(&config("qwen2_vl", r#""vision_config": {"hidden_size": 65}"#), "hidden_size = 64");
    refused(r#"{"model_type": "gemma3", "text_config": {}}"#, "`text_config.hidden_size` is missing");
    refused(r#"{"model_type": "newvision", "text_config": {}}"#, "more than a language model");
    refused(
        r#"{"model_type": "deepseek_v3", "hidden_size": 64}"#,
        "`deepseek_v3` is not supported: it has multi-head latent",
    );
}

#[test]
fn an_unknown_type_with_llamas_keys_is_taken_as_such_and_nothing_is_guessed_beyond() {
    let epsilon = r#""rms_norm_eps": 1e-6"#;
    assert_eq!(read("newmodel", epsilon).family, Family::Other);
    assert_eq!(read("newmodel", epsilon).parameters(), read("llama", "").parameters());
    refused(&config("neo", r#""layer_norm_eps": 1e-5"#), "`rms_norm_eps` is missing; a `neo` config needs it");
    refused(r#"{"model_type": "t5", "d_model": 512}"#, "`hidden_size` is missing; a `t5` config needs it");
    refused(
        &config("newmoe", r#""rms_norm_eps": 1e-6, "n_routed_experts": 64"#),
        "it has experts (`n_routed_experts`) whose layout is not known",
    );
    refused(
        &config(
            "qwen3_moe",
            r#""num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "mlp_only_layers": [0]"#,
        ),
        "only some",
    );
    refused(&config("falcon", r#""new_decoder_architecture": true"#), "first layout");
}

#[test]
fn nonsense_is_refused_by_name() {
    // a later key of the same name wins in JSON
    let with = |more: &str| config("llama", more);
    refused("[1]", "a config is an object");
    refused("{", "not a JSON object");
    refused("{}", "`model_type` is missing");
    refused(&with(r#""hidden_size": 0"#), "`hidden_size` = 0 cannot be: it must be at least 1");
    refused(&with(r#""num_attention_heads": 0"#), "`num_attention_heads` = 0");
    refused(&with(r#""num_hidden_layers": 20000"#), "it must be at most 10000");
    refused(&with(r#""num_attention_heads": 5"#), "it must divide hidden_size = 64");
    refused(&with(r#""num_key_value_heads": 3"#), "it must divide num_attention_heads = 4");
    refused(&with(r#""num_key_value_heads": 0"#), "`num_key_value_heads` = 0");
    refused(&with(r#""vocab_size": 18446744073709551615"#), "`vocab_size`");
    refused(&with(r#""hidden_size": -64"#), "`hidden_size` = -64 should be a whole number");
    refused(&with(r#""hidden_size": 64.5"#), "should be a whole number");
    refused(&with(r#""hidden_size": "64""#), "should be a whole number");
    refused(&with(r#""rms_norm_eps": "1e-5""#), "`rms_norm_eps` = \"1e-5\" should be a number");
    refused(&with(r#""rope_theta": 0"#), "`rope_theta` = 0 cannot be");
    refused(&with(r#""rope_scaling": {"type": "linear"}"#), "`rope_scaling.factor` is missing");
    refused(&with(r#""rope_scaling": []"#), "should be an object");
    refused(&with(r#""torch_dtype": "int5""#), "should be float32");
    refused(&config("mixtral", r#""num_local_experts": 8, "num_experts_per_tok": 9"#), "`num_experts_per_tok` = 9");
    let huge = r#""num_experts": 65536, "num_experts_per_tok": 1, "moe_intermediate_size": 16777216, "hidden_size": 1048576, "head_dim": 128,
        "num_hidden_layers": 10000"#;
    refused(&config("qwen3_moe", huge), "parameters");
}

#[test]
fn the_catalogs_llama_is_read_as_published() {
    let llama = catalog::get("llama-3.1-8b").unwrap();
    assert_eq!((llama.norm_epsilon, llama.rope.theta, llama.dtype), (1e-5, 5e5, Dtype::Bf16));
    assert!(matches!(llama.rope.scaling, RopeScaling::Llama3 { factor: 8.0, .. }));
    let shapes: Vec<String> =
        llama.block_linears().iter().map(|l| format!("{} {}x{}", l.module, l.out_features, l.in_features)).collect();
    insta::assert_snapshot!(shapes.join("\n"), @r"
    self_attn.q_proj 4096x4096
    self_attn.k_proj 1024x4096
    self_attn.v_proj 1024x4096
    self_attn.o_proj 4096x4096
    mlp.gate_proj 14336x4096
    mlp.up_proj 14336x4096
    mlp.down_proj 4096x14336
    ");
}

fn figure() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..200, Just(u64::MAX), Just(1u64 << 63), any::<u64>(), 0u64..70_000]
}

proptest! {
    #[test]
    fn no_figure_overflows(
        f in prop::collection::vec(figure(), 8),
        kind in prop::sample::select(vec!["llama", "phi3", "falcon", "phi", "mixtral", "qwen3_moe", "gpt_oss", "gemma2", "x"]),
    ) {
        let text = format!(
            r#"{{"model_type": "{kind}", "hidden_size": {}, "num_hidden_layers": {}, "num_attention_heads": {},
                "num_key_value_heads": {}, "intermediate_size": {}, "vocab_size": {}, "num_local_experts": {},
                "num_experts_per_tok": 1, "rms_norm_eps": 1e-6, "moe_intermediate_size": {}}}"#,
            f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
        );
        if let Ok(a) = from_json(&text) {
            prop_assert!(a.parameters() < u64::MAX / 8);
        }
        // one built by hand is not checked, and still must not overflow
        let mut hand = read("llama", "");
        hand.layers = f[1];
        hand.hidden = f[0];
        hand.heads = f[2];
        hand.vocab = f[5];
        hand.tied_embeddings = f[6] % 2 == 0;
        hand.head_bias = f[7] % 2 == 0;
        hand.parameters();
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = from_json(&text);
    }
}
