#!/usr/bin/env python3
"""An adapter that memspec-train wrote, loaded by Python PEFT: do both compute the same logits?

Let the script ask memspec-train itself:

    python3 tests/peft_parity.py --plan examples/smollm2.mem --adapter examples/runs/smollm2-1 \\
        --base examples/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --memspec-train target/release/memspec-train

or hand it what `memspec-train logits PLAN --adapter DIR --prompt TEXT --out FILE.safetensors` wrote:

    python3 tests/peft_parity.py --logits logits.safetensors --adapter runs/quickstart-1 --base examples/quickstart/model

The base is a folder in the format of Hugging Face, or a GGUF file, which transformers unpacks to f32. PEFT computes the
logits of the file's `input_ids` [T]; the relative error is max |a - b| / max |b| over `logits` [T, V], b being PEFT's.
Exit code 0: all within the tolerance, 1: beyond it, 2: could not compare.
Needs: pip install torch transformers peft safetensors gguf
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PROMPTS = ["What is the capital of France?", "What does the smith sell?", "Write one sentence about the sea."]


def fail(what, help):
    print(f"error: {what}\nhelp: {help}", file=sys.stderr)
    sys.exit(2)


def ask_memspec(arguments, folder):
    """One logits file for each prompt."""
    files = []
    for number, prompt in enumerate(arguments.prompt or PROMPTS):
        out = Path(folder) / f"{number}.safetensors"
        command = [str(arguments.memspec_train), "logits", str(arguments.plan), "--adapter", str(arguments.adapter)]
        command += ["--prompt", prompt, "--out", str(out)]
        try:
            code = subprocess.run(command, stdout=sys.stderr).returncode
        except OSError as error:
            fail(f"could not run {arguments.memspec_train}: {error}", "build it (cargo build --release -p memspec-train) or name it with --memspec-train")
        if code != 0 or not out.exists():
            fail(f"`{' '.join(command)}` ended with {code}", "its own words are above")
        files.append((repr(prompt), out))
    return files


def load_base(path):
    import torch
    from transformers import AutoModelForCausalLM

    where = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if path.suffix == ".gguf" else path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **where)
    kinds = {parameter.dtype for parameter in model.parameters()}
    if kinds != {torch.float32}:
        fail(f"transformers loaded the base as {kinds}, not as f32", "use a version that unpacks GGUF to f32")
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="model folder or .gguf file")
    parser.add_argument("--adapter", type=Path, required=True, help="the PEFT folder that memspec-train wrote")
    parser.add_argument("--logits", type=Path, action="append", default=[], help="a file of `memspec-train logits`; may be given again")
    parser.add_argument("--plan", type=Path, help="without --logits: the plan to ask memspec-train about")
    parser.add_argument("--prompt", action="append", help="without --logits: what to ask; may be given again")
    parser.add_argument("--memspec-train", type=Path, default=Path("target/release/memspec-train"), help="the executable")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest relative error (1e-3)")
    arguments = parser.parse_args()

    if not arguments.logits and not arguments.plan:
        parser.error("give --logits FILE or --plan PLAN")
    if not arguments.base.exists():
        fail(f"{arguments.base} is missing", "for SmolLM2: python3 examples/smollm2/fetch.py")
    if not (arguments.adapter / "adapter_config.json").exists():
        fail(f"{arguments.adapter} has no adapter_config.json", "name the folder that holds adapter_model.safetensors")
    try:
        import torch
        from peft import PeftModel
        from safetensors.torch import load_file
    except ImportError as error:
        fail(str(error), "pip install torch transformers peft safetensors gguf")

    with tempfile.TemporaryDirectory() as folder:
        files = [(path.name, path) for path in arguments.logits] or ask_memspec(arguments, folder)
        ours = [(name, load_file(path)) for name, path in files]

    model = load_base(arguments.base)
    ids = [tensors["input_ids"].long().reshape(1, -1) for _, tensors in ours]
    with torch.no_grad():
        without = [model(input_ids=row).logits[0] for row in ids]
        model = PeftModel.from_pretrained(model, arguments.adapter).eval()
        theirs = [model(input_ids=row).logits[0] for row in ids]

    print("| prompt | tokens | largest logit | relative error | same next token | what the adapter changes |")
    print("| --- | --- | --- | --- | --- | --- |")
    worst, idle = 0.0, True
    for (name, tensors), base, reference in zip(ours, without, theirs):
        logits = tensors["logits"].float()
        if logits.shape != reference.shape:
            fail(f"{name}: logits are {list(logits.shape)}, PEFT's {list(reference.shape)}", "are base and plan the same model?")
        scale = reference.abs().max()
        error = ((logits - reference).abs().max() / scale).item()
        error = error if error == error else float("inf")
        change = ((reference - base).abs().max() / scale).item()
        worst, idle = max(worst, error), idle and change == 0.0
        same = (logits.argmax(-1) == reference.argmax(-1)).float().mean().item()
        print(f"| {name} | {len(logits)} | {scale:.3f} | {error:.1e} | {same:.0%} | {change:.1e} |")
    print(f"\nworst relative error {worst:.1e}, tolerance {arguments.tolerance:.0e}")
    if idle:
        print("error: the adapter changes nothing, so this proves nothing: was it trained?", file=sys.stderr)
        return 1
    return 0 if worst <= arguments.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
