#!/usr/bin/env python3
"""What `memspec-train merge` and `export-gguf-lora` write, beside PEFT's merge_and_unload and Python's GGUF reader.

    python3 tests/after_parity.py --memspec-train target/release/memspec-train

For tiny random models and adapters, made here in f32, bf16 and f16, with biases, tied embeddings and several files:
- merged weights are PEFT's within one rounding of their type, and equal where no adapter is; transformers computes the same logits;
- an exported adapter holds the keys and names that llama.cpp looks for, and B A of each linear is the one of PEFT, in the order of rows that
  llama.cpp's converter gives the model.
Exit code 0: all so, 1: not. Needs: pip install torch transformers peft safetensors gguf
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from gguf import GGUFReader
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.utils.logging import disable_progress_bar

SHAPES = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=97,
    max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
SEPARATE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
# name: class, configuration, adapted linears, type, rank-stabilized, size of a file
MODELS = {
    "llama, f32": (LlamaForCausalLM, LlamaConfig(**SHAPES), SEPARATE, torch.float32, False, "5GB"),
    "llama, bf16, several files": (LlamaForCausalLM, LlamaConfig(**SHAPES), SEPARATE, torch.bfloat16, False, "100KB"),
    "llama, f16, tied, rsLoRA": (LlamaForCausalLM, LlamaConfig(**SHAPES, tie_word_embeddings=True), ["q_proj", "v_proj"], torch.float16, True, "5GB"),
    "qwen2, bf16": (Qwen2ForCausalLM, Qwen2Config(**SHAPES), SEPARATE, torch.bfloat16, False, "5GB"),
    "qwen3, bf16": (Qwen3ForCausalLM, Qwen3Config(**SHAPES, head_dim=16), SEPARATE, torch.bfloat16, False, "5GB"),
    "phi3, bf16": (Phi3ForCausalLM, Phi3Config(**SHAPES), FUSED, torch.bfloat16, False, "5GB"),
}
# Half of the last place, relative to the value.
ROUNDING = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
}


def make(folder, model_class, config, targets, dtype, stabilized, shard):
    """A model and an adapter on it, both random; B is not zero."""
    torch.manual_seed(7)
    model = model_class(config).to(dtype)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data = (torch.randn(parameter.shape) / math.sqrt(parameter.shape[-1])).to(dtype)
    model.tie_weights()
    model.save_pretrained(folder / "base", max_shard_size=shard)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=targets, use_rslora=stabilized, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype), lora)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape) * 0.2
    model.save_pretrained(folder / "adapter")


def tensors(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}
    return found


def call(command, *arguments):
    done = subprocess.run([command, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments[0]} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def check_merge(command, folder, dtype):
    """The largest difference in roundings of the type, and the difference of logits relative to the largest."""
    call(command, "merge", "--base", folder / "base", "--adapter", folder / "adapter", "--output", folder / "merged")
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype)
    adapted = PeftModel.from_pretrained(base, folder / "adapter").merge_and_unload()
    adapted.save_pretrained(folder / "peft")
    ours, theirs, before = tensors(folder / "merged"), tensors(folder / "peft"), tensors(folder / "base")
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    assert sorted(p.name for p in (folder / "merged").iterdir()) == sorted(p.name for p in (folder / "base").iterdir())
    worst, changed = 0.0, 0
    for name, tensor in ours.items():
        assert tensor.dtype == dtype, f"{name} is {tensor.dtype}"
        if torch.equal(theirs[name], before[name]):
            assert torch.equal(tensor, before[name]), f"{name} should not change"
            continue
        changed += 1
        # f32 sums in another order are apart by the size of what was summed
        scale = theirs[name].float().abs().clamp(min=theirs[name].float().abs().max() * 0.05 if dtype == torch.float32 else 1e-3)
        worst = max(worst, ((tensor.float() - theirs[name].float()).abs() / scale).max().item() / ROUNDING[dtype])
    assert changed, "the adapter changed nothing"
    ids = torch.arange(12).reshape(1, -1) * 7 % SHAPES["vocab_size"]
    with torch.no_grad():
        a = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)(input_ids=ids).logits
        b = AutoModelForCausalLM.from_pretrained(folder / "peft", dtype=torch.float32)(input_ids=ids).logits
    return worst, ((a - b).abs().max() / b.abs().max()).item()


def check_gguf(command, folder, stabilized):
    """The largest relative difference of s B A, rows in llama.cpp's order."""
    file = folder / "adapter.gguf"
    call(command, "export-gguf-lora", "--base", folder / "base", "--adapter", folder / "adapter", "--output", file)
    reader = GGUFReader(file)
    field = lambda key: reader.get_field(key).contents()
    config = json.loads((folder / "base/config.json").read_text())
    architecture = config["model_type"]
    assert (field("general.type"), field("adapter.type"), field("general.architecture")) == ("adapter", "lora", architecture)
    stored = {tensor.name: torch.tensor(tensor.data).reshape(*[int(n) for n in reversed(tensor.shape)]) for tensor in reader.tensors}
    adapter = tensors(folder / "adapter")
    rank, heads = 4, {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    modules = [name.removesuffix(".lora_A.weight") for name in adapter if name.endswith(".lora_A.weight")]
    assert len(stored) == 2 * len(modules)
    worst = 0.0
    for module in modules:
        block, name = module.removeprefix("base_model.model.model.layers.").split(".", 1)
        name = GGUF_NAMES[name]
        update = adapter[f"{module}.lora_B.weight"] @ adapter[f"{module}.lora_A.weight"]
        update = update * 8 / (math.sqrt(rank) if stabilized else rank)
        if architecture == "llama" and name in heads:
            # convert_hf_to_gguf.py's LlamaModel.permute
            update = update.reshape(heads[name], 2, update.shape[0] // heads[name] // 2, -1).swapaxes(1, 2).reshape(update.shape)
        a, b = (stored[f"blk.{block}.{name}.weight.lora_{part}"] for part in "ab")
        # llama.cpp: alpha / rank, the rank being B's innermost dimension
        ours = b @ a * field("adapter.lora.alpha") / b.shape[1]
        worst = max(worst, ((ours - update).abs().max() / update.abs().max()).item())
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memspec-train", default="target/release/memspec-train", help="the executable")
    command = parser.parse_args().memspec_train
    disable_progress_bar()
    print("| model | merged weights, in roundings | logits | exported adapter |\n| --- | --- | --- | --- |")
    good = True
    for name, (model_class, config, targets, dtype, stabilized, shard) in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            make(folder, model_class, config, targets, dtype, stabilized, shard)
            roundings, logits = check_merge(command, folder, dtype)
            exported = check_gguf(command, folder, stabilized)
        print(f"| {name} | {roundings:.2f} | {logits:.1e} | {exported:.1e} |")
        # f32 is summed in another order, so some last places differ; the others are rounded once, and seldom to the other side
        good &= roundings <= (8.0 if dtype == torch.float32 else 1.01) and exported < 1e-5
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
