"""A PyTorch peer on the CPU: BLoB training steps and predictions of a BERT in transformers.

  python encoder_step.py FOLDER [--batch 32] [--len 64] [--dtype float32|bfloat16] [--threads 2]
  [--steps 5] [--samples 10]

LoRA r 8, alpha 8 on query and value with BLoB's noise, two classes, the head trained with the
means. Rows of one length, so that neither side pads. Prints one JSON line: seconds, medians over
the steps; memory is the process's peak when the training steps are done.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from bayes_linear import BayesLinear, optimizers, updated
from torch import nn
from transformers import AutoModelForSequenceClassification

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--len", type=int, default=64)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--samples", type=int, default=10)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
args = parser.parse_args()
torch.manual_seed(0)
torch.set_num_threads(args.threads)
dtype = getattr(torch, args.dtype)
model = AutoModelForSequenceClassification.from_pretrained(args.folder, num_labels=2, dtype=dtype)
model.eval()  # the base's own dropout is off
model.requires_grad_(False)
model.classifier.requires_grad_(True)
layers = []
for block in model.base_model.encoder.layer:
    for name in ("query", "value"):
        layer = BayesLinear(getattr(block.attention.self, name), scaling=1.0)
        setattr(block.attention.self, name, layer)
        layers.append(layer)
adamw, sgd = optimizers(layers, model.classifier.parameters())
ids = torch.randint(1000, model.config.vocab_size, (args.batch, args.len))
labels = torch.arange(args.batch) % 2


def logits():
    return model(input_ids=ids).logits.float()


def step():
    updated(nn.functional.cross_entropy(logits(), labels), layers, adamw, sgd)


def predict():
    with torch.inference_mode():
        return torch.stack([logits().softmax(-1) for _ in range(args.samples)]).mean(0)


def timed(work, passes):
    """Seconds: the median over passes, after one to warm up."""
    seconds = []
    for _ in range(passes + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


result = {
    **{"dtype": args.dtype, "threads": args.threads, "torch": torch.__version__},
    "train_step_s": round(timed(step, args.steps), 4),
    "train_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    "predict_s": round(timed(predict, 1), 4),
}
print(json.dumps(result))
