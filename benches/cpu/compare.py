#!/usr/bin/env python3
"""SmolLM2-135M, LoRA on the CPU: PyTorch + PEFT and memspec-train side by side, in tokens/s and peak memory.

    python3 examples/smollm2/fetch.py
    cargo build --release -p memspec-train
    pip install torch transformers peft gguf
    python3 benches/cpu/compare.py

Both train smollm2-none.mem and smollm2-block.mem: rank 16 on all linears, f32, micro batch 1, every sample exactly 256
tokens, AdamW, two threads on the same two cores, each run in a process of its own. Tokens/s leaves out the first step
(PyTorch: the first two). Peak memory is the process's largest resident set, as the kernel counted it (wait4).

PyTorch starts from f32 safetensors, written from the same GGUF beforehand and not measured, since unpacking the GGUF
inside the run would raise its peak. It has scaled-dot-product attention and fused AdamW, its fastest.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GGUF = ROOT / "examples" / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = HERE / "train.jsonl"
KINDS = ["none", "block"]
WARM_UP = 2
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def fail(what, help):
    sys.exit(f"error: {what}\nhelp: {help}")


def plan_of(kind):
    return HERE / f"smollm2-{kind}.mem"


def setting(kind, name):
    """A number from the plan's text."""
    found = re.search(rf"^\s*{name}\s*=\s*([0-9.e+-]+)", plan_of(kind).read_text(), re.MULTILINE)
    if not found:
        fail(f"{plan_of(kind).name} has no `{name}`", "restore the plan from the repository")
    return float(found.group(1))


# --- what runs in a child process -------------------------------------------------------------------------------------


def prepare(folder):
    """The GGUF as f32 safetensors, and the samples as token ids."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32)
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer = None
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(GGUF.parent, gguf_file=GGUF.name)
    context = int(setting("none", "context"))
    rows = [tokenizer(json.loads(line)["text"], add_special_tokens=False).input_ids[:context] for line in DATA.open(encoding="utf-8")]
    short = [len(row) for row in rows if len(row) != context]
    if short:
        fail(f"{len(short)} samples of {DATA.name} are shorter than {context} tokens", "run benches/cpu/make.py")
    (Path(folder) / "ids.json").write_text(json.dumps(rows))


def peak_so_far():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def pytorch(folder, kind, threads):
    """One PyTorch + PEFT run; its figures as JSON on the last line."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(42)
    rows = json.loads((Path(folder) / "ids.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    config = LoraConfig(r=int(setting(kind, "rank")), lora_alpha=setting(kind, "alpha"), target_modules=LINEARS, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    if kind == "block":
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    loaded = peak_so_far()

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=setting(kind, "learning_rate"), weight_decay=0.0, fused=True)
    seconds, losses = [], []
    for step in range(int(setting(kind, "steps"))):
        started = time.perf_counter()
        ids = torch.tensor([rows[step % len(rows)]])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    timed = seconds[WARM_UP:]
    figures = {
        "tokens_per_second": len(rows[0]) * len(timed) / sum(timed),
        "best_tokens_per_second": len(rows[0]) / min(timed),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "peak_after_load_bytes": loaded,
        "versions": {"torch": torch.__version__},
    }
    print(json.dumps(figures))


# --- what runs here ---------------------------------------------------------------------------------------------------


def measured(command, cores, threads, verbose):
    """Runs a command on `cores`; its output, exit code and largest resident set in bytes."""
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1")
    environment |= {name: str(threads) for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]}
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=None if verbose else subprocess.DEVNULL, env=environment, preexec_fn=pin)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return text, child.returncode, peak


def run_pytorch(arguments, folder, kind, cores):
    command = [arguments.python, str(HERE / "compare.py"), "--child", "pytorch", folder, kind, str(arguments.threads)]
    text, code, peak = measured(command, cores, arguments.threads, arguments.verbose)
    if code != 0:
        fail(f"the PyTorch run ended with {code}", "run with --verbose to see its words; pip install torch transformers peft gguf")
    return json.loads(text.strip().splitlines()[-1]) | {"peak_bytes": peak}


def run_memspec(arguments, kind, cores):
    command = [str(arguments.memspec_train), "run", str(plan_of(kind)), "--overwrite"]
    text, code, peak = measured(command, cores, arguments.threads, arguments.verbose)
    if code != 0:
        fail(f"memspec-train ended with {code}", "run with --verbose to see its words")
    report = HERE / "runs" / f"smollm2-{kind}" / "report.json"
    if not report.exists():
        fail(f"memspec-train left no {report}", "check `output` in the plan")
    content = json.loads(report.read_text())
    losses = content.get("losses") or [None]
    losses = [entry.get("loss") if isinstance(entry, dict) else entry for entry in losses]
    return {"tokens_per_second": content["tokens_per_second"], "first_loss": losses[0], "last_loss": losses[-1], "peak_bytes": peak}


def middle(runs):
    """Median of every figure over the rounds."""
    keys = [key for key, value in runs[0].items() if isinstance(value, (int, float))]
    return {key: statistics.median(run[key] for run in runs) for key in keys}


def table(figures):
    number = lambda value, digits: "" if value is None else f"{value:.{digits}f}"
    lines = ["| run | checkpointing | tokens/s | peak memory, MiB | loss, first -> last |", "| --- | --- | --- | --- | --- |"]
    names = {"pytorch": "PyTorch + PEFT", "memspec": "memspec-train"}
    for stack, name in names.items():
        for kind, run in figures.get(stack, {}).items():
            loss = f"{number(run.get('first_loss'), 3)} -> {number(run.get('last_loss'), 3)}"
            lines.append(f"| {name} | {kind} | {run['tokens_per_second']:.1f} | {run['peak_bytes'] / 2**20:.0f} | {loss} |")
    for kind, ratio in figures.get("ratios", {}).items():
        lines.append(f"| memspec-train / PyTorch | {kind} | {ratio['tokens_per_second']:.2f}x | {ratio['peak_bytes']:.0%} | |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["pytorch", "memspec"], help="one half")
    parser.add_argument("--memspec-train", type=Path, default=ROOT / "target" / "release" / "memspec-train", help="the executable")
    parser.add_argument("--python", default=sys.executable, help="the Python that has torch, transformers, peft and gguf (this one)")
    parser.add_argument("--threads", type=int, default=2, help="threads, and cores where the system can pin them (2)")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, taken in turn; medians are shown (1)")
    parser.add_argument("--json", action="store_true", help="figures as JSON instead of a table")
    parser.add_argument("--verbose", action="store_true", help="show what the runs say")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    if arguments.child:
        what, *rest = arguments.child
        return prepare(*rest) if what == "prepare" else pytorch(rest[0], rest[1], int(rest[2]))
    if not GGUF.exists():
        fail(f"{GGUF.name} is missing", "fetch it: python3 examples/smollm2/fetch.py")
    if not DATA.exists():
        fail(f"{DATA.name} is missing", "write it: python3 benches/cpu/make.py")
    stacks = [arguments.only] if arguments.only else ["pytorch", "memspec"]
    if "memspec" in stacks and not arguments.memspec_train.exists():
        fail(f"{arguments.memspec_train} is missing", "cargo build --release -p memspec-train, or --memspec-train PATH, or --only pytorch")
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads] if hasattr(os, "sched_setaffinity") else None

    runs = {stack: {kind: [] for kind in KINDS} for stack in stacks}
    with tempfile.TemporaryDirectory() as folder:
        if "pytorch" in stacks:
            print("unpacking the GGUF to f32 for PyTorch ...", file=sys.stderr, flush=True)
            command = [arguments.python, str(HERE / "compare.py"), "--child", "prepare", folder]
            if measured(command, cores, arguments.threads, arguments.verbose)[1] != 0:
                fail("could not unpack the GGUF with transformers", "run with --verbose; pip install torch transformers peft gguf")
        for turn in range(arguments.rounds):
            for kind in KINDS:
                for stack in stacks:
                    print(f"round {turn + 1}: {stack}, checkpointing {kind} ...", file=sys.stderr, flush=True)
                    run = run_pytorch(arguments, folder, kind, cores) if stack == "pytorch" else run_memspec(arguments, kind, cores)
                    runs[stack][kind].append(run)

    figures = {stack: {kind: middle(runs[stack][kind]) for kind in KINDS} for stack in stacks}
    if len(stacks) == 2:
        figures["ratios"] = {
            kind: {key: figures["memspec"][kind][key] / figures["pytorch"][kind][key] for key in ["tokens_per_second", "peak_bytes"]}
            for kind in KINDS
        }
    print(json.dumps(figures | {"runs": runs}, indent=2) if arguments.json else table(figures))


if __name__ == "__main__":
    main()
