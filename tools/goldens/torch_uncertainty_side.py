"""What torch-uncertainty makes of the rows of test/fixtures/uncertainty.json, for
test/unit/metrics/torch-uncertainty.test.ts.

    pip install torch-uncertainty==0.13.0
    python tools/goldens/torch_uncertainty_side.py > test/fixtures/torch-uncertainty.json

Its AURC is the trapezoid over coverages from 1/n to 1, which leaves out half of the first and of
the last risk; ours is the mean. The rest is defined alike. FPR95 is of wrong answers, by one minus
the largest probability.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from torch_uncertainty.metrics.classification.calibration import (
    AdaptiveCalibrationError,
    ClasswiseCalibrationError,
)
from torch_uncertainty.metrics.classification.fpr import FPR95
from torch_uncertainty.metrics.classification.risk_coverage import AURC, RiskAt80Cov

FIXTURE = Path(__file__).parents[2] / "test/fixtures/uncertainty.json"


def measured(metric, *given):
    """The value of a metric on one batch."""
    metric.update(*given)
    return metric.compute().item()


def case(name, probs, labels, bins):
    """Each measure of one case."""
    probs, labels = torch.tensor(probs), torch.tensor(labels)
    classes = probs.shape[1]
    wrong = (probs.argmax(-1) != labels).long()
    adaptive = AdaptiveCalibrationError(
        task="multiclass", num_classes=classes, num_bins=bins, norm="l1"
    )
    return {
        "name": name,
        "aurc_trapezoid": measured(AURC(), probs, labels),
        "risk_at_80_coverage": measured(RiskAt80Cov(), probs, labels),
        "adaptive_ece": measured(adaptive, probs, labels),
        "classwise_ece": measured(
            ClasswiseCalibrationError(classes, num_bins=bins), probs, labels
        ),
        "error_fpr95_max_probability": measured(
            FPR95(pos_label=1), 1 - probs.max(-1).values, wrong
        ),
    }


def main():
    torch.set_default_dtype(torch.float64)
    golden = json.loads(FIXTURE.read_text(encoding="utf-8"))
    cases = [case(it["name"], it["probs"], it["labels"], golden["bins"]) for it in golden["cases"]]
    versions = {name: version(name) for name in ("torch", "torch-uncertainty")}
    json.dump({"versions": versions, "cases": cases}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
