"""What the KL stream alone does to σ and μ over a published run (reference-protocol dynamics, no
likelihood).

    π_t = 2^i / (2^(M+1) − 1),  i = (t − 1) mod M + 1
    ρ ← ρ − κλ·π·2ρ·(2σ/(2σp² + c) − 1/(σ + c)),   σ = ρ²
    μ ← μ − κλ·π·2μ/(2σp² + c)

κ = 0.01, σp = 0.2, c = 1e-6, ρ₀ = 0.04, T = 5000 batches, 300 of them warm-up, batch 4, γ = 8.
Update t of P processes uses λ((t − 1)·P). Rows N, loader length l = N / 4, per process l_P = ⌊l /
P⌋; whole epochs are run, ⌈T / l⌉ of them. Cycle M: rescaled int(100·N^(π/γ) / (l / l_P) / 4), plain
l_P. Pure Python floats; checked against the published table to ± 0.001. Writes kl-dynamics.json.
"""

from fractions import Fraction
from math import ceil, exp2, isclose, pi

from noise import write_document

BATCH, TOTAL, WARMUP = 4, 5000, 300
KL_LR, PRIOR_STD, GAMMA, RHO, C = 0.01, 0.2, 8, 0.04, 1e-6

ROWS = {
    "winogrande_s": 640,
    "ARC-Challenge": 1116,
    "ARC-Easy": 2248,
    "winogrande_m": 2556,
    "obqa": 4956,
    "boolq": 9424,
}

# (σ, shrink of μ) for rescaled on 1 and 2 processes, then plain on 1 and 2; M likewise; batches run
# on 1 and 2 processes.
EXPECTED = {
    "winogrande_s": ([(0.1867, 0.131), (0.1867, 0.131), (0.1994, 0.018), (0.1994, 0.018)], [316, 158, 160, 80], [5120, 5120]),
    "ARC-Challenge": ([(0.1743, 0.200), (0.1749, 0.197), (0.1912, 0.100), (0.1913, 0.100)], [393, 195, 279, 139], [5022, 5004]),
    "ARC-Easy": ([(0.1523, 0.304), (0.1526, 0.303), (0.1444, 0.338), (0.1445, 0.338)], [517, 258, 562, 281], [5058, 5058]),
    "winogrande_m": ([(0.1476, 0.325), (0.1480, 0.323), (0.1321, 0.392), (0.1323, 0.391)], [544, 271, 639, 319], [5112, 5104]),
    "obqa": ([(0.1221, 0.434), (0.1225, 0.432), (0.0705, 0.660), (0.0706, 0.659)], [706, 352, 1239, 619], [6195, 6190]),
    "boolq": ([(0.0981, 0.537), (0.0983, 0.536), (0.0303, 0.852), (0.0303, 0.852)], [909, 454, 2356, 1178], [7068, 7068]),
}  # fmt: skip


def schedule(k):
    """λ(k)."""
    return k / max(1, WARMUP) if k < WARMUP else max(0.0, (TOTAL - k) / max(1, TOTAL - WARMUP))


def cycle_of(rows, processes, rescaled):
    """M, in updates."""
    loader = rows // BATCH
    per_process = loader // processes
    return (
        int(100 * rows ** (pi / GAMMA) / (loader / per_process) / BATCH)
        if rescaled
        else per_process
    )


def kl_weight(update, cycle):
    """π of the update, counted from 1; written so that 2^cycle is never formed."""
    i = (update - 1) % cycle + 1
    return exp2(i - cycle - 1) / (1 - exp2(-cycle - 1))


def updates_of(rows, processes):
    """Optimizer updates in whole epochs."""
    loader = rows // BATCH
    return ceil(TOTAL / loader) * (loader // processes)


def simulate(rows, processes, rescaled):
    """(cycle, updates, σ at the end, μ at the end over μ at the start)."""
    cycle, updates = cycle_of(rows, processes, rescaled), updates_of(rows, processes)
    rho, mu = RHO, 1.0
    for update in range(1, updates + 1):
        step = KL_LR * schedule((update - 1) * processes) * kl_weight(update, cycle)
        std = rho * rho
        rho -= step * 2 * rho * (2 * std / (2 * PRIOR_STD**2 + C) - 1 / (std + C))
        mu -= step * 2 * mu / (2 * PRIOR_STD**2 + C)
    return cycle, updates, rho * rho, mu


def check():
    """π and its sum over a cycle against exact fractions."""
    for cycle in (1, 3, 80, 2356):
        exact = [Fraction(2**i, 2 ** (cycle + 1) - 1) for i in range(1, cycle + 1)]
        for i, fraction in enumerate(exact, start=1):
            assert isclose(kl_weight(i, cycle), float(fraction), rel_tol=1e-12, abs_tol=1e-300)
        assert sum(exact) == 1 - Fraction(1, 2 ** (cycle + 1) - 1)


def main():
    check()
    runs, worst = [], 0.0
    print(f"{'data set':14} {'M from':9} P  M     updates  sigma   shrink")
    for dataset, rows in ROWS.items():
        numbers, cycles, batches = EXPECTED[dataset]
        asked = [(True, 1), (True, 2), (False, 1), (False, 2)]
        for (rescaled, processes), (sigma, shrink), expected_cycle in zip(
            asked, numbers, cycles, strict=True
        ):
            cycle, updates, end, left = simulate(rows, processes, rescaled)
            kind = "rescaled" if rescaled else "plain"
            print(
                f"{dataset:14} {kind:9} {processes}  {cycle:<5} {updates:<8} {end:.4f}  {left:.4f}"
            )
            assert cycle == expected_cycle, f"{dataset}: cycle {cycle}, published {expected_cycle}"
            assert updates * processes == batches[processes - 1], (
                f"{dataset}: {updates * processes} batches run"
            )
            worst = max(worst, abs(end - sigma), abs(left - shrink))
            runs.append({"dataset": dataset, "rows": rows, "cycle_rule": kind, "processes": processes,
                         "cycle": cycle, "updates": updates, "sigma": end, "mean_shrink": left})  # fmt: skip
    print(f"largest difference to the published table: {worst:.5f}")
    assert worst <= 0.001
    settings = {"batch_size": BATCH, "total_steps": TOTAL, "warmup_steps": WARMUP, "kl_lr": KL_LR, "prior_std": PRIOR_STD,
                "gamma": GAMMA, "initial_rho": RHO, "kl_constant": C, "sigma": "square"}  # fmt: skip
    write_document("kl-dynamics.json", {"settings": settings, "runs": runs})


if __name__ == "__main__":
    main()
