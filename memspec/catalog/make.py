"""Turns collected facts (models.json) into the catalog: `python make.py MODELS.json`.

What the collected facts lack (RoPE, norm epsilon, dtype, other names) is in the tables below, each with its source.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
LITGPT = "https://github.com/Lightning-AI/litgpt/blob/26857050fe3ff627cd714fe92f5838f51a3d5efa/litgpt/config.py"
TRANSFORMERS = "transformers 4.57, models/*/configuration_*.py: the class's default"
RECALLED = "the published config.json, recalled, not re-verified"

MODEL_TYPE = [
    ("phi-2", "phi"), ("phi-", "phi3"), ("qwen2-vl", "qwen2_vl"), ("qwen2.5", "qwen2"), ("qwen3-30b", "qwen3_moe"),
    ("qwen3", "qwen3"), ("mistral", "mistral"), ("mixtral", "mixtral"), ("gemma-2", "gemma2"), ("gemma-3", "gemma3_text"),
    ("gpt-oss", "gpt_oss"), ("falcon", "falcon"), ("", "llama"),
]

# RoPE's base and the norms' epsilon where litgpt's entry of the model names them (its defaults: 10000 and 1e-5)
ROPE_THETA = {
    "meta-llama-3-8b": 500000.0, "meta-llama-3-70b": 500000.0, "llama-3.1-8b": 500000.0, "llama-3.2-1b": 500000.0,
    "llama-3.2-3b": 500000.0, "qwen2.5": 1000000.0, "smollm2-1.7b": 130000.0, "smollm2": 100000.0, "mistral": 1000000.0,
    "mixtral": 1000000.0, "gemma-3-1b": 1000000.0, "phi-4": 250000.0, "qwen3": 1000000.0, "codellama": 1000000.0,
}
EPSILON = {"qwen2.5-14b": 1e-5, "qwen2.5-32b": 1e-5, "qwen2.5-72b": 1e-5, "qwen2.5": 1e-6, "qwen3": 1e-6}
LLAMA3_FACTOR = {"llama-3.1-8b": 8.0, "llama-3.2-1b": 32.0, "llama-3.2-3b": 32.0}
DTYPE = {"llama-2-7b": "float16", "phi-2": "float16", "gemma-2-2b": "float32", "gemma-2-9b": "float32"}

# names of models with the same config, and short names in use
ALIASES = {
    "phi-3-mini-4k-instruct": ["phi3-mini"],
    "meta-llama-3-8b": ["llama3-8b", "llama-3-8b", "meta-llama/Meta-Llama-3-8B-Instruct", "NousResearch/Meta-Llama-3-8B",
                        "NousResearch/Meta-Llama-3-8B-Instruct", "unsloth/llama-3-8b", "unsloth/llama-3-8b-Instruct",
                        "TechxGenus/Meta-Llama-3-8B-Instruct-GPTQ", "TechxGenus/Meta-Llama-3-8B-Instruct-AWQ", "ISTA-DASLab/Meta-Llama-3-8B-Instruct-AQLM-2Bit-1x16"],
    "meta-llama-3-70b": ["llama3-70b", "llama-3-70b", "meta-llama/Meta-Llama-3-70B-Instruct",
                        "casperhansen/llama-3-70b-fp16"],
    "llama-3.1-8b": ["llama3.1-8b", "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B",
                     "meta-llama/Meta-Llama-3.1-8B-Instruct", "NousResearch/Meta-Llama-3.1-8B", "unsloth/Meta-Llama-3.1-8B",
                     "unsloth/Meta-Llama-3.1-8B-Instruct",
                        "neuralmagic/Sparse-Llama-3.1-8B-2of4"],
    "llama-3.2-1b": ["llama3.2-1b", "meta-llama/Llama-3.2-1B-Instruct", "NousResearch/Llama-3.2-1B", "unsloth/Llama-3.2-1B",
                     "unsloth/Llama-3.2-1B-Instruct"],
    "llama-3.2-3b": ["llama3.2-3b", "meta-llama/Llama-3.2-3B-Instruct", "unsloth/Llama-3.2-3B", "unsloth/Llama-3.2-3B-Instruct",
                        "deepcogito/cogito-v1-preview-llama-3B"],
    "llama-2-7b": ["llama2-7b", "meta-llama/Llama-2-7b-chat-hf", "NousResearch/Llama-2-7b-hf",
                        "TheBloke/Llama-2-7B-GPTQ"],
    "qwen2.5-0.5b": ["Qwen/Qwen2.5-0.5B-Instruct", "unsloth/Qwen2.5-0.5B"],
    "qwen2.5-3b": ["Qwen/Qwen2.5-3B-Instruct", "unsloth/Qwen2.5-3B"],
    "qwen2.5-7b-instruct": ["qwen2.5-7b", "Qwen/Qwen2.5-7B"],
    "smollm2-135m": ["HuggingFaceTB/SmolLM2-135M-Instruct"],
    "smollm2-360m": ["HuggingFaceTB/SmolLM2-360M-Instruct"],
    "smollm2-1.7b": ["HuggingFaceTB/SmolLM2-1.7B-Instruct"],
    "tinyllama-1.1b": ["tinyllama",
                        "TinyLlama/TinyLlama_v1.1"],
    "mistral-7b-v0.3": ["mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3", "unsloth/mistral-7b-v0.3"],
    "mixtral-8x7b-v0.1": ["mixtral-8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1"],
    "gemma-2-2b": ["gemma2-2b", "google/gemma-2-2b-it", "unsloth/gemma-2-2b"],
    "gemma-2-9b": ["gemma2-9b", "google/gemma-2-9b-it", "unsloth/gemma-2-9b"],
    "gemma-3-1b-it": ["gemma3-1b", "gemma-3-1b", "google/gemma-3-1b-pt", "unsloth/gemma-3-1b-it"],
    "gemma-3-270m": ["gemma3-270m", "google/gemma-3-270m-it", "unsloth/gemma-3-270m-it"],
    "phi-4": ["phi4"],
    "phi-2": ["phi2"],
    "codellama-34b": ["codellama/CodeLlama-34b-Instruct-hf"],
    "falcon-7b": ["tiiuae/falcon-7b-instruct"],
    "gpt-oss-20b": ["unsloth/gpt-oss-20b",
                        "openai/gpt-oss-safeguard-20b"],
    "gpt-oss-120b": ["unsloth/gpt-oss-120b"],
    "qwen2.5-1.5b": ["Qwen/Qwen2.5-1.5B-Instruct"],
    "qwen2.5-14b": ["Qwen/Qwen2.5-14B-Instruct", "agentica-org/DeepCoder-14B-Preview", "deepcogito/cogito-v1-preview-qwen-14B"],
    "qwen3-8b": ["Skywork/Skywork-Reward-V2-Qwen3-8B"],
    "qwen3-30b-a3b": ["nvidia/Qwen3-30B-A3B-NVFP4"],
    "qwen2-vl-7b-instruct": ["qwen2-vl-7b", "Qwen/Qwen2-VL-7B", "unsloth/Qwen2-VL-7B-Instruct"],
}


# how the facts were collected says nothing to a reader of the catalog
WORDING = [
    (r"(?i)not re-verified in this \w+", "not re-verified"),
    (r"code corpus excerpt", "excerpt"),
    (r"OOM texts \(find_string\)", "out-of-memory messages in public issues"),
    (r" \(find_string\)|, find_string|find_string; ", ""),
    (r" \(find_string, several\)|find_string, ", ""),
]


def clean(value):
    if isinstance(value, list):
        return [clean(v) for v in value]
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items()}
    if isinstance(value, str):
        for old, new in WORDING:
            value = re.sub(old, new, value)
    return value


def first(table, short):
    """The value of the first key that begins the name."""
    items = table.items() if isinstance(table, dict) else table
    return next((value for key, value in items if short.startswith(key)), None)


def config(short, fact):
    """The facts as the config.json that the model has, which is what the library reads."""
    kind = first(MODEL_TYPE, short)
    keys = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
            "vocab_size", "max_position_embeddings", "tie_word_embeddings"]
    out = {"model_type": kind} | {key: fact[key] for key in keys}
    if kind in ("phi3", "mistral", "gemma2", "gemma3_text", "gpt_oss"):
        out["sliding_window"] = fact["sliding_window"]
    if kind == "gemma2":
        out |= {key: fact[key] for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    if kind in ("mixtral", "gpt_oss"):
        out |= {"num_local_experts": fact["num_experts"], "num_experts_per_tok": fact["num_experts_per_tok"]}
    if kind == "qwen3_moe":
        out |= {key: fact[key] for key in ("num_experts", "num_experts_per_tok", "moe_intermediate_size")}
    if kind == "falcon":
        del out["num_key_value_heads"], out["intermediate_size"]
        out |= {"multi_query": fact["num_key_value_heads"] == 1, "ffn_hidden_size": fact["intermediate_size"],
                "parallel_attn": fact["parallel_residual"], "bias": fact["mlp_bias"], "alibi": False}
    if kind == "qwen2_vl":
        vision = fact["vision"]
        out["vision_config"] = {key: vision[key] for key in ("depth", "embed_dim", "num_heads", "mlp_ratio", "patch_size",
                                "temporal_patch_size", "in_channels", "spatial_merge_size")}
    sources = {"shapes": fact["source"]}
    if "source2" in fact:
        sources["shapes_again"] = fact["source2"]

    # litgpt leaves Gemma's epsilon at its own default, which is not Gemma's: transformers' is taken
    litgpt = "litgpt" in fact["source"]
    epsilon_key = {"phi": "layer_norm_eps", "falcon": "layer_norm_epsilon"}.get(kind, "rms_norm_eps")
    if litgpt and not kind.startswith("gemma"):
        out[epsilon_key] = first(EPSILON, short) or 1e-5
        sources["norm_epsilon"] = LITGPT + " (norm_eps)"
    elif kind == "qwen2_vl":
        out[epsilon_key] = 1e-6
        sources["norm_epsilon"] = RECALLED
    else:
        sources["norm_epsilon"] = TRANSFORMERS
    if litgpt:
        out["rope_theta"] = first(ROPE_THETA, short) or 10000.0
        sources["rope"] = LITGPT + " (rope_base, rope_adjustments, rotary_percentage)"
    if short in LLAMA3_FACTOR:
        out["rope_scaling"] = {"rope_type": "llama3", "factor": LLAMA3_FACTOR[short], "low_freq_factor": 1.0,
                               "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    if kind == "phi":
        out["partial_rotary_factor"] = 0.4
    if kind == "gemma3_text":
        out |= {"rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}
        sources["rope"] = LITGPT + " (rope_base, rope_local_base_freq of gemma-3-1b-it)"
    if kind == "gpt_oss":
        out |= {"rope_theta": 150000.0, "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096}}
        sources["rope"] = "https://github.com/openai/gpt-oss/blob/7b583341fe16729127f6d5b94a7b09ccae97e1a1/gpt_oss/torch/model.py ModelConfig"
        out["quantization_config"] = {"quant_method": "mxfp4"}
        sources["quantization"] = "https://github.com/openai/gpt-oss README: the experts' weights are published in MXFP4"
    if kind == "qwen2_vl":
        out |= {"rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}
        sources["rope"] = RECALLED
    out["torch_dtype"] = DTYPE.get(short, "bfloat16")
    sources["dtype"] = RECALLED
    return out, sources


def model(short, fact):
    out, sources = config(short, fact)
    entry = {"name": short, "hf_id": fact["hf_id"], "aliases": ALIASES.get(short, []), "config": out,
             "parameters": fact["total_params_computed"]}
    if "total_params_published" in fact:
        entry["parameters_published"] = fact["total_params_published"]
    for key in ("native_quant", "notes"):
        if key in fact:
            entry[key] = fact[key]
    return entry | {"sources": sources}


def main(models):
    folder = HERE / "models"
    folder.mkdir(exist_ok=True)
    for short, fact in json.loads(pathlib.Path(models).read_text()).items():
        (folder / f"{short}.json").write_text(json.dumps(clean(model(short, fact)), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
