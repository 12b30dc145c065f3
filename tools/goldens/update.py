"""Goldens of the two-optimizer update, from torch.optim.AdamW and torch.optim.SGD on a tiny Llama.

    AdamW(M, B) on ∇NLL          ε = 1e-6; clipping, if any, acts on the NLL gradient of M and B before it
    SGD(M, B, ρ)                 M: π·∇KL    B: nothing    ρ: ∇NLL + π·∇KL   (the first optimizer does not own ρ, so ∇NLL stays)
    KL = Σ ln(σp + c) − ln(σ + c) + (σ² + M²)/(2σp² + c) − ½     in float64, at the new M; c = 1e-6 (reference) or 0 (exact)
    π of update t = 2^i / (2^(cycle + 1) − 1),  i = (t − 1) mod cycle + 1
    both learning rates × λ(t − 1),  λ(k) = k / max(1, W) for k < W, else max(0, (T − k) / max(1, T
    − W))

Writes update-<case>.json and update-<case>.safetensors; the start is llama-mha.safetensors with ρ
times `rho_scale` (small ρ, as in real runs, make the two forms of the KL differ visibly).
"""

import math

import noise
import numpy as np
import tiny_llama as tiny
import torch
from safetensors.numpy import save_file

MODULES = ["v_proj", "lm_head"]
PRIOR_STD = 0.2
DEFAULTS = {
    "updates": 3, "snapshots": [3], "kl_form": "reference", "sigma": "square", "lr": 0.01, "kl_lr": 0.01,
    "adam_epsilon": 1e-6, "weight_decay": 0.0, "max_grad_norm": 0.0, "total_steps": 10, "warmup_steps": 2,
    "kl_cycle": 3, "prior_std": PRIOR_STD, "noise": "token", "seed": 21,
    "rho_scale": 1.0,
}  # fmt: skip
CASES = {
    "one": {"updates": 1, "snapshots": [1], "warmup_steps": 0},
    "three": {"snapshots": [1, 2, 3], "rho_scale": 0.1},
    "two-exact": {"updates": 2, "snapshots": [2], "kl_form": "exact", "rho_scale": 0.1},
    "three-softplus": {"sigma": "softplus", "kl_form": "exact"},
    "three-clipped": {"max_grad_norm": 0.5, "warmup_steps": 0},
    "three-decayed": {"weight_decay": 0.1, "total_steps": 2, "warmup_steps": 1, "snapshots": [2]},
}


def schedule(k, total, warmup):
    """λ(k), the factor on both learning rates."""
    return k / max(1, warmup) if k < warmup else max(0.0, (total - k) / max(1, total - warmup))


def kl_weight(update, cycle):
    """π of the update, counted from 1."""
    return 2.0 ** ((update - 1) % cycle + 1) / (2.0 ** (cycle + 1) - 1)


def kl_of(layers, sigma, c):
    """KL of all adapted layers in nats, float64."""
    total = torch.zeros((), dtype=torch.float64)
    for layer in layers.values():
        mean, std = layer.A.double(), tiny.std_of(layer.rho.double(), sigma)
        quadratic = (std**2 + mean**2) / (2 * PRIOR_STD**2 + c)
        total = total + (math.log(PRIOR_STD + c) - torch.log(std + c) + quadratic - 0.5).sum()
    return total


def run(settings):
    """(tensors, one record per update)."""
    model, asker, layers = tiny.build("mha", False, "plain", MODULES)
    asker.mode, asker.sigma = settings["noise"], settings["sigma"]
    weights = list(tiny.parameters(layers, ("A", "B")).values())
    rhos = list(tiny.parameters(layers, ("rho",)).values())
    with torch.no_grad():
        for rho in rhos:
            rho *= settings["rho_scale"]
    adamw = torch.optim.AdamW(
        weights,
        lr=settings["lr"],
        eps=settings["adam_epsilon"],
        weight_decay=settings["weight_decay"],
    )
    sgd = torch.optim.SGD(weights + rhos, lr=settings["kl_lr"])
    factor = lambda k: schedule(k, settings["total_steps"], settings["warmup_steps"])  # noqa: E731
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in (adamw, sgd)
    ]
    c = 1e-6 if settings["kl_form"] == "reference" else 0.0
    tensors, records = {}, []
    for update in range(1, settings["updates"] + 1):
        rates = [scheduler.get_last_lr()[0] for scheduler in schedulers]
        asker.key = noise.stream_key(settings["seed"], update, noise.TRAINING)
        nll = tiny.nll_of(tiny.sampled_logits(model, asker, tiny.BATCH, 1), tiny.BATCH)
        nll.backward()
        limit = settings["max_grad_norm"] or math.inf
        grad_norm = torch.nn.utils.clip_grad_norm_(weights, limit).item()
        rho_nll = [p.grad.clone() for p in rhos]
        adamw.step()
        adamw.zero_grad()
        schedulers[0].step()

        pi = kl_weight(update, settings["kl_cycle"])
        kl = kl_of(layers, settings["sigma"], c)
        before = [p.detach().clone() for p in rhos]
        (pi * kl).backward()
        sgd.step()
        check_variance_update(layers, settings, before, rho_nll, pi, rates[1], c)
        sgd.zero_grad()
        schedulers[1].step()

        records.append({"update": update, "nll": nll.item(), "kl": kl.item(), "kl_weight": pi, "grad_norm": grad_norm,
                        "lr": rates[0], "kl_lr": rates[1]})  # fmt: skip
        if update in settings["snapshots"]:
            tensors |= tiny.snapshot(layers, f"update.{update}")
    return tensors, records


def check_variance_update(layers, settings, before, rho_nll, pi, rate, c):
    """ρ moved by the closed form −rate·(∂NLL/∂ρ + π·∂KL/∂ρ), not by the KL alone."""
    for layer, rho, nll_gradient in zip(layers.values(), before, rho_nll):
        wide = rho.double()
        std = tiny.std_of(wide, settings["sigma"])
        slope = 2 * wide if settings["sigma"] == "square" else torch.sigmoid(wide)
        kl_gradient = slope * (2 * std / (2 * PRIOR_STD**2 + c) - 1 / (std + c))
        expected = wide - rate * (nll_gradient.double() + pi * kl_gradient)
        torch.testing.assert_close(layer.rho.detach().double(), expected, rtol=1e-5, atol=1e-6)


def check_closed_forms():
    """KL(q = p) is 0 in the exact form; the schedule and the weights at their ends."""
    _, _, layers = tiny.build("mha", False, "plain", MODULES)
    with torch.no_grad():
        for layer in layers.values():
            layer.A.zero_()
            layer.rho.fill_(PRIOR_STD**0.5)
    assert (
        abs(kl_of(layers, "square", 0.0).item()) < 1e-4
    )  # ρ is float32: 768 terms, each second order in 1e-8
    assert [schedule(k, 10, 2) for k in (0, 1, 2, 6, 10, 11)] == [0, 0.5, 1, 0.5, 0, 0]
    assert [kl_weight(t, 3) for t in (1, 2, 3, 4)] == [2 / 15, 4 / 15, 8 / 15, 2 / 15]


def check_case(case, settings, tensors, records):
    """The golden shows what its case is about."""
    base = tiny.base_tensors("mha")
    start = {
        f"{path}.{part}": base[f"lora.{path}.{part}"]
        * np.float32(settings["rho_scale"] if part == "rho" else 1.0)
        for path in tiny.module_paths(MODULES)
        for part in ("A", "B", "rho")
    }
    if case == "three":  # λ(0) = 0: the first update moves nothing but Adam's moments
        for name, value in start.items():
            assert np.array_equal(tensors[f"update.1.{name}"], value)
    last = settings["snapshots"][-1]
    for name, value in start.items():
        assert not np.array_equal(tensors[f"update.{last}.{name}"], value), (
            f"{case}: {name} did not move"
        )
    if settings["max_grad_norm"]:
        assert all(record["grad_norm"] > 1.5 * settings["max_grad_norm"] for record in records), (
            records
        )
        free, _ = run(settings | {"max_grad_norm": 0.0})
        change = max(np.abs(free[name] - tensors[name]).max() for name in tensors)
        assert change > 1e-4, f"clipping changes the result by {change} only"
    if case == "two-exact":
        other, _ = run(settings | {"kl_form": "reference"})
        change = max(np.abs(other[name] - tensors[name]).max() for name in tensors)
        assert change > 1e-4, f"the form of the KL changes the result by {change} only"
    if case == "three-decayed":  # T = 2: the third update has λ = 0
        again, _ = run(settings | {"snapshots": [3]})
        for name in start:
            assert np.array_equal(again[f"update.3.{name}"], tensors[f"update.2.{name}"])


def main():
    torch.set_num_threads(1)
    check_closed_forms()
    for case, chosen in CASES.items():
        settings = DEFAULTS | chosen
        tensors, records = run(settings)
        check_case(case, settings, tensors, records)
        if case == "three":  # nothing moved in the first update; its parameters are the start
            tensors = {
                name: value for name, value in tensors.items() if not name.startswith("update.1.")
            }
            settings["snapshots"] = [2, 3]
        document = {
            "base": "llama-mha.safetensors",
            "hf_config": tiny.hf_config("mha", False, "plain"),
            "method": "blob",
            "lora": {"rank": tiny.RANK, "alpha": tiny.ALPHA, "target_modules": MODULES},
            **settings,
            "batch": tiny.BATCH,
            "records": records,
            "versions": tiny.versions(),
        }
        save_file(tensors, noise.GOLDENS / f"update-{case}.safetensors")
        noise.write_document(f"update-{case}.json", document)
        print(case, [{k: round(v, 4) for k, v in r.items()} for r in records])


if __name__ == "__main__":
    main()
