"""What transformers' Trainer allocates, which axolotl and LLaMA-Factory are built around: Llama 3.2 1B with random weights, on a GPU.

    python3 benches/trainer.py                 measure: name, allocated and reserved bytes of each run
    python3 benches/trainer.py MEMSPEC_LINT    what `train.script = axolotl` is estimated to take for the same runs, without a GPU

Needs torch, transformers and peft to measure. Two samples of 1024 tokens, three steps, bf16 autocast over bf16 weights, as axolotl loads them
(`axolotl/utils/config/__init__.py`), blocks recomputed by checkpoints that are not reentrant, transformers' own loss.
"""

import gc
import json
import pathlib
import subprocess
import sys
import tempfile

# Name, adapter, embeddings and norms in float32, blocks recomputed, evaluation between steps.
RUNS = [
    ("lora", True, False, True, False),
    ("lora, nothing recomputed", True, False, False, False),
    ("lora, evaluation", True, False, True, True),
    ("all weights", False, False, True, False),
    ("all weights, embeddings in float32", False, True, True, False),
]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def estimated(linter):
    for name, adapter, upcast, recomputed, evaluates in RUNS:
        settings = [
            'model = "meta-llama/Llama-3.2-1B"; device = "h100-80"; engine = trl',
            f"adapter lora {{ rank = 16; alpha = 32; targets = [{', '.join(TARGETS)}] }}" if adapter else "",
            "data { context = 1024tok; mean_length = 1024tok" + ('; eval_path = "a/b" }' if evaluates else " }"),
            "eval { micro_batch = 8 }" if evaluates else "",
            f"train {{ script = axolotl; micro_batch = 2; precision = bf16; checkpointing = {'block' if recomputed else 'none'}",
            f"upcast = {'embeddings' if upcast else 'none'} }}",
        ]
        estimate(linter, name, settings)


def estimate(linter, name, settings):
    """Prints what a plan with these settings is estimated to take."""
    with tempfile.TemporaryDirectory() as folder:
        plan = pathlib.Path(folder) / "run.mem"
        plan.write_text('plan "run" {\n' + "\n".join(line for line in settings if line) + "\n}\n")
        out = subprocess.run([linter, "estimate", plan, "--json"], capture_output=True, text=True, check=True).stdout
    peak = json.loads(out)["plans"][0]["peak"]
    print(f"{name:36} {peak['allocated']['bytes']:>12} {peak['reserved']['bytes']:>12}")


def made(dtype):
    """Llama 3.2 1B on the card, with random weights of a type."""
    import torch
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        tie_word_embeddings=True,
        max_position_embeddings=131072,
        bos_token_id=1,
        eos_token_id=2,
        use_cache=False,
    )
    torch.set_default_dtype(dtype)
    with torch.device("cuda"):
        model = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model


def measured():
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, _):
            ids = torch.randint(0, 128000, (1024,))
            return {"input_ids": ids, "labels": ids.clone()}

    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.cuda.get_device_name()}")
    for name, adapter, upcast, recomputed, evaluates in RUNS:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        model = made(torch.bfloat16)
        for path, module in model.named_modules() if upcast else []:
            if "norm" in path or path.endswith(("embed_tokens", "lm_head")):
                module.to(torch.float32)
        model.tie_weights()
        if adapter:
            lora = LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM")
            model = get_peft_model(model, lora)
        arguments = transformers.TrainingArguments(
            tempfile.mkdtemp(),
            per_device_train_batch_size=2,
            per_device_eval_batch_size=8,
            max_steps=3,
            bf16=True,
            gradient_checkpointing=recomputed,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            eval_strategy="steps" if evaluates else "no",
            eval_steps=1,
            optim="adamw_torch_fused",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=Samples(), eval_dataset=Samples() if evaluates else None
        )
        trainer.train()
        print(f"{name:36} {torch.cuda.max_memory_allocated():>12} {torch.cuda.max_memory_reserved():>12}", flush=True)
        del trainer, model
        gc.collect()


if __name__ == "__main__":
    measured() if len(sys.argv) == 1 else estimated(sys.argv[1])
