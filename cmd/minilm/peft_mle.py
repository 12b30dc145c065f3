"""MiniLM by transformers, PEFT and PyTorch with the settings of cmd/configs/minilm.json: what MLE
is held against.

python cmd/minilm/peft_mle.py MODEL DATA_DIR DATASET SEED [--start FOLDER] [--bf16]
[--frozen-head]: a line of JSON. The base's dropout is off, the head is trained with the adapters,
the rows are shuffled anew in each epoch, the rate falls in a line after its warm-up. --start takes
adapter, head and order of rows of our run from the folder that start.mjs made, and leaves the NLL
of each update and the answers there (torch-updates.jsonl, torch-answers.jsonl; against-peft.mjs
reads them). --bf16 rounds the operands of products and what they give (autocast). --frozen-head
leaves the head at its random start, as the reference's code does.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FIELDS = {
    "mrpc": ("sentence1", "sentence2"),
    "rte": ("sentence1", "sentence2"),
    "wic": ("sentence1", "sentence2"),
    "cola": ("sentence", None),
}
BATCH, RATE, WARMUP, EPOCHS, LENGTH, BINS = 32, 5e-4, 0.06, 3, 256, 15


def rows(folder: str, dataset: str, split: str) -> list[dict]:
    lines = (Path(folder) / dataset / f"{split}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


def batch_of(tokenizer, dataset: str, some: list[dict]):
    first, second = FIELDS[dataset]
    texts = [[row[field] for row in some] for field in (first, second) if field is not None]
    encoded = tokenizer(
        *texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt"
    )
    labels = [int(row["answer"] if "answer" in row else row["label"]) for row in some]
    return encoded, torch.tensor(labels)


def measured(probs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    confidence, answer = probs.max(1)
    right = (answer == labels).double()
    bins = (confidence * BINS).floor().clamp(max=BINS).long()
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).double().mean()
        for b in range(BINS + 1)
        if (bins == b).any()
    ]
    gold = torch.nn.functional.one_hot(labels, probs.shape[1])
    return {
        "acc": right.mean().item(),
        "ece": sum(gap.item() for gap in gaps),
        "nll": -probs.gather(1, labels[:, None]).log().mean().item(),
        "brier": ((probs - gold) ** 2).sum(1).mean().item(),
    }


def written(file: Path, lines: list[dict]) -> None:
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def main(asked: argparse.Namespace) -> None:
    path, folder, dataset, seed = asked.model, asked.data_dir, asked.dataset, asked.seed
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(path)
    base = AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=2, dtype=torch.float32
    )
    if asked.start is not None:
        model = PeftModel.from_pretrained(base, asked.start, is_trainable=True).eval()
        orders = json.loads((asked.start / "order.json").read_text())
    else:
        saved = None if asked.frozen_head else ["classifier"]
        lora = LoraConfig(
            r=8, lora_alpha=8, target_modules=["query", "value"], modules_to_save=saved
        )
        model = get_peft_model(base, lora).eval()
        orders = None
    train, held = rows(folder, dataset, "train"), rows(folder, dataset, "validation")
    per_epoch = math.ceil(len(train) / BATCH)
    total = per_epoch * EPOCHS
    warmup = total * WARMUP
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, eps=1e-6, weight_decay=0.0)
    losses = []
    for step in range(total):
        if step % per_epoch == 0:
            epoch = step // per_epoch
            order = torch.randperm(len(train)).tolist() if orders is None else orders[epoch]
        at = (step % per_epoch) * BATCH
        encoded, labels = batch_of(
            tokenizer, dataset, [train[index] for index in order[at : at + BATCH]]
        )
        factor = (step + 1) / warmup if step < warmup else (total - step) / (total - warmup)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, factor)
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.bf16):
            logits = model(**encoded).logits
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probs, labels = [], []
    with torch.no_grad():
        for at in range(0, len(held), BATCH):
            encoded, gold = batch_of(tokenizer, dataset, held[at : at + BATCH])
            with torch.autocast("cpu", torch.bfloat16, enabled=asked.bf16):
                logits = model(**encoded).logits
            probs.append(logits.double().softmax(1))
            labels.append(gold)
    probs, labels = torch.cat(probs), torch.cat(labels)
    if asked.start is not None:
        answers = zip(labels.tolist(), probs.tolist())
        written(asked.start / "torch-updates.jsonl", [{"nll": loss} for loss in losses])
        written(
            asked.start / "torch-answers.jsonl",
            [{"label": label, "probs": row} for label, row in answers],
        )
    print(
        json.dumps(
            {
                **{"dataset": dataset, "seed": seed, "bf16": asked.bf16},
                **{"head": "frozen" if asked.frozen_head else "trained"},
                **measured(probs, labels),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("model", "data_dir", "dataset"):
        parser.add_argument(name)
    parser.add_argument("seed", type=int)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--frozen-head", action="store_true")
    main(parser.parse_args())
