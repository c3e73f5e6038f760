"""Models beside those of make.py, each entry with its source: `python more.py` writes them to `models/`.

`parameters` is kept from the file that is there; for a new model it is 0 until the count is known (the catalog's test says it).
"""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
LITGPT = "litgpt 0.5.13, litgpt/config.py"
TRANSFORMERS = "transformers 5.23, the config class's defaults, which are this model's"
CLASS = "transformers 5.23, the config class's default"
TORCHTUNE = "torchtune 0.6.1, torchtune/models/*/_model_builders.py"
MAXTEXT = "maxtext 0.2.5, maxtext/configs/models/"
COPY = "the published config.json, as copied in a public repository"
RECALLED = "the published config.json, recalled, not re-verified"

MODELS = {}


def model(short, hf_id, config, shapes, aliases=(), notes=None, published=None, **sources):
    """`config` has config.json's keys; `sources` says where keys come from that `shapes` does not cover."""
    entry = {"name": short, "hf_id": hf_id, "aliases": list(aliases), "config": config, "parameters": 0}
    if published:
        entry["parameters_published"] = published
        sources["parameters_published"] = "the count that the hub shows for the weights, recalled, not re-verified"
    if notes:
        entry["notes"] = notes
    MODELS[short] = entry | {"sources": {"shapes": shapes} | sources}


def llama(hidden, layers, heads, kv, inside, vocab, context, theta=10000.0, epsilon=1e-5, tied=False, kind="llama", **more):
    return {
        "model_type": kind, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": inside, "vocab_size": vocab, "max_position_embeddings": context,
        "rope_theta": theta, "rms_norm_eps": epsilon, "tie_word_embeddings": tied, "torch_dtype": "bfloat16",
    } | more


# Llama's layout

LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192}
model("llama-7b", "huggyllama/llama-7b", llama(4096, 32, 32, 32, 11008, 32000, 2048, epsilon=1e-6, torch_dtype="float16"),
      TRANSFORMERS, ["llama-1-7b"], published=6738415616)
model("llama-3.1-405b", "meta-llama/Meta-Llama-3.1-405B",
      llama(16384, 126, 128, 8, 53248, 128256, 131072, 500000.0, rope_scaling=LLAMA3_ROPE), LITGPT,
      ["llama3.1-405b", "meta-llama/Meta-Llama-3.1-405B-Instruct", "meta-llama/Llama-3.1-405B-Instruct",
       "hugging-quants/Meta-Llama-3.1-405B-BNB-NF4-BF16"], published=405853388800)
model("codellama-7b", "codellama/CodeLlama-7b-hf", llama(4096, 32, 32, 32, 11008, 32016, 16384, 1e6), LITGPT,
      ["codellama/CodeLlama-7b-Instruct-hf"], published=6738546688)
model("codellama-13b", "codellama/CodeLlama-13b-hf", llama(5120, 40, 40, 40, 13824, 32016, 16384, 1e6), LITGPT,
      ["codellama/CodeLlama-13b-Instruct-hf"], published=13016028160)
model("yi-34b", "01-ai/Yi-34B", llama(7168, 60, 56, 8, 20480, 64000, 4096, 5e6), COPY + " (Yi-1.5-34B, of the same shapes)",
      ["01-ai/Yi-34B-Chat"], published=34388917248)
model("open-llama-3b-v2", "openlm-research/open_llama_3b_v2",
      llama(3200, 26, 32, 32, 8640, 32000, 2048, epsilon=1e-6, torch_dtype="float16"), LITGPT + " (open_llama_3b, of the same shapes)",
      ["open-llama-3b", "openlm-research/open_llama_3b"])
model("orpheus-3b-0.1-pretrained", "canopylabs/orpheus-3b-0.1-pretrained",
      llama(3072, 28, 24, 8, 8192, 156940, 131072, 500000.0, tied=True, head_dim=128, rope_scaling=LLAMA3_ROPE | {"factor": 32.0}),
      "mlx-audio, tests of its Llama text-to-speech model (the published config.json)",
      ["canopylabs/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-pretrained"])
model("seed-oss-36b-instruct", "ByteDance-Seed/Seed-OSS-36B-Instruct",
      llama(5120, 64, 80, 8, 27648, 155136, 524288, 1e7, 1e-6, kind="seed_oss", head_dim=128, attention_bias=True,
            attention_out_bias=False, mlp_bias=False), COPY, published=36151104512, biases=CLASS)
model("ernie-4.5-0.3b-pt", "baidu/ERNIE-4.5-0.3B-PT",
      llama(1024, 18, 16, 2, 3072, 103424, 131072, 500000.0, tied=True, kind="ernie4_5", head_dim=128), TRANSFORMERS,
      published=360748032)
model("afm-4.5b", "arcee-ai/AFM-4.5B",
      llama(2560, 36, 20, 4, 18432, 128004, 65536, kind="arcee", head_dim=128, hidden_act="relu2",
            rope_scaling={"rope_type": "yarn", "factor": 20.0, "original_max_position_embeddings": 4096}), COPY)

# Mistral's

MISTRAL = dict(kind="mistral", sliding_window=None)
model("mistral-7b-v0.1", "mistralai/Mistral-7B-v0.1",
      llama(4096, 32, 32, 8, 14336, 32000, 32768, kind="mistral", sliding_window=4096), LITGPT,
      ["mistralai/Mistral-7B-Instruct-v0.1", "unsloth/mistral-7b"], published=7241732096)
model("mistral-7b-instruct-v0.2", "mistralai/Mistral-7B-Instruct-v0.2", llama(4096, 32, 32, 8, 14336, 32000, 32768, 1e6, **MISTRAL),
      LITGPT, ["mistral-7b-v0.2", "unsloth/mistral-7b-instruct-v0.2", "unsloth/Mistral-7B-v0.2"], published=7241732096)
model("mixtral-8x22b-v0.1", "mistralai/Mixtral-8x22B-v0.1",
      llama(6144, 56, 48, 8, 16384, 32768, 65536, 1e6, kind="mixtral", num_local_experts=8, num_experts_per_tok=2), LITGPT,
      ["mixtral-8x22b", "mistralai/Mixtral-8x22B-Instruct-v0.1"])
model("mixtral-8x22b-community", "mistral-community/Mixtral-8x22B-v0.1",
      llama(6144, 56, 48, 8, 16384, 32000, 65536, 1e6, kind="mixtral", num_local_experts=8, num_experts_per_tok=2),
      LITGPT + " (Mixtral-8x22B-v0.1), but for the vocabulary", published=140620634112, vocabulary=RECALLED)
SMALL = llama(5120, 40, 32, 8, 32768, 131072, 131072, 1e9, head_dim=128, **MISTRAL)
PIXTRAL = {"model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
           "num_attention_heads": 16, "num_channels": 3, "image_size": 1540, "patch_size": 14}


def mistral3(text):
    return {"model_type": "mistral3", "text_config": text, "vision_config": PIXTRAL, "multimodal_projector_bias": False,
            "spatial_merge_size": 2, "vision_feature_layer": -1, "tie_word_embeddings": text["tie_word_embeddings"],
            "torch_dtype": "bfloat16"}


model("mistral-small-3.1-24b-instruct-2503", "mistralai/Mistral-Small-3.1-24B-Instruct-2503", mistral3(SMALL), COPY,
      ["mistral-small-3.1", "unsloth/Mistral-Small-3.1-24B-Instruct-2503", "mistralai/Magistral-Small-2509"], published=24011361280,
      names="the model cards: built on Mistral Small 3.1 and 3.2, with its vision tower")
model("magistral-small-2506", "mistralai/Magistral-Small-2506", SMALL,
      COPY + " (the language model of Mistral Small 3.1, which it is built on)",
      ["mistralai/Magistral-Small-2507", "mistralai/Devstral-Small-2505", "mistralai/Devstral-Small-2507"], published=23572403200)
model("ministral-3-3b-reasoning-2512", "mistralai/Ministral-3-3B-Reasoning-2512",
      mistral3(llama(3072, 26, 32, 8, 9216, 131072, 262144, 1e6, tied=True, head_dim=128, kind="ministral3", sliding_window=None)),
      COPY, ["ministral-3-3b", "mistralai/Ministral-3-3B-Instruct-2512", "mistralai/Ministral-3-3B-Base-2512"])

model("ministral-8b-instruct-2410", "mistralai/Ministral-8B-Instruct-2410",
      llama(4096, 36, 32, 8, 12288, 131072, 32768, 1e8, kind="mistral", head_dim=128, sliding_window=32768),
      "the published config.json, recalled; it counts to the published number exactly", published=8019808256)
model("pixtral-12b", "mistral-community/pixtral-12b",
      {"model_type": "llava", "text_config": llama(5120, 40, 32, 8, 14336, 131072, 1024000, 1e9, head_dim=128, **MISTRAL),
       "vision_config": PIXTRAL | {"image_size": 1024, "patch_size": 16}, "multimodal_projector_bias": True,
       "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
      "Mistral Nemo's published config.json, recalled; it counts to the published 12247782400 exactly", vision=TRANSFORMERS)

# Qwen's

model("qwen2-1.5b", "Qwen/Qwen2-1.5B", llama(1536, 28, 12, 2, 8960, 151936, 32768, 1e6, 1e-6, tied=True, kind="qwen2"), TORCHTUNE,
      ["Qwen/Qwen2-1.5B-Instruct"], published=1543714304)
model("qwen2-7b", "Qwen/Qwen2-7B", llama(3584, 28, 28, 4, 18944, 152064, 32768, 1e6, 1e-6, kind="qwen2"), TORCHTUNE,
      ["Qwen/Qwen2-7B-Instruct"], published=7615616512)
model("qwen3-4b-instruct-2507", "Qwen/Qwen3-4B-Instruct-2507",
      llama(2560, 36, 32, 8, 9728, 151936, 262144, 5e6, 1e-6, tied=True, kind="qwen3", head_dim=128), LITGPT,
      ["Qwen/Qwen3-4B-Thinking-2507", "unsloth/Qwen3-4B-Instruct-2507"], published=4022468096)
model("qwen3-32b", "Qwen/Qwen3-32B", llama(5120, 64, 64, 8, 25600, 151936, 40960, 1e6, 1e-6, kind="qwen3", head_dim=128), LITGPT,
      ["unsloth/Qwen3-32B"], published=32762123264)


def qwen3_moe(hidden, layers, heads, inside, expert, context, theta):
    return llama(hidden, layers, heads, 4, inside, 151936, context, theta, 1e-6, kind="qwen3_moe", head_dim=128, num_experts=128,
                 num_experts_per_tok=8, moe_intermediate_size=expert)


model("qwen3-30b-a3b-instruct-2507", "Qwen/Qwen3-30B-A3B-Instruct-2507", qwen3_moe(2048, 48, 32, 6144, 768, 262144, 1e7), LITGPT,
      ["Qwen/Qwen3-30B-A3B-Thinking-2507", "unsloth/Qwen3-30B-A3B-Instruct-2507"], published=30532122624)
model("qwen3-235b-a22b-instruct-2507", "Qwen/Qwen3-235B-A22B-Instruct-2507", qwen3_moe(4096, 94, 64, 12288, 1536, 262144, 5e6),
      LITGPT, ["Qwen/Qwen3-235B-A22B-Thinking-2507"], published=235093634560)
model("qwen1.5-moe-a2.7b", "Qwen/Qwen1.5-MoE-A2.7B",
      llama(2048, 24, 16, 16, 5632, 151936, 8192, 1e6, 1e-6, kind="qwen2_moe", num_experts=60, num_experts_per_tok=4,
            moe_intermediate_size=1408, shared_expert_intermediate_size=5632, use_sliding_window=False), TRANSFORMERS,
      ["Qwen/Qwen1.5-MoE-A2.7B-Chat"], published=14315784192, context=RECALLED, rope=COPY)


def qwen_vision(depth, hidden, inside, out, deepstack):
    return {"depth": depth, "hidden_size": hidden, "intermediate_size": inside, "num_heads": 16, "in_channels": 3, "patch_size": 16,
            "temporal_patch_size": 2, "spatial_merge_size": 2, "num_position_embeddings": 2304, "out_hidden_size": out,
            "deepstack_visual_indexes": deepstack}


def parts(kind, text, vision):
    return {"model_type": kind, "tie_word_embeddings": text["tie_word_embeddings"], "text_config": text, "vision_config": vision,
            "torch_dtype": "bfloat16"}


model("qwen2.5-vl-7b-instruct", "Qwen/Qwen2.5-VL-7B-Instruct",
      llama(3584, 28, 28, 4, 18944, 152064, 128000, 1e6, 1e-6, kind="qwen2_5_vl", use_sliding_window=False,
            rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
            vision_config={"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3,
                           "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
                           "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]}),
      COPY, ["qwen2.5-vl-7b", "unsloth/Qwen2.5-VL-7B-Instruct"], published=8292166656, vision=CLASS + ", but for the width (recalled)")
model("qwen3-vl-4b-instruct", "Qwen/Qwen3-VL-4B-Instruct",
      parts("qwen3_vl", llama(2560, 36, 32, 8, 9728, 151936, 262144, 5e6, 1e-6, tied=True, kind="qwen3_vl_text", head_dim=128,
                              rope_scaling={"rope_type": "default", "mrope_section": [24, 20, 20]}),
            qwen_vision(24, 1024, 4096, 2560, [5, 11, 17])), COPY, ["qwen3-vl-4b", "unsloth/Qwen3-VL-4B-Instruct"], published=4437815808)
model("qwen3-vl-30b-a3b-instruct", "Qwen/Qwen3-VL-30B-A3B-Instruct",
      parts("qwen3_vl_moe", qwen3_moe(2048, 48, 32, 6144, 768, 262144, 5e6) | {
          "model_type": "qwen3_vl_moe_text", "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20]}},
          qwen_vision(27, 1152, 4304, 2048, [8, 16, 24])), MAXTEXT + "qwen3-vl-30b-a3b.yml", ["qwen3-vl-30b-a3b"])


def qwen35(hidden, layers, heads, kv, values, tied=False, **more):
    moe = "num_experts" in more
    text = {"model_type": "qwen3_5_moe_text" if moe else "qwen3_5_text", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": 256, "vocab_size": 248320,
            "max_position_embeddings": 262144, "rms_norm_eps": 1e-6, "tie_word_embeddings": tied, "full_attention_interval": 4,
            "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
            "linear_num_value_heads": values,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_section": [11, 11, 10]},
            } | more
    vision = qwen_vision(24, 1024, 4096, hidden, []) if hidden == 2560 else qwen_vision(27, 1152, 4304, hidden, [])
    return parts("qwen3_5_moe" if moe else "qwen3_5", text, vision)


def experts(count, per_token, width):
    return {"num_experts": count, "num_experts_per_tok": per_token, "moe_intermediate_size": width,
            "shared_expert_intermediate_size": width}


QWEN35 = "a public repository's table of the Qwen 3.5 models, from their published config.json"
model("qwen3.5-4b", "Qwen/Qwen3.5-4B", qwen35(2560, 32, 16, 4, 32, True, intermediate_size=9216), COPY, ["unsloth/Qwen3.5-4B"])
model("qwen3.5-9b", "Qwen/Qwen3.5-9B", qwen35(4096, 32, 16, 4, 32, intermediate_size=12288), TRANSFORMERS, ["unsloth/Qwen3.5-9B"],
      shapes_again=QWEN35)
model("qwen3.5-27b", "Qwen/Qwen3.5-27B", qwen35(5120, 64, 24, 4, 48, intermediate_size=17408), QWEN35, ["Qwen/Qwen3.8-27B", "unsloth/Qwen3.5-27B"],
      names="a public repository checks that Qwen3.8-27B has the same shapes")
model("qwen3.5-35b-a3b", "Qwen/Qwen3.5-35B-A3B", qwen35(2048, 40, 16, 2, 32, **experts(256, 8, 512)), MAXTEXT + "qwen3.5-35b-a3b.yml",
      ["Qwen/Qwen3.5-35B-A3B-Base", "unsloth/Qwen3.5-35B-A3B"], shapes_again=QWEN35)
model("qwen3.5-122b-a10b", "Qwen/Qwen3.5-122B-A10B", qwen35(3072, 48, 32, 2, 64, **experts(256, 8, 1024)), QWEN35,
      linear_attention="value heads: the table's default")
model("qwen3.5-397b-a17b", "Qwen/Qwen3.5-397B-A17B", qwen35(4096, 60, 32, 2, 64, **experts(512, 10, 1024)),
      MAXTEXT + "qwen3.5-397b-a17b.yml", shapes_again=QWEN35)

model("qwen3-next-80b-a3b-instruct", "Qwen/Qwen3-Next-80B-A3B-Instruct",
      llama(2048, 48, 16, 2, 5120, 151936, 262144, 1e7, 1e-6, kind="qwen3_next", head_dim=256, partial_rotary_factor=0.25,
            full_attention_interval=4, linear_conv_kernel_dim=4, linear_key_head_dim=128, linear_value_head_dim=128,
            linear_num_key_heads=16, linear_num_value_heads=32, **experts(512, 10, 512)), MAXTEXT + "qwen3-next-80b-a3b.yml",
      ["Qwen/Qwen3-Next-80B-A3B-Thinking", "nvidia/Qwen3-Next-80B-A3B-Instruct-NVFP4"],
      notes="counted without the layer that predicts a further token")
COUNTS = "the published config.json, recalled; it counts to the published number exactly"
model("qwen-7b", "Qwen/Qwen-7B",
      {"model_type": "qwen", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 22016,
       "vocab_size": 151936, "seq_length": 8192, "layer_norm_epsilon": 1e-6, "rotary_emb_base": 10000, "tie_word_embeddings": False,
       "torch_dtype": "bfloat16"}, COUNTS, ["Qwen/Qwen-7B-Chat"], published=7721324544)

# Gemma's

model("gemma-7b", "google/gemma-7b", llama(3072, 28, 16, 16, 24576, 256000, 8192, epsilon=1e-6, tied=True, kind="gemma", head_dim=256),
      LITGPT, ["gemma-7b-it", "google/gemma-7b-it", "mhenrichsen/gemma-7b", "unsloth/gemma-7b"], published=8537680896, shapes_again=TRANSFORMERS)
SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
          "num_attention_heads": 16, "num_channels": 3, "image_size": 896, "patch_size": 14}


def gemma3(hidden, layers, heads, kv, head_dim, inside, scalar):
    text = llama(hidden, layers, heads, kv, inside, 262208, 131072, 1e6, 1e-6, True, "gemma3_text", head_dim=head_dim,
                 sliding_window=1024, sliding_window_pattern=6, rope_local_base_freq=10000.0, query_pre_attn_scalar=scalar,
                 rope_scaling={"rope_type": "linear", "factor": 8.0})
    return parts("gemma3", text, SIGLIP) | {"mm_tokens_per_image": 256}


for short, shapes, count in [("gemma-3-4b-it", (2560, 34, 8, 4, 256, 10240, 256), 4300079472),
                             ("gemma-3-12b-it", (3840, 48, 16, 8, 256, 15360, 256), 12187325040),
                             ("gemma-3-27b-it", (5376, 62, 32, 16, 128, 21504, 168), 27432406640)]:
    model(short, f"google/{short}", gemma3(*shapes), LITGPT, [f"google/{short[:-2]}pt", f"unsloth/{short}"], published=count,
          vocabulary=COPY + " (gemma-3-4b)", vision=RECALLED)

# Phi's

model("phi-1_5", "microsoft/phi-1_5",
      {"model_type": "phi", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "intermediate_size": 8192,
       "vocab_size": 51200, "max_position_embeddings": 2048, "partial_rotary_factor": 0.5, "layer_norm_eps": 1e-5,
       "tie_word_embeddings": False, "torch_dtype": "float16"}, LITGPT, ["phi-1.5"], published=1418270720)
model("phi-3.5-mini-instruct", "microsoft/Phi-3.5-mini-instruct",
      llama(3072, 32, 32, 32, 8192, 32064, 131072, kind="phi3", sliding_window=262144, rope_scaling={"rope_type": "longrope"}), LITGPT,
      ["phi-3.5-mini", "unsloth/Phi-3.5-mini-instruct"], published=3821079552, context=RECALLED)

# GPT-OSS without its quantization

model("gpt-oss-120b-dequantized", "axolotl-ai-co/gpt-oss-120b-dequantized", {
    key: value for key, value in json.loads((HERE / "models" / "gpt-oss-120b.json").read_text())["config"].items()
    if key != "quantization_config"}, "gpt-oss-120b.json; the name says that the experts are not quantized")

# other layouts

model("hunyuan-0.5b-instruct", "tencent/Hunyuan-0.5B-Instruct",
      llama(1024, 24, 16, 8, 3584, 120818, 262144, tied=True, kind="hunyuan_v1_dense", head_dim=128,
            rope_scaling={"type": "dynamic", "alpha": 1000.0, "factor": 1.0}), COUNTS, ["tencent/Hunyuan-0.5B-Pretrain"], published=539010048)
model("mimo-7b-rl", "XiaomiMiMo/MiMo-7B-RL",
      llama(4096, 36, 32, 8, 11008, 151680, 32768, 640000.0, kind="mimo", head_dim=128, use_sliding_window=False),
      COPY + " (of MiMo's speech recognition model, built on it)", ["XiaomiMiMo/MiMo-7B-Base", "XiaomiMiMo/MiMo-7B-SFT"],
      notes="counted without the layer that predicts a further token", context=RECALLED)
model("cerebras-gpt-1.3b", "cerebras/Cerebras-GPT-1.3B",
      {"model_type": "gpt2", "n_embd": 2048, "n_layer": 24, "n_head": 16, "n_inner": 8192, "n_positions": 2048, "vocab_size": 50257,
       "activation_function": "gelu", "layer_norm_epsilon": 1e-5, "torch_dtype": "float32"}, COUNTS, published=1315723264)
model("mpt-7b", "mosaicml/mpt-7b",
      {"model_type": "mpt", "d_model": 4096, "n_heads": 32, "n_layers": 32, "max_seq_len": 2048, "vocab_size": 50432, "no_bias": True,
       "attn_config": {"alibi": True}, "torch_dtype": "bfloat16"}, COUNTS, ["mosaicml/mpt-7b-instruct", "mosaicml/mpt-7b-chat"],
      published=6649286656)
model("apertus-8b-instruct-2509", "swiss-ai/Apertus-8B-Instruct-2509",
      llama(4096, 32, 32, 8, 21504, 131072, 65536, 12e6, kind="apertus", hidden_act="xielu", rope_scaling=LLAMA3_ROPE), COPY,
      ["swiss-ai/Apertus-8B-2509"])
model("olmo-3-7b-instruct-sft", "allenai/Olmo-3-7B-Instruct-SFT",
      llama(4096, 32, 32, 32, 11008, 100278, 65536, 500000.0, 1e-6, kind="olmo3", sliding_window=4096,
            rope_scaling={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192}), MAXTEXT + "olmo3-7b.yml",
      ["allenai/Olmo-3-7B-Instruct", "allenai/Olmo-3-1025-7B"], published=7298011136)
model("nemotron-mini-4b-instruct", "nvidia/Nemotron-Mini-4B-Instruct",
      {"model_type": "nemotron", "hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 24, "num_key_value_heads": 8,
       "head_dim": 128, "intermediate_size": 9216, "vocab_size": 256000, "max_position_embeddings": 4096, "norm_eps": 1e-5,
       "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "hidden_act": "relu2", "tie_word_embeddings": False,
       "torch_dtype": "bfloat16"}, "TensorRT-LLM, tests of its Nemotron model (the published config.json)")
model("glm-4-32b-0414", "THUDM/GLM-4-32B-0414",
      llama(6144, 61, 48, 2, 23040, 151552, 32768, kind="glm4", head_dim=128, partial_rotary_factor=0.5, attention_bias=False),
      "a public repository's table of the GLM-4 models, from their published config.json", ["zai-org/GLM-4-32B-0414"], biases=RECALLED,
      heads=CLASS + " (keys and values)")
model("glm-4.5-air", "zai-org/GLM-4.5-Air",
      llama(4096, 46, 96, 8, 10944, 151552, 131072, 1e6, kind="glm4_moe", head_dim=128, partial_rotary_factor=0.5, attention_bias=True,
            use_qk_norm=False, n_routed_experts=128, num_experts_per_tok=8, moe_intermediate_size=1408, n_shared_experts=1,
            first_k_dense_replace=1), TRANSFORMERS, notes="counted without the layer that predicts a further token",
      biases=RECALLED, head_width=RECALLED)
model("minimax-m2", "MiniMaxAI/MiniMax-M2",
      llama(3072, 62, 48, 8, 1536, 200064, 196608, 5e6, 1e-6, kind="minimax_m2", head_dim=128, rotary_dim=64, num_local_experts=256,
            num_experts_per_tok=8), TRANSFORMERS, notes="counted without the layers that predict further tokens")
model("command-r7b-12-2024", "CohereForAI/c4ai-command-r7b-12-2024",
      {"model_type": "cohere2", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
       "head_dim": 128, "intermediate_size": 14336, "vocab_size": 256000, "max_position_embeddings": 8192, "sliding_window": 4096,
       "sliding_window_pattern": 4, "layer_norm_eps": 1e-5, "rope_theta": 50000.0, "tie_word_embeddings": True,
       "torch_dtype": "bfloat16"}, "a public repository's table of Cohere's models, from their published config.json",
      ["CohereLabs/c4ai-command-r7b-12-2024"], rope=RECALLED)
model("starcoder2-3b", "bigcode/starcoder2-3b",
      {"model_type": "starcoder2", "hidden_size": 3072, "num_hidden_layers": 30, "num_attention_heads": 24, "num_key_value_heads": 2,
       "intermediate_size": 12288, "vocab_size": 49152, "max_position_embeddings": 16384, "sliding_window": 4096, "norm_epsilon": 1e-5,
       "use_bias": True, "rope_theta": 999999.4420358813, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}, TRANSFORMERS,
      published=3030371328, shapes_again="a public repository's table of the shapes of its weights", context=RECALLED)
model("stablelm-2-1_6b", "stabilityai/stablelm-2-1_6b",
      {"model_type": "stablelm", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32,
       "intermediate_size": 5632, "vocab_size": 100352, "max_position_embeddings": 4096, "layer_norm_eps": 1e-5, "use_qkv_bias": True,
       "partial_rotary_factor": 0.25, "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
      COPY + " (of its chat model)", ["stabilityai/stablelm-2-zephyr-1_6b"], published=1644515328, mlp=RECALLED)


def neox(hidden, layers, heads, vocab, **more):
    return {"model_type": "gpt_neox", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": 4 * hidden, "vocab_size": vocab, "max_position_embeddings": 2048, "rotary_pct": 0.25,
            "layer_norm_eps": 1e-5, "use_parallel_residual": True, "tie_word_embeddings": False, "torch_dtype": "float16"} | more


model("pythia-1.4b", "EleutherAI/pythia-1.4b", neox(2048, 24, 16, 50304), LITGPT, ["EleutherAI/pythia-1.4b-deduped"], published=1414647808)
model("pythia-12b", "EleutherAI/pythia-12b", neox(5120, 36, 40, 50688), LITGPT, ["EleutherAI/pythia-12b-deduped"], published=11846072320)
model("redpajama-incite-3b", "togethercomputer/RedPajama-INCITE-Base-3B-v1",
      neox(2560, 32, 32, 50432, rotary_pct=1.0, use_parallel_residual=False), "MLC-LLM, mlc-chat-config.json of RedPajama-INCITE-3B",
      ["togethercomputer/RedPajama-INCITE-Chat-3B-v1", "togethercomputer/RedPajama-INCITE-Instruct-3B-v1"])
model("gpt-j-6b", "EleutherAI/gpt-j-6b",
      {"model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16, "n_inner": None, "n_positions": 2048, "rotary_dim": 64,
       "vocab_size": 50400, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": False, "torch_dtype": "float32"}, TRANSFORMERS, ["gptj-6b"],
      published=6050882784)
model("dbrx-base", "databricks/dbrx-base",
      {"model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40, "max_seq_len": 32768, "vocab_size": 100352,
       "attn_config": {"kv_n_heads": 8, "clip_qkv": 8, "rope_theta": 500000},
       "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4}, "tie_word_embeddings": False,
       "torch_dtype": "bfloat16"}, COPY, ["databricks/dbrx-instruct"], published=131596523520)
model("llava-1.5-7b", "llava-hf/llava-1.5-7b-hf",
      {"model_type": "llava", "text_config": llama(4096, 32, 32, 32, 11008, 32064, 4096, torch_dtype="float16"),
       "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                         "num_attention_heads": 16, "image_size": 336, "patch_size": 14},
       "multimodal_projector_bias": True, "tie_word_embeddings": False, "torch_dtype": "float16"}, TRANSFORMERS,
      published=7063427072, vocabulary=RECALLED)


def main():
    for short, entry in MODELS.items():
        path = HERE / "models" / f"{short}.json"
        if path.exists():
            entry["parameters"] = json.loads(path.read_text())["parameters"]
        path.write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
