"""A PyTorch peer on the CPU: one BLoB training step of a SmolLM2-135M-shaped Llama with random weights, in transformers.

  python blob_step.py [--batch 4] [--seq-len 128] [--steps 6] [--dtype float32|bfloat16] [--threads 2] [--samples 10]

The step is that of arXiv:2406.11675's code (reference): LoRA r 8, alpha 16 on q_proj, v_proj and lm_head; Flipout with signs per token; NLL of
the answer tokens at the last position; AdamW on mean and B, then SGD with the KL. Like the reference it computes the whole vocabulary at
every position unless --lean, which computes the last position's logits only. Prints one JSON line: medians in seconds.
Versions: torch 2.15, transformers 5.23 (requirements.txt of tools/goldens).
"""

import argparse
import json
import math
import resource
import statistics
import time

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq-len", type=int, default=128)
parser.add_argument("--steps", type=int, default=6)
parser.add_argument("--samples", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
parser.add_argument("--lean", action="store_true")
args = parser.parse_args()
torch.manual_seed(0)
torch.set_num_threads(args.threads)
RANK, SCALING, PRIOR = 8, 2.0, 0.2


class BayesLinear(nn.Module):
    """y = x·W₀ᵀ + s·(x·Mᵀ + T ∘ ((x ∘ S)(ρ² ∘ E)ᵀ))·Bᵀ."""

    def __init__(self, base):
        super().__init__()
        k, m = base.in_features, base.out_features
        self.base = base
        self.mean = nn.Parameter(torch.empty(RANK, k).uniform_(-1, 1) / math.sqrt(k))
        self.rho = nn.Parameter(torch.empty(RANK, k).uniform_(0.05 / math.sqrt(2), 0.05))
        self.b = nn.Parameter(torch.zeros(m, RANK))

    def forward(self, x):
        f = x.float()
        perturbation = self.rho.square() * torch.randn_like(self.rho)
        signs_in = torch.randint(0, 2, f.shape).mul_(2).sub_(1).float()
        h = f @ self.mean.t()
        signs_rank = torch.randint(0, 2, h.shape).mul_(2).sub_(1).float()
        h = h + ((f * signs_in) @ perturbation.t()) * signs_rank
        return self.base(x) + (h @ self.b.t() * SCALING).to(x.dtype)

    def kl(self):
        var, mean = self.rho.double() ** 4, self.mean.double()
        return (math.log(PRIOR) - var.sqrt().log() + (var + mean**2) / (2 * PRIOR**2) - 0.5).sum()


config = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, tie_word_embeddings=False, max_position_embeddings=2048,
)
model = LlamaForCausalLM(config).to(getattr(torch, args.dtype))
model.requires_grad_(False)
layers = []
for block in model.model.layers:
    for name in ("q_proj", "v_proj"):
        layer = BayesLinear(getattr(block.self_attn, name))
        setattr(block.self_attn, name, layer)
        layers.append(layer)
model.lm_head = BayesLinear(model.lm_head)
layers.append(model.lm_head)
point = [p for layer in layers for p in (layer.mean, layer.b)]
adamw = torch.optim.AdamW(point, lr=1e-4, eps=1e-6, weight_decay=0.0)
sgd = torch.optim.SGD(point + [layer.rho for layer in layers], lr=0.01)
ids = torch.randint(10, 40000, (args.batch, args.seq_len))
labels = torch.arange(args.batch) % 4
targets = torch.tensor([330, 389, 340, 422])


def logits():
    keep = {"logits_to_keep": 1} if args.lean else {}
    return model(input_ids=ids, use_cache=False, **keep).logits[:, -1, targets].float()


def step():
    nn.functional.cross_entropy(logits(), labels).backward()
    adamw.step()
    adamw.zero_grad()
    (sum(layer.kl() for layer in layers) * 1e-3).backward()
    sgd.step()
    sgd.zero_grad()


def timed(work, count):
    seconds = []
    for _ in range(count + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


result = {"dtype": args.dtype, "batch": args.batch, "seq_len": args.seq_len, "lean": args.lean, "threads": args.threads}
result["train_step_s"] = round(timed(step, args.steps), 4)
if args.samples > 0:
    with torch.inference_mode():
        predict = lambda: torch.stack([logits().softmax(-1) for _ in range(args.samples)]).mean(0)  # noqa: E731
        result["predict_s"] = round(timed(predict, 3), 4)
        result["samples"] = args.samples
result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
result["torch"] = torch.__version__
print(json.dumps(result))
