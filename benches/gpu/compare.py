#!/usr/bin/env python3
"""Runs of fine-tuning on one NVIDIA card: memspec-train, Unsloth and TRL one after another, in tokens/s and memory.

    cargo build --release -p memspec-train --features cuda
    pip install torch transformers peft trl unsloth bitsandbytes nvidia-ml-py
    python3 benches/gpu/compare.py --list
    python3 benches/gpu/compare.py 8b-nf4-1-block 1b-bf16-2-block      # these two, by each of the three
    python3 benches/gpu/compare.py --stacks memspec-train,unsloth      # all of them, by two
    python3 benches/gpu/compare.py --table                             # what was measured, as benches/README.md has it

The plans beside this script say what is run, with random weights and tokens, each in a process of its own on a card that nobody else uses. Every result is
appended to a file of JSON lines at once, and a run that is there for this card, with these versions, is not made again: after Ctrl-C, call it once more.

tokens/s are those of the median step, the first three left out. `reserved` is what the allocator holds, `process` what the driver says. The jobs of Unsloth
and TRL are those of data/measure/measure.py. `first step` counts from the process's start, with what was compiled by earlier runs still on disk.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STACKS = ["memspec-train", "unsloth", "trl"]
# The models' names in data/measure/measure.py.
MODELS = {
    "meta-llama/Llama-3.2-1B": "llama3.2-1b",
    "meta-llama/Meta-Llama-3-8B": "llama3-8b",
    "meta-llama/Meta-Llama-3-70B": "llama3-70b",
}
WARM_UP = 3
# Another process with more than this on the card would be measured, too.
IDLE_MIB = 512
GIB = 2**30
BUILD = "build it, `cargo build --release -p memspec-train --features cuda`, or name it with --memspec-train"


def fail(what, help):
    sys.exit(f"error: {what}\nhelp: {help}")


def said(command, help):
    try:
        made = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        fail(f"there is no `{command[0]}`", help)
    if made.returncode != 0:
        fail(f"`{command[0]}` ended with {made.returncode}: {(made.stderr.strip() or 'it said nothing').splitlines()[-1]}", help)
    return made.stdout.strip()


# --- the runs ---------------------------------------------------------------------------------------------------------


def plans():
    return {path.stem: path for path in sorted(HERE.glob("*.mem"))}


def setting(text, name, otherwise=None):
    found = re.search(rf'^\s*{name}\s*=\s*"?([^"\n#]+?)"?\s*$', text, re.MULTILINE)
    return found.group(1) if found else otherwise


def tokens_of_a_step(text):
    context = int(setting(text, "context").removesuffix("tok"))
    return context * int(setting(text, "micro_batch")) * int(setting(text, "accumulate", 1))


def job_of(text, stack, steps):
    """The job of data/measure/measure.py that a plan is. Beside `auto`, which neither has, every block is recomputed; Unsloth does so in its own
    way, with the blocks' inputs in host memory, and TRL with them on the card."""
    model, checkpointing = setting(text, "model"), setting(text, "checkpointing", "none")
    if model not in MODELS:
        fail(f"{model} has no job", f"add it to MODELS here; there are {', '.join(MODELS)}")
    quantize = re.search(r"^\s*quantize\s+(\w+)", text, re.MULTILINE)
    return {
        "stack": stack,
        "model": MODELS[model],
        "quant": quantize.group(1) if quantize else "none",
        "batch": int(setting(text, "micro_batch")),
        "accum": int(setting(text, "accumulate", 1)),
        "seq": int(setting(text, "context").removesuffix("tok")),
        "rank": int(setting(text, "rank")),
        "ckpt": checkpointing != "none" and ("unsloth" if stack == "unsloth" else True),
        "steps": steps,
    }


# --- the card ---------------------------------------------------------------------------------------------------------


def nvidia_smi(query):
    return said(["nvidia-smi", f"--query-{query}", "--format=csv,noheader,nounits", "-i", "0"], "run this where an NVIDIA driver is; --table needs none")


def card():
    name, driver = (part.strip() for part in nvidia_smi("gpu=name,driver_version").split(","))
    return {"device": name, "driver": driver}


def wait_for_nobody():
    used = int(nvidia_smi("gpu=memory.used").split()[0])
    if used > IDLE_MIB:
        fail(f"{used} MiB of the card are in use by others", "end what runs there (`nvidia-smi` lists it), then go on with the same command")


# --- one run ----------------------------------------------------------------------------------------------------------


def last_object(text):
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else None


def executed(command, patience):
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return None, f"no end after {patience} s"
    except FileNotFoundError:
        fail(f"there is no `{command[0]}`", BUILD)
    try:
        got = last_object(made.stdout)
    except ValueError:
        got = None
    if made.returncode != 0 or got is None:
        words = (made.stderr.strip() or made.stdout.strip() or "it said nothing").splitlines()
        return got, f"it ended with {made.returncode}: {words[-1][:300]}"
    return got, None


def figures(step_s, tokens, **others):
    timed = step_s[WARM_UP:] or step_s
    return {"tokens_per_s": round(tokens / statistics.median(timed), 1), "steps": len(step_s), **others}


def by_memspec(arguments, path, text):
    command = [arguments.memspec_train, "bench", str(path), "--steps", str(arguments.steps), "--random-weights", "--json"]
    got, error = executed(command, arguments.patience)
    if error:
        return {"error": error}
    return figures(
        got["step_s"],
        tokens_of_a_step(text),
        first_step_s=round(got["first_step_s"], 2),
        reserved_bytes=got["reserved_bytes"],
        process_bytes=got["process_bytes"],
        phases=got["phases"],
    )


def by_python(arguments, stack, text):
    job = job_of(text, stack, arguments.steps)
    got, error = executed([arguments.python, str(ROOT / "data/measure/measure.py"), json.dumps(job)], arguments.patience)
    if got and got.get("error"):
        error = str(got["error"])[:300]
    if error:
        return {"error": error}
    process = (got.get("nvml_end") or {}).get("proc")
    first = got["wall_s"] - sum(got["step_s"][1:])
    return figures(
        got["step_s"], tokens_of_a_step(text), first_step_s=round(first, 2), reserved_bytes=got["reserved_peak"], process_bytes=process, job=job
    )


def versions(arguments, stack):
    if stack == "memspec-train":
        version = said([arguments.memspec_train, "--version"], BUILD).split()[-1]
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        return {"memspec-train": f"{version} {commit}".strip()}
    packages = ["torch", "transformers", "peft", "trl", "bitsandbytes"] + (["unsloth"] if stack == "unsloth" else [])
    ask = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    return json.loads(said([arguments.python, "-c", ask, *packages], f"pip install {' '.join(packages)}; or leave {stack} out with --stacks"))


# --- what was measured ------------------------------------------------------------------------------------------------


def results(path):
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as wrong:
        fail(f"{path} is no file of JSON lines: {wrong}", "name another with --results")


def table(all):
    """A Markdown table: a row for each run and card, the newest figures of each stack."""
    newest = {}
    for one in all:
        if "error" not in one:
            newest.setdefault((one["device"], one["run"]), {})[one["stack"]] = one

    def cell(one):
        if one is None:
            return "-"
        process = f" ({one['process_bytes'] / GIB:.2f})" if one.get("process_bytes") else ""
        return f"{one['tokens_per_s']:,.0f}; {one['reserved_bytes'] / GIB:.2f}{process} GiB; {one['first_step_s']:.1f} s"

    def ratio(ours, theirs):
        return f"{ours['tokens_per_s'] / theirs['tokens_per_s']:.2f}" if ours and theirs else "-"

    rows = ["| run | card | memspec-train | Unsloth | TRL | to Unsloth | to TRL |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for (device, run), by in sorted(newest.items()):
        ours, unsloth, trl = (by.get(stack) for stack in STACKS)
        rows.append(f"| {run} | {device} | {cell(ours)} | {cell(unsloth)} | {cell(trl)} | {ratio(ours, unsloth)} | {ratio(ours, trl)} |")
    used = {json.dumps(one["versions"], sort_keys=True) for by in newest.values() for one in by.values()}
    said = ["", "tokens/s; reserved (process) memory; first step. " + "; ".join(sorted(", ".join(f"{n} {v}" for n, v in json.loads(one).items()) for one in used)) + "."]
    return "\n".join(rows + said)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names of plans beside this script [all]")
    parser.add_argument("--stacks", default=",".join(STACKS), help="which to run, in this order [%(default)s]")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps of each run [%(default)s]")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl", help="where results are kept [benches/gpu/results.jsonl]")
    parser.add_argument("--memspec-train", default=str(ROOT / "target/release/memspec-train"), help="the program [target/release/memspec-train]")
    parser.add_argument("--python", default=sys.executable, help="the Python that has trl and unsloth [this one]")
    parser.add_argument("--patience", type=int, default=900, help="seconds that a run may take [%(default)s]")
    parser.add_argument("--again", action="store_true", help="run what was measured, too")
    parser.add_argument("--table", action="store_true", help="run nothing; print the table of what was measured")
    parser.add_argument("--list", action="store_true", help="print the names of the runs")
    arguments = parser.parse_args()

    known = plans()
    if arguments.list:
        return print("\n".join(known))
    if arguments.table:
        return print(table(results(arguments.results)))
    stacks = arguments.stacks.split(",")
    for wrong in [stack for stack in stacks if stack not in STACKS]:
        fail(f"there is no stack `{wrong}`", f"there are {', '.join(STACKS)}")
    for wrong in [run for run in arguments.runs if run not in known]:
        fail(f"there is no run `{wrong}`", f"there are {', '.join(known)}")

    where = card()
    made_by = {stack: versions(arguments, stack) for stack in stacks}
    failed = 0
    for run in arguments.runs or known:
        text = known[run].read_text()
        for stack in stacks:
            key = {"run": run, "stack": stack, **where, "versions": made_by[stack]}
            same = [one for one in results(arguments.results) if all(one.get(name) == value for name, value in key.items())]
            if any("error" not in one for one in same) and not arguments.again:
                print(f"{run}, {stack}: measured before", file=sys.stderr)
                continue
            wait_for_nobody()
            print(f"{run}, {stack} ...", file=sys.stderr)
            got = by_memspec(arguments, known[run], text) if stack == "memspec-train" else by_python(arguments, stack, text)
            with arguments.results.open("a") as file:
                file.write(json.dumps({**key, **got}) + "\n")
            said = got.get("error") or f"{got['tokens_per_s']:,.0f} tokens/s, {got['reserved_bytes'] / GIB:.2f} GiB reserved, first step after {got['first_step_s']:.1f} s"
            print(f"   {said}", file=sys.stderr)
            failed += "error" in got
    print(table(results(arguments.results)))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
