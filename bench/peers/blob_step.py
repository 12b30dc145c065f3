"""A PyTorch peer on the CPU: BLoB training steps and predictions of a Llama in transformers.

  python blob_step.py [--gguf FILE] [--workload FILE.json] [--dtype float32|bfloat16] [--threads 2]
  [--steps 5] [--samples 10] [--lean]

The step is that of arXiv:2406.11675's code (reference): LoRA r 8, alpha 16 on q_proj, v_proj and
lm_head; Flipout with signs per token; NLL of the answer tokens at the last position; AdamW on mean
and B, then SGD with the KL. Like the reference it computes the whole vocabulary at every position
unless --lean, which computes the last position's logits only. Without --gguf the weights are
random, in SmolLM2-135M's shape.

The workload is what `npm run bench -- workload` writes: {"answers": [4 token ids], "batches":
[{"rows": [[ids]], "labels": [0]}]}; rows of a batch are padded on the left, as the reference's
tokenizer does. Prints one JSON line: seconds, medians over the steps; memory is the process's peak.
Versions: requirements.txt.
"""

import argparse
import json
import os
import resource
import statistics
import time

import torch
from bayes_linear import BayesLinear, optimizers, updated
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--gguf")
parser.add_argument("--workload")
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--samples", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
parser.add_argument("--lean", action="store_true")
args = parser.parse_args()
torch.manual_seed(0)
torch.set_num_threads(args.threads)
dtype = getattr(torch, args.dtype)
started = time.perf_counter()
if args.gguf:
    folder, name = os.path.split(os.path.abspath(args.gguf))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype)
else:
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=False,
        max_position_embeddings=2048,
    )
    model = LlamaForCausalLM(config).to(dtype)
load_s = time.perf_counter() - started
model.train()
model.requires_grad_(False)
layers = []
for block in model.model.layers:
    for name in ("q_proj", "v_proj"):
        layer = BayesLinear(getattr(block.self_attn, name), scaling=2.0)
        setattr(block.self_attn, name, layer)
        layers.append(layer)
model.lm_head = BayesLinear(model.lm_head, scaling=2.0)
layers.append(model.lm_head)
adamw, sgd = optimizers(layers)


def padded(rows):
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return (
        ids,
        mask if mask.min() == 0 else None,
    )  # without padding, attention may take its causal fast path


if args.workload:
    with open(args.workload) as file:
        workload = json.load(file)
else:
    rows = torch.randint(10, 40000, (4, 128)).tolist()
    workload = {
        "answers": [330, 389, 340, 422],
        "batches": [{"rows": rows, "labels": [0, 1, 2, 3]}],
    }
targets = torch.tensor(workload["answers"])
batches = [(*padded(batch["rows"]), torch.tensor(batch["labels"])) for batch in workload["batches"]]
tokens = sum(len(row) for batch in workload["batches"] for row in batch["rows"])


def logits(ids, mask):
    keep = {"logits_to_keep": 1} if args.lean else {}
    return (
        model(input_ids=ids, attention_mask=mask, use_cache=False, **keep)
        .logits[:, -1, targets]
        .float()
    )


def step(ids, mask, labels):
    updated(nn.functional.cross_entropy(logits(ids, mask), labels), layers, adamw, sgd)


def predict(ids, mask, _):
    with torch.inference_mode():
        return torch.stack([logits(ids, mask).softmax(-1) for _ in range(args.samples)]).mean(0)


def timed(work, passes):
    """Seconds per batch: the median over passes of the mean over the batches, after one pass to
    warm up."""
    seconds = []
    for _ in range(passes + 1):
        start = time.perf_counter()
        for batch in batches:
            work(*batch)
        seconds.append((time.perf_counter() - start) / len(batches))
    return statistics.median(seconds[1:])


result = {
    "dtype": args.dtype,
    "lean": args.lean,
    "threads": args.threads,
    "tokens": tokens,
    "load_s": round(load_s, 3),
}
if args.steps > 0:
    result["train_step_s"] = round(timed(step, args.steps), 4)
    result["train_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
if args.samples > 0:
    model.eval()
    result["predict_s"] = round(timed(predict, 1), 4)
    result["samples"] = args.samples
result["torch"] = torch.__version__
print(json.dumps(result))
