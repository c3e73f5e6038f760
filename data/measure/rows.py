#!/usr/bin/env python3
"""Turns what measure.py and measure_dist.py print into rows of the data files: rows.py GPU < PRINTED > ROWS

Keys of a job that have the script's default and change nothing of what is measured are left out, and so are rows that died of anything but too little
memory. Which row is kept never depends on how well it is predicted.
"""
import json, sys

NEVER = ("steps", "gb", "trace", "code", "expandable")
DEFAULTS = dict(layers=None, evaluate=0, save=False, merge=False, loss="chunked", packing=False, lengths="full", dropout=0.0, dora=False, whole=[], adapter_dtype=None, clip=1.0)
VERSIONS = {"torch": "2.11.0+cu130", "transformers": "5.17.0", "peft": "0.21.0", "trl": "1.15.0", "bitsandbytes": "0.50.2"}
PEAKS = ("load_alloc", "load_peak", "ready_alloc", "init_peak", "prepare_peak", "prepared_alloc", "fwd_peak", "after_fwd", "bwd_peak", "after_bwd", "opt_peak", "after_opt",
         "eval_peak", "after_eval", "save_peak", "after_save", "merge_peak", "after_merge", "step_peak", "peak", "reserved_peak")


def process(row):
    """Unknown once segments were given back (saving and merging flush the cache): NVML is asked at the end."""
    flushed = row["job"].get("save") or row["job"].get("merge") or row["job"]["stack"] == "unsloth"
    return None if flushed else (row.get("nvml_end") or {}).get("proc")


def clean(printed, gpu):
    job = {k: v for k, v in printed["job"].items() if k not in NEVER and not (k in DEFAULTS and v == DEFAULTS[k])}
    row = dict(job=job, gpu=gpu, versions=dict(VERSIONS, **({"unsloth": "2026.10.9"} if job["stack"] == "unsloth" else {})), context_bytes=(printed.get("ctx") or {}).get("proc"))
    row.update((k, printed[k]) for k in PEAKS if k in printed)
    row.update((k, printed[k]) for k in ("trainable", "param_bytes", "local_param_bytes") if k in printed)
    row["process_bytes"] = process(printed)
    if "ranks" in printed:
        row["ranks"] = [dict({k: rank[k] for k in PEAKS if k in rank}, process_bytes=process(dict(rank, job=printed["job"]))) for rank in printed["ranks"]]
    row["alloc_retries"] = printed.get("alloc_retries", 0)
    return row


if __name__ == "__main__":
    for line in sys.stdin:
        printed = json.loads(line)
        if "error" not in printed:
            print(json.dumps(clean(printed, sys.argv[1])))
