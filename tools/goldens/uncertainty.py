"""Golden values for test/unit/metrics/uncertainty.test.ts, by scikit-learn, scipy and plain numpy.

    python tools/goldens/uncertainty.py > test/fixtures/uncertainty.json

AUROC and FPR95 are scikit-learn's, the noise floor is by scipy's Poisson binomial law and checked
here against a simulation; the rest is numpy, written from the papers and not from the TypeScript.
"""

import json
import sys

import numpy as np
import scipy
import scipy.stats
import sklearn
from sklearn.metrics import roc_auc_score, roc_curve

BINS = 15
SAMPLES = 5


def rows(name, n, k, sharpness, seed):
    """Probabilities of several samples, their mean, and labels of a truth that is less sharp."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * sharpness
    probs = scipy.special.softmax(logits + rng.normal(size=(SAMPLES, n, k)), axis=-1)
    truth = scipy.special.softmax(logits / 1.5, axis=-1)
    labels = np.array([rng.choice(k, p=p) for p in truth])
    mean = probs.mean(0)
    information = scipy.stats.entropy(mean, axis=-1) - scipy.stats.entropy(probs, axis=-1).mean(0)
    return {"name": name, "probs": mean, "labels": labels, "mutual_information": information}


def in_bins(values):
    """Index of the bin [j/B, (j+1)/B); 1 has the bin B."""
    return np.searchsorted(np.arange(BINS + 1) / BINS, values, side="right") - 1


def noise_floor(confidence):
    rng = np.random.default_rng(0)
    bins = in_bins(confidence)
    total = 0.0
    for j in np.unique(bins):
        own = confidence[bins == j]
        law = scipy.stats.poisson_binom(own)
        counts = np.arange(len(own) + 1)
        total += np.sum(law.pmf(counts) * np.abs(counts - own.sum()))
    floor = total / len(confidence)
    hits = rng.random((20_000, len(confidence))) < confidence
    sums = np.stack([(hits - confidence)[:, bins == j].sum(1) for j in np.unique(bins)])
    simulated = np.abs(sums).sum(0) / len(confidence)
    assert abs(simulated.mean() - floor) < 4 * simulated.std() / np.sqrt(len(simulated))
    return floor


def adaptive(confidence, correct):
    order = np.argsort(confidence, kind="stable")
    gaps = [
        abs(correct[g].mean() - confidence[g].mean()) * len(g)
        for g in np.array_split(order, BINS)
        if len(g)
    ]
    return sum(gaps) / len(confidence)


def classwise(probs, labels):
    errors = []
    for k in range(probs.shape[1]):
        bins = in_bins(probs[:, k])
        error = 0.0
        for j in np.unique(bins):
            own = bins == j
            error += own.mean() * abs((labels[own] == k).mean() - probs[own, k].mean())
        errors.append(error)
    return np.mean(errors)


def debiased(confidence, correct):
    bins = in_bins(confidence)
    squared = 0.0
    for j in np.unique(bins):
        own = bins == j
        if own.sum() < 2:
            continue
        squared += own.mean() * (
            (correct[own].mean() - confidence[own].mean()) ** 2
            - correct[own].var(ddof=1) / own.sum()
        )
    return np.sqrt(max(0.0, squared))


def risks(confidence, correct):
    order = np.argsort(-confidence, kind="stable")
    return np.cumsum(1 - correct[order]) / np.arange(1, len(order) + 1)


def excess(confidence, correct):
    return risks(confidence, correct).mean() - risks(correct.astype(float), correct).mean()


def found(positive, score):
    fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
    return {"auroc": roc_auc_score(positive, score), "fpr95": fpr[np.argmax(tpr >= 0.95)]}


def scores(case):
    probs = case["probs"]
    return {
        "max_probability": -probs.max(1),
        "entropy": scipy.stats.entropy(probs, axis=-1),
        "mutual_information": case["mutual_information"],
    }


def conformal(case, u, kind, alpha):
    """The first half calibrates, the second is tested."""
    probs, labels = case["probs"], case["labels"]
    if kind == "lac":
        score = 1 - probs
    else:
        ahead = np.array([[p[p > q].sum() for q in p] for p in probs])
        score = ahead + u[:, None] * probs
    half = len(labels) // 2
    own = np.sort(score[np.arange(half), labels[:half]])
    rank = int(np.ceil((half + 1) * (1 - alpha)))
    quantile = own[rank - 1] if rank <= half else np.inf
    sets = score[half:] <= quantile
    return {
        "kind": kind,
        "alpha": alpha,
        "coverage": sets[np.arange(len(sets)), labels[half:]].mean(),
        "size": sets.sum(1).mean(),
    }


def scored(case):
    probs, labels = case["probs"], case["labels"]
    confidence = probs.max(1)
    correct = (probs.argmax(1) == labels).astype(int)
    u = np.random.default_rng(9).random(len(labels))
    by_score = {name: found(1 - correct, score) for name, score in scores(case).items()}
    ordered = risks(confidence, correct)
    return {
        "name": case["name"],
        "probs": probs.tolist(),
        "labels": labels.tolist(),
        "mutual_information": case["mutual_information"].tolist(),
        "u": u.tolist(),
        "metrics": {
            "ece_noise_floor": noise_floor(confidence),
            "adaptive_ece": adaptive(confidence, correct),
            "classwise_ece": classwise(probs, labels),
            "debiased_ece": debiased(confidence, correct),
            "overconfidence": confidence.mean() - correct.mean(),
            "aurc": ordered.mean(),
            "e_aurc": excess(confidence, correct),
            **{
                f"selective_accuracy{q}": 1 - ordered[-(-q * len(labels) // 100) - 1]
                for q in (50, 80, 90)
            },
            **{
                f"error_{m}_{s}": value for s, both in by_score.items() for m, value in both.items()
            },
        },
        "conformal": [
            conformal(case, u, kind, alpha)
            for kind in ("lac", "aps")
            for alpha in (0.1, 0.3, 0.001)
        ],
    }


def detected(inside, outside):
    positive = np.r_[np.zeros(len(inside["labels"])), np.ones(len(outside["labels"]))]
    pairs = {name: np.r_[score, scores(outside)[name]] for name, score in scores(inside).items()}
    return {name: found(positive, score) for name, score in pairs.items()}


CASES = [
    rows("four classes, sharp", 120, 4, 3.0, 1),
    rows("two classes", 61, 2, 1.5, 2),
    rows("five classes, flat", 90, 5, 0.6, 3),
]

json.dump(
    {
        "versions": {
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "bins": BINS,
        "cases": [scored(case) for case in CASES],
        "detection": detected(CASES[0], CASES[2]),
    },
    sys.stdout,
)
sys.stdout.write("\n")
