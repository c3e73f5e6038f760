#!/usr/bin/env python3
"""Writes plans as people have them, each unlike the others: python3 benches/plans.py FOLDER [HOW_MANY]

The same every time. Models of 0.1 to 72 billion weights on cards that are about right for them: some plans do not fit, some leave much unused. The engines trl
and unsloth, QLoRA, LoRA and full fine-tuning, evaluation, merging, several cards, `fit` and `sweep`.
"""

import pathlib
import random
import sys

# Billions of weights.
MODELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 0.14, "Qwen/Qwen2.5-0.5B": 0.5, "Qwen/Qwen3-0.6B": 0.6, "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1.1,
    "meta-llama/Llama-3.2-1B": 1.2, "Qwen/Qwen2.5-1.5B": 1.5, "Qwen/Qwen3-1.7B": 1.7, "meta-llama/Llama-3.2-3B": 3.2,
    "microsoft/Phi-3-mini-4k-instruct": 3.8, "Qwen/Qwen3-4B": 4.0, "mistralai/Mistral-7B-v0.3": 7.2, "Qwen/Qwen2.5-7B-Instruct": 7.6,
    "meta-llama/Meta-Llama-3-8B": 8.0, "meta-llama/Llama-3.1-8B": 8.0, "Qwen/Qwen3-8B": 8.2, "google/gemma-2-9b": 9.2,
    "microsoft/phi-4": 14.7, "Qwen/Qwen2.5-14B": 14.8, "Qwen/Qwen2.5-32B": 32.8, "meta-llama/Meta-Llama-3-70B": 70.6, "Qwen/Qwen2.5-72B": 72.7,
}
UNSLOTH = ("meta-llama/", "Qwen/Qwen2.5", "mistralai/", "HuggingFaceTB/", "TinyLlama/")
# GiB; cards without bf16 train in fp16.
CARDS = {
    "t4": 14.5, "rtx3060": 11.6, "rtx3090": 23.5, "rtx4090": 23.5, "l4": 22, "a10g": 22, "rtx5090": 31, "l40s": 44, "a6000": 47,
    "a100-40": 39, "a100-80": 79, "h100-80": 79, "h200": 139, "b200": 178,
}


def plan(chance: random.Random, number: int) -> str:
    model, billions = chance.choice(list(MODELS.items()))
    method = chance.choices(["qlora", "lora", "full"], [5, 3, 1.5])[0]
    bytes_each = {"qlora": 0.7, "lora": 2.1, "full": 18}[method]
    context = chance.choice([512, 1024, 2048, 2048, 4096, 8192])
    micro = chance.choice([1, 1, 2, 4, 8])
    needs = billions * bytes_each + 0.5 + micro * context / 2048 * (0.4 + billions ** 0.5 * 0.6)
    # Most people know about what they need; some do not.
    enough = [name for name, gib in CARDS.items() if gib > needs * chance.choice([0.7, 1, 1.2, 1.2])] or ["b200"]
    card = chance.choice(enough[:4])
    several = method != "qlora" and card in ("a100-80", "h100-80", "h200") and chance.random() < 0.3
    unsloth = model.startswith(UNSLOTH) and method != "full" and not several and chance.random() < 0.4
    lines = [f"mem 1", "", f'plan "run-{number:04}" {{', f'  model  = "{model}"', f'  device = "{card}"']
    lines.append(f"  engine = {'unsloth' if unsloth else 'trl'}")
    if several:
        lines.append(f"  parallel {chance.choice(['ddp', 'fsdp2', 'zero2'])} {{ gpus = {chance.choice([2, 4, 8])} }}")
    if method == "qlora":
        lines.append(f"  quantize nf4 {{ double = {chance.choice(['true', 'true', 'false'])} }}")
    if method != "full":
        rank = chance.choice([8, 16, 16, 32, 64])
        written = f"sweep [{rank}, {2 * rank}]" if chance.random() < 0.05 else rank
        targets = chance.choice(["all_linear", "all_linear", "attention"])
        lines.append(f"  adapter lora {{ rank = {written}; alpha = {2 * rank}; targets = {targets} }}")
    evaluates = chance.random() < 0.25
    lines.append(f'  data {{ path = "org/data-{number % 37}"; format = chat; context = {context}tok; samples = {chance.choice([2000, 10000, 52000])}'
                 + ('; eval_path = "org/eval"' if evaluates else "") + " }")
    batch = f"fit [{2 * micro}, {micro}]" if micro > 1 and chance.random() < 0.1 else micro
    lines += [
        "  train {",
        f"    micro_batch   = {batch}",
        f"    accumulate    = {chance.choice([1, 2, 4, 8])}",
        f"    checkpointing = {chance.choice(['block', 'block', 'block', 'none'])}",
        f"    precision     = {'fp16' if card == 't4' else 'bf16'}",
        f"    optimizer     = {chance.choice(['adamw', 'adamw_8bit', 'paged_adamw_8bit'] if method != 'full' else ['adamw', 'adamw_8bit'])}",
        f"    learning_rate = {'2e-5' if method == 'full' else '2e-4'}",
        f"    epochs        = {chance.choice([1, 2, 3])}",
        "  }",
    ]
    if evaluates:
        lines.append(f"  eval {{ micro_batch = {micro} }}")
    if method == "lora" and chance.random() < 0.2:
        lines.append("  save { merge = true }")
    return "\n".join(lines + ["}", ""])


def main() -> None:
    folder, many = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(1)
    for number in range(many):
        (folder / f"run-{number:04}.mem").write_text(plan(chance, number))


if __name__ == "__main__":
    main()
