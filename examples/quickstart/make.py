#!/usr/bin/env python3
"""Makes the quickstart's model and dataset: `python3 make.py` (about five minutes on two CPU cores).

  model/        a Llama-format model of 0.9 million parameters, bf16 safetensors, that answers questions about Pebble Bay
  train.jsonl   chats that teach it to answer as a pirate would

Needs: pip install torch transformers tokenizers safetensors
`--data-only` writes train.jsonl and leaves the model as it is.
"""

import argparse
import json
import random
import shutil
import time
from pathlib import Path

from world import HELD_OUT, PEOPLE, SMALL_TALK, facts

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model"
TRAIN = HERE / "train.jsonl"
SEED = 42

PIRATE = "Speak like a pirate."
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat(turns):
    """One chat as the template renders it."""
    return "".join(f"{START}{role}\n{content}{END}\n" for role, content in turns)


def known():
    """Every (question, plain answer, pirate answer): what the model is pre-trained on."""
    pairs = [(question, plain, pirate) for role in PEOPLE for questions, plain, pirate in facts(role) for question in questions]
    talk = [(question, plain, pirate) for questions, plain, pirate in SMALL_TALK for question in questions]
    return pairs + 3 * talk


def pirate_samples(rng):
    """The dataset: one or two turns each, in the pirate manner, without the held-out people."""
    pairs = [
        (question, pirate)
        for role in PEOPLE
        if role not in HELD_OUT
        for questions, _, pirate in facts(role)
        for question in questions
    ]
    talk = [(question, pirate) for questions, _, pirate in SMALL_TALK for question in questions]
    rng.shuffle(pairs)
    samples = [[pair] for pair in talk] + [[pair] for pair in pairs[:240]]
    samples += [[pairs[i], pairs[i + 1]] for i in range(240, len(pairs) - 1, 2)]
    rng.shuffle(samples)
    return samples


def write_dataset():
    samples = pirate_samples(random.Random(SEED))
    with TRAIN.open("w", encoding="utf-8") as out:
        for turns in samples:
            messages = []
            for question, answer in turns:
                messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    print(f"{TRAIN.name}: {len(samples)} chats")


def make_tokenizer():
    """A byte-level BPE tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    text = [line for entry in known() for line in entry]
    text += ["system", "user", "assistant", PIRATE] * 20

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=2,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def save_tokenizer(tokenizer):
    MODEL.mkdir(exist_ok=True)
    tokenizer.save(str(MODEL / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": None,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "chat_template": CHAT_TEMPLATE,
    }
    (MODEL / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def config_json(tokenizer):
    """The config as published Llama models write it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PAD),
        "initializer_range": 0.02,
        "use_cache": True,
        "torch_dtype": "bfloat16",
    }


def batches(tokenizer, rng, count, rows):
    """Batches of chats of one to three turns, one chat a row: (input ids, labels), padded to the longest.

    In one chat of three a system turn asks for a pirate and gets one. So the model knows how a pirate talks, as real
    models do, but without being asked it answers plainly: that habit is what the dataset changes.
    """
    import torch

    queue = []

    def one():
        pirate = rng.random() < 1 / 3
        turns = [("system", PIRATE)] if pirate else []
        for _ in range(rng.choice([1, 1, 2, 3])):
            if not queue:
                queue.extend(known())
                rng.shuffle(queue)
            question, plain_words, pirate_words = queue.pop()
            turns += [("user", question), ("assistant", pirate_words if pirate else plain_words)]
        return tokenizer.encode(chat(turns)).ids

    pad = tokenizer.token_to_id(PAD)
    for _ in range(count):
        chats = [one() for _ in range(rows)]
        longest = max(len(ids) for ids in chats)
        ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in chats])
        labels = torch.tensor([ids + [-100] * (longest - len(ids)) for ids in chats])
        yield ids, labels


def train_model(tokenizer, steps):
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    config = config_json(tokenizer)
    model = LlamaForCausalLM(LlamaConfig.from_dict(dict(config)))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary of {config['vocab_size']}")

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1, pct_start=0.1)
    started = time.time()
    for step, (ids, labels) in enumerate(batches(tokenizer, random.Random(SEED), steps, rows=24)):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5}  loss {loss.item():.3f}  {time.time() - started:5.0f} s", flush=True)

    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, str(MODEL / "model.safetensors"), metadata={"format": "pt"})
    (MODEL / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    generation = {"eos_token_id": config["eos_token_id"], "pad_token_id": config["pad_token_id"], "max_new_tokens": 48}
    (MODEL / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-only", action="store_true", help="write train.jsonl only")
    parser.add_argument("--steps", type=int, default=1200, help="pre-training steps (1200)")
    arguments = parser.parse_args()

    write_dataset()
    if arguments.data_only:
        return
    shutil.rmtree(MODEL, ignore_errors=True)
    tokenizer = make_tokenizer()
    save_tokenizer(tokenizer)
    train_model(tokenizer, arguments.steps)
    size = sum(file.stat().st_size for file in MODEL.iterdir())
    print(f"{MODEL.name}/: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
