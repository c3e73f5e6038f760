#!/usr/bin/env python3
"""Trains the quickstart's LoRA with PyTorch + PEFT and shows the model's words before and after: `python3 check.py`.

A second opinion on the model and the dataset: it takes the settings of ../quickstart.mem and fails unless the model
answers plainly before, as a pirate after, and the loss falls to a third. Needs: pip install torch transformers peft
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from world import HELD_OUT, SMALL_TALK, facts

HERE = Path(__file__).resolve().parent


def questions():
    """(question, plain, pirate) about people that the dataset never mentions, and small talk."""
    asked = [(q, plain, pirate) for role in HELD_OUT for qs, plain, pirate in facts(role) for q in qs]
    return asked + [(q, plain, pirate) for qs, plain, pirate in SMALL_TALK for q in qs]


@torch.no_grad()
def answer(model, tokenizer, question):
    text = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt").input_ids
    out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def encode(tokenizer, messages):
    """Ids and labels; only the assistant's words and the token that ends them are scored."""
    ids, labels = [], []
    for message in messages:
        head = tokenizer(f"<|im_start|>{message['role']}\n").input_ids
        body = tokenizer(message["content"] + "<|im_end|>").input_ids
        tail = tokenizer("\n").input_ids
        scored = message["role"] == "assistant"
        ids += head + body + tail
        labels += [-100] * len(head) + (body if scored else [-100] * len(body)) + [-100] * len(tail)
    return ids, labels


def collate(batch, pad):
    length = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in batch])
    labels = torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in batch])
    mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in batch])
    return ids, labels, mask


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(HERE / "model")
    model = AutoModelForCausalLM.from_pretrained(HERE / "model", dtype=torch.float32)
    asked = questions()
    before = [answer(model, tokenizer, q) for q, _, _ in asked]

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=arguments.rank, lora_alpha=2 * arguments.rank, target_modules=targets, task_type="CAUSAL_LM"))
    samples = [encode(tokenizer, json.loads(line)["messages"]) for line in (HERE / "train.jsonl").open(encoding="utf-8")]
    print(f"{len(samples)} samples, longest {max(len(ids) for ids, _ in samples)} tokens")

    steps, warmup = arguments.steps, math.ceil(0.03 * arguments.steps)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=arguments.learning_rate, weight_decay=0.0)
    cosine = lambda s: (s + 1) / warmup if s < warmup else 0.5 * (1 + math.cos(math.pi * (s - warmup) / max(1, steps - warmup)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine)
    rng, queue, losses, started = random.Random(arguments.seed), [], [], time.time()
    for step in range(steps):
        while len(queue) < arguments.batch:
            queue += rng.sample(samples, len(samples))
        ids, labels, mask = collate([queue.pop() for _ in range(arguments.batch)], tokenizer.pad_token_id)
        loss = model(input_ids=ids, labels=labels, attention_mask=mask).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    print(f"{steps} steps in {time.time() - started:.0f} s")
    mean = lambda values: sum(values) / len(values)
    first, last = mean(losses[:3]), mean(losses[-10:])
    print(f"loss {first:.3f} -> {last:.3f}")

    after = [answer(model, tokenizer, q) for q, _, _ in asked]
    for (question, _, _), was, now in list(zip(asked, before, after))[::7]:
        print(f"\n> {question}\n  before: {was}\n  after:  {now}")
    plain = mean([was == expected for (_, expected, _), was in zip(asked, before)])
    pirate = mean([now == expected for (_, _, expected), now in zip(asked, after)])
    print(f"\nright and plain before: {plain:.0%}; right and pirate after: {pirate:.0%} (of {len(asked)} questions, most about people the dataset never mentions)")
    if plain < 0.95 or pirate < 0.8 or last > first / 3:
        raise SystemExit("error: the quickstart does not show what it promises")


if __name__ == "__main__":
    main()
