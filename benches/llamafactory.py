"""What LLaMA-Factory's own loops allocate: the loop of its version 1 and its ASFT loss, on Llama 3.2 1B with random weights, on a GPU.

    python3 benches/llamafactory.py                 measure: name, allocated and reserved bytes of each run
    python3 benches/llamafactory.py MEMSPEC_LINT    what the same runs are estimated to take, without a GPU

Needs torch, transformers and peft to measure. Two samples of 1024 tokens, three steps, PyTorch's attention. The steps are written as LLaMA-Factory 0.9.5 has
them: `v1/core/base_trainer.py` (`fit`, `compute_log_probs`), `v1/trainers/sft_trainer.py` (`compute_loss`), and for ASFT `train/sft/trainer.py`
(`compute_loss`) and `train/trainer_utils.py` (`asft_loss_func`) in transformers' Trainer.
"""

import copy
import gc
import sys
import tempfile

from trainer import TARGETS, estimate, made

# Name, ASFT (else version 1), adapter, blocks recomputed.
RUNS = [
    ("version 1, lora", False, True, True),
    ("version 1, lora, nothing recomputed", False, True, False),
    ("version 1, all weights", False, False, True),
    ("asft, all weights", True, False, True),
    ("asft, all weights, nothing recomputed", True, False, False),
]


def estimated(linter):
    for name, asft, adapter, recomputed in RUNS:
        script = "script = llamafactory; loss = asft; optimizer = adamw" if asft else "script = llamafactory_v1; optimizer = adamw_foreach"
        precision = "bf16" if asft else "bf16_pure" if adapter else "f32"
        settings = [
            'model = "meta-llama/Llama-3.2-1B"; device = "h100-80"; engine = trl',
            f"adapter lora {{ rank = 16; alpha = 32; targets = [{', '.join(TARGETS)}]; dtype = f32 }}" if adapter else "",
            "data { context = 1024tok; mean_length = 1024tok }",
            f"train {{ {script}; micro_batch = 2; precision = {precision}; checkpointing = {'block' if recomputed else 'none'} }}",
        ]
        estimate(linter, name, settings)


def measured():
    import torch
    import transformers

    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.cuda.get_device_name()}")
    for name, asft, adapter, recomputed in RUNS:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        (frozen_copy if asft else version_1)(adapter, recomputed)
        gc.collect()
        print(f"{name:36} {torch.cuda.max_memory_allocated():>12} {torch.cuda.max_memory_reserved():>12}", flush=True)


def samples():
    import torch

    ids = torch.randint(0, 128000, (2, 1024))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def version_1(adapter, recomputed):
    import torch
    import torch.nn.functional as F
    from peft import LoraConfig, TaskType, get_peft_model

    model = made(torch.bfloat16)
    if adapter:
        lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=TARGETS, task_type=TaskType.CAUSAL_LM)
        model = get_peft_model(model, lora)
    else:
        model = model.to(torch.float32)
    if recomputed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def log_probabilities(batch):
        batch_size, _ = batch["labels"].shape
        model_inputs = {k: v.to("cuda", non_blocking=True) for k, v in batch.items()}
        labels = batch["labels"].to("cuda", non_blocking=True)
        outputs = model(**model_inputs)
        logits = outputs.logits.float()
        shift_labels = labels[..., 1:].contiguous().view(-1)
        shift_logits = logits[..., :-1, :].contiguous().view(shift_labels.size(0), -1)
        return -F.cross_entropy(shift_logits, shift_labels, reduction="none").view(batch_size, -1)

    def loss_of(batch):
        shift_loss_weights = batch["loss_weights"].to("cuda", non_blocking=True)[..., 1:]
        log_probs = log_probabilities(batch)
        return (-log_probs * shift_loss_weights).sum() / (shift_loss_weights.sum() + 1e-6)

    for _ in range(3):
        batch = samples()
        batch["loss_weights"] = torch.ones(batch["labels"].shape)
        loss = loss_of(batch)
        loss = loss * 2048 / (2048 + 1e-6)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
        optimizer.zero_grad()


def frozen_copy(_, recomputed):
    import torch
    import torch.nn.functional as F
    import transformers

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, _):
            ids = torch.randint(0, 128000, (1024,))
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}

    def dft(source, target):
        per_token_loss = F.cross_entropy(source, target, ignore_index=-100, reduction="none")
        valid_mask = target != -100
        valid_losses = per_token_loss[valid_mask]
        with torch.no_grad():
            target_probs = torch.exp(-valid_losses)
        return (valid_losses * target_probs).mean()

    def divergence(policy_logits, ref_logits, labels):
        log_p = F.log_softmax(policy_logits, dim=-1)
        q = F.softmax(ref_logits, dim=-1)
        kl = F.kl_div(log_p, q, reduction="none").sum(dim=-1)
        mask = (labels != -100).float()
        return (kl * mask).sum() / mask.sum()

    def compared(policy_logits, policy_labels, ref_logits):
        dft_loss = dft(policy_logits, policy_labels)
        kl_loss = divergence(policy_logits, ref_logits, policy_labels)
        return dft_loss + 0.1 * kl_loss

    def asft(outputs, labels, ref_logits):
        logits = outputs.get("logits")
        logits = logits.float()
        shift_logits = logits[..., :-1, :].contiguous()
        shift_labels = labels[..., 1:].contiguous()
        shift_ref_logits = ref_logits[..., :-1, :].contiguous()
        vocab_size = shift_logits.size(-1)
        shift_logits = shift_logits.view(-1, vocab_size)
        shift_ref_logits = shift_ref_logits.view(-1, vocab_size)
        shift_labels = shift_labels.view(-1).to(shift_logits.device)
        return compared(policy_logits=shift_logits, policy_labels=shift_labels, ref_logits=shift_ref_logits)

    class Trainer(transformers.Trainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            with torch.no_grad():
                ref_outputs = self.ref_model(
                    input_ids=inputs["input_ids"], attention_mask=inputs.get("attention_mask", None)
                )
                ref_logits = ref_outputs.logits
            outputs = model(**inputs)
            return asft(outputs, inputs["labels"], ref_logits)

    model = made(torch.bfloat16).to(torch.float32)
    frozen = copy.deepcopy(model).to(torch.bfloat16).requires_grad_(False).eval()
    torch.cuda.reset_peak_memory_stats()
    arguments = transformers.TrainingArguments(
        tempfile.mkdtemp(),
        per_device_train_batch_size=2,
        max_steps=3,
        bf16=True,
        gradient_checkpointing=recomputed,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        optim="adamw_torch_fused",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=Samples())
    trainer.ref_model = trainer.accelerator.prepare_model(frozen, evaluation_mode=True)
    trainer.ref_model.eval()
    trainer.train()


if __name__ == "__main__":
    measured() if len(sys.argv) == 1 else estimated(sys.argv[1])
