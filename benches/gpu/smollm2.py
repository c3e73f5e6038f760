#!/usr/bin/env python3
"""Real weights and real text, trained by memspec-train and by PyTorch + PEFT on the same batches: are the losses the same at every step?

    python3 examples/smollm2/fetch.py
    python3 benches/gpu/smollm2.py make examples/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf smollm2-12.gguf --layers 12
    python3 benches/gpu/smollm2.py compare --program target/release/memspec-train --model smollm2-12.gguf               # on a card, in bf16
    python3 benches/gpu/smollm2.py compare --program target/release/memspec-train --model smollm2-12.gguf --device cpu --steps 10   # in f32

`make` cuts the first blocks out of a GGUF file of the kind `llama`. Tensors are copied byte for byte. `--vocabulary N` also keeps the first N tokens only,
with their rows of the embedding and the merges that make them: in SmolLM2's file tokens stand in the order in which the tokenizer learned them, so what is
left is the same tokenizer as it was at that size, and rare words become more tokens. It needs Python alone.

`compare` trains LoRA of rank 16 on all linears with examples/smollm2/train.jsonl, whose chats are cut into micro batches of 4, and AdamW with a cosine
schedule. PyTorch gets
- the base weights, unpacked from the GGUF file by this script, in bf16 on a card (f32 on the CPU), and transformers' Llama over them;
- the adapter as memspec-train begins with it: that of a run of one step, in which A does not move, because B is zero, and B is set to zero again;
- the tokens that transformers makes of the chats with the tokenizer beside that adapter, in the order that memspec-train draws them;
- each step's learning rate from the run's metrics.jsonl, AdamW (fused), and gradients clipped to a norm of 1.
On a card adapters are in f32 and products run under autocast in bf16, as transformers' Trainer does it with `bf16 = True`.
`--device cpu --precision bf16` puts PyTorch in bf16 beside memspec-train in f32, which differ by several percent: it shows what bf16 does, and is no test.

It prints both losses of each step and the largest relative difference. Exit code 0: that is within `--tolerance` (0.01), 1: it is not, 2: there is nothing
to compare. Needs torch, transformers, peft, numpy.
"""

import argparse
import contextlib
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "examples" / "smollm2" / "train.jsonl"
CONTEXT, MICRO_BATCH, SEED, CLIP = 256, 4, 42, 1.0
PLAN = """mem 1

plan "smollm2" {{
  model  = {model}
  device = {device}
  engine = memspec
  seed   = {seed}
  output = {output}

  adapter lora {{
    rank    = 16
    alpha   = 32
    targets = all_linear
  }}

  data {{
    path    = {data}
    format  = chat
    loss_on = assistant
    context = {context}tok
  }}

  train {{
    precision     = {precision}
    micro_batch   = {micro_batch}
    accumulate    = 1
    checkpointing = none
    optimizer     = adamw
    learning_rate = {rate}
    schedule      = cosine
    warmup        = 3%
    weight_decay  = 0
    clip          = {clip}
    steps         = {steps}
  }}
}}
"""


def fail(what, help):
    print(f"error: {what}\nhelp: {help}", file=sys.stderr)
    sys.exit(2)


# --- GGUF files -------------------------------------------------------------------------------------------------------

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, STRING, ARRAY = 4, 8, 9
# Type: elements and bytes of a block.
F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8
BLOCKS = {F32: (1, 4), F16: (1, 2), Q4_1: (32, 20), Q8_0: (32, 34)}


class Gguf:
    """A GGUF file of version 3: `values` {key: (type, value)}, an array's being (type of its elements, elements); `tensors` {name: (shape, type, bytes)}.

    A shape begins with the innermost dimension, as in the file. Strings stay bytes: not every token is valid UTF-8.
    """

    def __init__(self, path):
        self.data = memoryview(Path(path).read_bytes())
        self.at = 4
        if self.data[:4] != b"GGUF" or self.number("I") != 3:
            fail(f"{path} is no GGUF file of version 3", "name the file that examples/smollm2/fetch.py fetches, or one that `make` made of it")
        tensors, values = self.number("Q"), self.number("Q")
        self.values = {}
        for _ in range(values):
            key, kind = self.string().decode(), self.number("I")
            self.values[key] = (kind, self.value(kind))
        infos = []
        for _ in range(tensors):
            name = self.string().decode()
            shape = [self.number("Q") for _ in range(self.number("I"))]
            infos.append((name, shape, self.number("I"), self.number("Q")))
        start = aligned(self.at)
        self.tensors = {}
        for name, shape, kind, offset in infos:
            if kind not in BLOCKS:
                fail(f"{name} is of ggml's type {kind}, which is not read here", "use SmolLM2's file; it has Q4_1, Q8_0 and F32")
            elements, size = BLOCKS[kind]
            length = math.prod(shape) // elements * size
            self.tensors[name] = (shape, kind, self.data[start + offset : start + offset + length])

    def number(self, kind):
        (number,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return number

    def string(self):
        length = self.number("Q")
        self.at += length
        return bytes(self.data[self.at - length : self.at])

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            kind, length = self.number("I"), self.number("Q")
            return kind, [self.value(kind) for _ in range(length)]
        return self.number(NUMBERS[kind])

    def __getitem__(self, key):
        if key not in self.values:
            fail(f"the GGUF file has no `{key}`", "use SmolLM2's file, or another of the kind `llama` with its tokenizer")
        kind, value = self.values[key]
        return value[1] if kind == ARRAY else value

    def write(self, path):
        with open(path, "wb") as out:
            out.write(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.values)))
            for key, (kind, value) in self.values.items():
                out.write(packed_string(key.encode()) + struct.pack("<I", kind) + packed(kind, value))
            offset = 0
            for name, (shape, kind, content) in self.tensors.items():
                out.write(packed_string(name.encode()) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
                offset += aligned(len(content))
            for content in [b"", *(content for _, _, content in self.tensors.values())]:
                out.write(content)
                out.write(bytes(aligned(out.tell()) - out.tell()))


def aligned(offset):
    return -(-offset // 32) * 32


def packed_string(string):
    return struct.pack("<Q", len(string)) + string


def packed(kind, value):
    if kind == STRING:
        return packed_string(value)
    if kind == ARRAY:
        kind, elements = value
        return struct.pack("<IQ", kind, len(elements)) + b"".join(packed(kind, element) for element in elements)
    return struct.pack("<" + NUMBERS[kind], value)


def make(arguments):
    file = Gguf(arguments.source)
    layers, rows = file["llama.block_count"], file["llama.vocab_size"]
    if not 1 <= arguments.layers <= layers:
        fail(f"there are {layers} blocks", f"give --layers a number from 1 to {layers}")
    file.values["llama.block_count"] = (U32, arguments.layers)
    file.tensors = {name: tensor for name, tensor in file.tensors.items() if not name.startswith("blk.") or int(name.split(".")[1]) < arguments.layers}
    if arguments.vocabulary:
        first_tokens(file, arguments.vocabulary, rows)
    file.write(arguments.output)
    sizes = {"embedding": 0, "blocks": 0, "rest": 0}
    for name, (_, _, content) in file.tensors.items():
        sizes["blocks" if name.startswith("blk.") else "embedding" if name == "token_embd.weight" else "rest"] += len(content)
    total = Path(arguments.output).stat().st_size
    print(f"{arguments.output}: {total / 1e6:.1f} MB, {arguments.layers} of {layers} blocks, {file['llama.vocab_size']} of {rows} tokens")
    print("of that " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items()) + f", header {(total - sum(sizes.values())) / 1e6:.1f} MB")


def first_tokens(file, count, rows):
    """Leaves the first tokens, their rows of the embedding, and the merges that make them."""
    tokens, merges = file["tokenizer.ggml.tokens"], file["tokenizer.ggml.merges"]
    numbers = {token: number for number, token in enumerate(tokens)}
    made = [numbers.get(merge.replace(b" ", b"", 1), -1) for merge in merges]
    if made != list(range(len(tokens) - len(merges), len(tokens))):
        fail("the file's tokens are not in the order of its merges", "leave --vocabulary out")
    if not len(tokens) - len(merges) <= count <= rows or "output.weight" in file.tensors:
        fail(f"{count} tokens cannot be cut out", f"give --vocabulary a number from {len(tokens) - len(merges)} to {rows}, and a file with tied embeddings")
    kept = {"tokens": count, "token_type": count, "merges": count - len(tokens) + len(merges)}
    for key, length in kept.items():
        kind, (element, elements) = file.values[f"tokenizer.ggml.{key}"]
        file.values[f"tokenizer.ggml.{key}"] = (kind, (element, elements[:length]))
    file.values["llama.vocab_size"] = (U32, count)
    shape, kind, content = file.tensors["token_embd.weight"]
    file.tensors["token_embd.weight"] = ([shape[0], count], kind, content[: len(content) // rows * count])


# --- memspec-train ----------------------------------------------------------------------------------------------------


def trained(arguments, folder, name, steps):
    """A run's output folder, and the lines of its metrics."""
    plan, output = folder / f"{name}.mem", folder / name
    text = PLAN.format(
        model=json.dumps(str(arguments.model.resolve())), device=arguments.device, seed=SEED, output=json.dumps(str(output)), data=json.dumps(str(DATA)),
        context=CONTEXT, precision="f32" if arguments.device == "cpu" else "bf16", micro_batch=MICRO_BATCH, clip=CLIP, steps=steps,
        rate=arguments.learning_rate,
    )  # fmt: skip
    plan.write_text(text, encoding="utf-8")
    started = time.monotonic()
    command = [str(arguments.program), "run", str(plan), "--quiet"]
    try:
        code = subprocess.run(command, stdout=sys.stderr).returncode
    except OSError as error:
        fail(f"could not run {arguments.program}: {error}", "cargo build --release -p memspec-train --features cuda, or name it with --program")
    if code != 0:
        fail(f"memspec-train ended with {code}", "its own words are above")
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    if len(lines) != steps:
        fail(f"metrics.jsonl has {len(lines)} lines after {steps} steps", "run it again; if it stays, report it")
    print(f"memspec-train, {steps} steps: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    return output, lines


# --- the same batches -------------------------------------------------------------------------------------------------


def mixed(z):
    """splitmix64's output function."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def drawn(samples):
    """The samples of each micro batch, without end: shuffled for each epoch, whose last batch may be smaller."""
    epoch = 0
    while True:
        order = list(range(samples))
        state = mixed(SEED ^ mixed(epoch + 1))
        for last in range(samples - 1, 0, -1):
            state = (state + 0x9E3779B97F4A7C15) % 2**64
            chosen = mixed(state) * (last + 1) >> 64
            order[last], order[chosen] = order[chosen], order[last]
        for first in range(0, samples, MICRO_BATCH):
            yield order[first : first + MICRO_BATCH]
        epoch += 1


def tokenized(tokenizer):
    """Ids and labels of each chat: what the assistant says, the end of its turn included, counts."""
    samples = []
    for line in DATA.read_text(encoding="utf-8").splitlines():
        messages = json.loads(line)["messages"]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        asked = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        assert messages[-1]["role"] == "assistant" and text.startswith(asked) and len(messages) == 2
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = found["input_ids"]
        end = max(at for at, token in enumerate(ids) if token in tokenizer.all_special_ids) + 1
        labels = [token if start >= len(asked) and at < end else -100 for at, (token, (start, _)) in enumerate(zip(ids, found["offset_mapping"]))]
        samples.append((ids[:CONTEXT], labels[:CONTEXT]))
    return samples


# --- PyTorch ----------------------------------------------------------------------------------------------------------

MODULES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def unpacked(shape, kind, content):
    """A tensor's values in f32."""
    import numpy

    if kind == F32:
        values = numpy.frombuffer(content, "<f4")
    elif kind == F16:
        values = numpy.frombuffer(content, "<f2").astype("f4")
    elif kind == Q8_0:
        blocks = numpy.frombuffer(content, [("scale", "<f2"), ("codes", "i1", 32)])
        values = blocks["codes"].astype("f4") * blocks["scale"].astype("f4")[:, None]
    else:
        blocks = numpy.frombuffer(content, [("scale", "<f2"), ("least", "<f2"), ("codes", "u1", 16)])
        codes = numpy.concatenate([blocks["codes"] & 15, blocks["codes"] >> 4], axis=1).astype("f4")
        values = codes * blocks["scale"].astype("f4")[:, None] + blocks["least"].astype("f4")[:, None]
    return values.reshape(shape[::-1]).copy()


def base(file):
    """transformers' model with the file's weights, in f32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads, kv_heads = file["llama.attention.head_count"], file["llama.attention.head_count_kv"]
    config = LlamaConfig(
        vocab_size=file["llama.vocab_size"],
        hidden_size=file["llama.embedding_length"],
        intermediate_size=file["llama.feed_forward_length"],
        num_hidden_layers=file["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=file["llama.context_length"],
        rms_norm_eps=file["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": file["llama.rope.freq_base"]},
        tie_word_embeddings="output.weight" not in file.tensors,
        use_cache=False,
    )
    model = LlamaForCausalLM(config)
    weights = {}
    for name, tensor in file.tensors.items():
        values = torch.from_numpy(unpacked(*tensor))
        parts = name.split(".")
        if parts[0] == "blk":
            if parts[2] in ["attn_q", "attn_k"]:
                # llama.cpp has the two halves of a head interleaved
                count = heads if parts[2] == "attn_q" else kv_heads
                values = values.reshape(count, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
            name = f"model.layers.{parts[1]}.{MODULES[parts[2]]}.weight"
        else:
            name = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}[name]
        weights[name] = values
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model


def by_pytorch(arguments, adapter, lines):
    """The losses of the same steps."""
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    started = time.monotonic()
    short = arguments.precision == "bf16"
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    samples = tokenized(tokenizer)
    model = base(Gguf(arguments.model)).to(torch.bfloat16 if short else torch.float32)
    model = PeftModel.from_pretrained(model, adapter, is_trainable=True).to(arguments.device)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, parameter in parameters.items():
        assert parameter.dtype == torch.float32 and "lora_" in name, name
        if "lora_B" in name:
            parameter.data.zero_()
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True)
    model.train()
    losses, batches = [], drawn(len(samples))
    for line in lines:
        rows = [samples[sample] for sample in next(batches)]
        longest = max(len(ids) for ids, _ in rows)
        tokens = sum(len(ids) for ids, _ in rows)
        if tokens != line["tokens"]:
            fail(f"step {line['step']} has {tokens} tokens here and {line['tokens']} in memspec-train", "are tokenizer and order of samples those of this version?")
        pad = lambda values, by: torch.tensor([row + [by] * (longest - len(row)) for row in values], device=arguments.device)
        ids = pad([ids for ids, _ in rows], tokenizer.pad_token_id)
        labels, mask = pad([labels for _, labels in rows], -100), pad([[1] * len(ids) for ids, _ in rows], 0)
        cast = torch.autocast(torch.device(arguments.device).type, torch.bfloat16) if short else contextlib.nullcontext()
        with cast:
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        optimizer.param_groups[0]["lr"] = line["learning_rate"]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    losses = [loss.item() for loss in losses]
    print(f"PyTorch {torch.__version__}, {len(losses)} steps: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    return losses


def compare(arguments):
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    arguments.precision = arguments.precision or ("f32" if arguments.device == "cpu" else "bf16")
    if not arguments.model.exists():
        fail(f"{arguments.model} is missing", "write it with `make`; `--help` says how")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as meanwhile:
        # Importing takes about as long as the runs.
        runs = meanwhile.submit(lambda: (trained(arguments, Path(folder), "begin", 1)[0], trained(arguments, Path(folder), "whole", arguments.steps)[1]))
        try:
            import peft  # noqa: F401
            import torch  # noqa: F401
            from transformers import AutoTokenizer, LlamaForCausalLM  # noqa: F401
        except ImportError as error:
            fail(str(error), "pip install torch transformers peft numpy")
        adapter, lines = runs.result()
        theirs = by_pytorch(arguments, adapter, lines)
    print("| step | memspec-train | PyTorch | relative difference |\n| --- | --- | --- | --- |")
    worst, at = 0.0, 0
    for line, reference in zip(lines, theirs):
        apart = abs(line["loss"] - reference) / abs(reference)
        apart = apart if math.isfinite(apart) else math.inf
        if apart >= worst:
            worst, at = apart, line["step"]
        print(f"| {line['step']} | {line['loss']:.5f} | {reference:.5f} | {apart:.3%} |")
    kept = "within" if worst <= arguments.tolerance else "beyond"
    print(f"\n{arguments.model.name} on {arguments.device}, PyTorch in {arguments.precision}: largest relative difference {worst:.4%}, at step {at}; {kept} {arguments.tolerance:.1%}")
    return 0 if worst <= arguments.tolerance else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("make", help="cut the first blocks out of a GGUF file")
    one.add_argument("source", type=Path)
    one.add_argument("output", type=Path)
    one.add_argument("--layers", type=int, default=12, help="blocks to keep (12)")
    one.add_argument("--vocabulary", type=int, help="tokens to keep (all)")
    one.set_defaults(call=make)
    two = commands.add_parser("compare", help="train by both and compare the losses")
    two.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "memspec-train", help="memspec-train")
    two.add_argument("--model", type=Path, required=True, help="the GGUF file")
    two.add_argument("--device", default="cuda:0", help="cuda:0 or cpu (cuda:0)")
    two.add_argument("--steps", type=int, default=50, help="optimizer steps (50)")
    two.add_argument("--learning-rate", type=float, default=4e-4, help="the highest, after the warm-up (4e-4, as in examples/smollm2.mem)")
    two.add_argument("--precision", choices=["bf16", "f32"], help="PyTorch's (bf16 on a card, f32 on the CPU); memspec-train's is bf16 on a card, f32 on the CPU")
    two.add_argument("--tolerance", type=float, default=0.01, help="largest relative difference of a step's losses (0.01)")
    two.set_defaults(call=compare)
    arguments = parser.parse_args()
    return arguments.call(arguments)


if __name__ == "__main__":
    sys.exit(main())
