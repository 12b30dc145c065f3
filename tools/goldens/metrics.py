"""Golden values for test/unit/metrics: torchmetrics' accuracy, ECE and torch's NLL, Brier score,
entropy, mutual information.

    python tools/goldens/metrics.py > test/fixtures/metrics.json        (torch, torchmetrics; versions are written down)

Probabilities are float32 values written exactly, so that torchmetrics (which bins in float32) and
float64 code see the same numbers. The case "edges" puts confidences on bin edges and on 1.
"""

import json
import sys

import torch
import torchmetrics
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

BINS = 15


def exact(values):
    return [[float(v) for v in row] for row in values]


def scored(name, probs, labels):
    n, k = probs.shape
    wide = probs.double()
    gold = wide[torch.arange(n), labels]
    one_hot = torch.nn.functional.one_hot(labels, k).double()
    return {
        "name": name,
        "probs": exact(probs),
        "labels": labels.tolist(),
        "acc": float(multiclass_accuracy(probs, labels, num_classes=k, average="micro")),
        "ece": float(
            multiclass_calibration_error(probs, labels, num_classes=k, n_bins=BINS, norm="l1")
        ),
        "nll": float(-gold.log().mean()),
        "nll_of_batches_of_4": float(torch.stack([-b.log().mean() for b in gold.split(4)]).mean()),
        "brier": float(((wide - one_hot) ** 2).sum(-1).mean()),
        "entropy": float(torch.distributions.Categorical(probs=wide).entropy().mean()),
    }


def random_case(name, n, k, sharpness, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator) * sharpness
    labels = torch.multinomial(logits.div(2).softmax(-1), 1, generator=generator).squeeze(-1)
    return scored(name, logits.softmax(-1), labels)


def edges():
    rows, labels = [], []
    for confidence in (0.2, 0.4, 0.6, 0.8, 1.0):
        for label in (0, 1, 0):
            rest = (1 - confidence) / 4
            rows.append([confidence, rest, rest, rest, rest])
            labels.append(label if confidence < 1 else 0)
    return scored("edges", torch.tensor(rows), torch.tensor(labels))


def predictive():
    samples, prompts, k = 5, 6, 4
    logits = torch.randn(samples, prompts, k, generator=torch.Generator().manual_seed(4)) * 2
    probs = logits.double().softmax(-1)
    mean = probs.mean(0)
    entropy = torch.distributions.Categorical(probs=mean).entropy()
    conditional = torch.distributions.Categorical(probs=probs).entropy().mean(0)
    return {
        "samples": samples,
        "classes": k,
        "logits": [float(v) for v in logits.flatten()],
        "probs": exact(mean),
        "entropy": entropy.tolist(),
        "mutual_information": (entropy - conditional).tolist(),
    }


json.dump(
    {
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__.split("+")[0],
            "torchmetrics": torchmetrics.__version__,
        },
        "bins": BINS,
        "cases": [
            random_case("two classes", 41, 2, 1.0, 1),
            random_case("four classes, sharp", 60, 4, 4.0, 2),
            random_case("five classes, flat", 38, 5, 0.4, 3),
            edges(),
        ],
        "predictive": predictive(),
    },
    sys.stdout,
    indent=1,
)
sys.stdout.write("\n")
