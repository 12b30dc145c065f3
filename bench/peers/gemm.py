"""Rates of y = x·Wᵀ in PyTorch (oneDNN) on the CPU, one JSON object per line: the best of 0.4 s for
each shape of `cargo run --example gemm_rate`.

  python gemm.py [threads]

W stays as it is between calls and is in the operands' type; oneDNN reorders it in each call, as a
model in PyTorch does unless it was compiled.
"""

import json
import sys
import time

import torch

SHAPES = [
    (1536, 2048, 2048),
    (512, 576, 1536),
    (512, 1536, 576),
    (512, 576, 576),
    (512, 576, 192),
    (128, 576, 1536),
    (1, 576, 1536),
]
threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
torch.set_num_threads(threads)


def best_seconds(run):
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < 0.4:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


with torch.inference_mode():
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        for m, k, n in SHAPES:
            x, w = torch.rand(m, k).to(dtype), torch.rand(n, k).to(dtype)
            seconds = best_seconds(lambda: torch.nn.functional.linear(x, w))
            print(
                json.dumps(
                    {
                        "torch": torch.__version__,
                        "precision": name,
                        "shape": [m, k, n],
                        "threads": threads,
                        "gflops": round(2 * m * k * n / seconds / 1e9),
                    }
                )
            )
    for m, k, n in SHAPES:
        if m <= 16:
            continue  # _int_mm wants more rows
        x, w = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in [(m, k), (n, k)])
        seconds = best_seconds(lambda: torch._int_mm(x, w.t()))
        print(
            json.dumps(
                {
                    "torch": torch.__version__,
                    "precision": "int8",
                    "shape": [m, k, n],
                    "threads": threads,
                    "gflops": round(2 * m * k * n / seconds / 1e9),
                }
            )
        )
