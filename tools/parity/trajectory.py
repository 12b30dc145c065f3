"""The training of trajectory.mjs in PyTorch: transformers' Llama from the same GGUF file, PEFT's
LoRA from our initial adapter, torch's AdamW.

  python trajectory.py MODEL.gguf FOLDER [STEPS]      needs torch, transformers, peft, gguf (tools/goldens/requirements.txt, and gguf 0.19)

Prints step, mean NLL, gradient norm and rate, to hold against the `nll`, `grad_norm` and `lr` of
metrics.jsonl.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

file, folder, steps = (
    Path(sys.argv[1]),
    Path(sys.argv[2]),
    int(sys.argv[3]) if len(sys.argv) > 3 else 14,
)
rows = json.loads((folder / "rows.json").read_text())
model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
model = PeftModel.from_pretrained(model, folder, is_trainable=True).eval()
parameters = [p for name, p in model.named_parameters() if "lora_" in name and p.requires_grad]
adamw = torch.optim.AdamW(parameters, lr=1e-4, eps=1e-6, weight_decay=0.0)
total, warmup = 150, 9.0
schedule = torch.optim.lr_scheduler.LambdaLR(
    adamw,
    lambda k: k / max(1, warmup) if k < warmup else max(0, (total - k) / max(1, total - warmup)),
)
for step in range(steps):
    batch = rows[4 * step : 4 * step + 4]
    length = max(len(row["ids"]) for row in batch)
    pads = [length - len(row["ids"]) for row in batch]
    ids = torch.tensor([[0] * pad + row["ids"] for pad, row in zip(pads, batch)])
    mask = torch.tensor([[0] * pad + [1] * len(row["ids"]) for pad, row in zip(pads, batch)])
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -1]
    classes = torch.stack([logits[i, torch.tensor(row["answers"])] for i, row in enumerate(batch)])
    loss = torch.nn.functional.cross_entropy(classes, torch.tensor([row["label"] for row in batch]))
    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
    print(
        step + 1, f"{loss.item():.4f} {norm.item():.3f} {schedule.get_last_lr()[0]:.3e}", flush=True
    )
    adamw.step()
    adamw.zero_grad()
    schedule.step()
