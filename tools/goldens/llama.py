"""Goldens of a whole tiny Llama: answer logits, NLL and all adapter gradients, from PyTorch and
transformers.

Writes crates/blob-core/tests/goldens/llama-{gqa,mha}.safetensors (weights and adapters, shared by
the cases) and, per case, llama-<case>.safetensors (logits, gradients) with llama-<case>.json
(switches, batch, scalars). See README.md.
"""

import noise
import numpy as np
import tiny_llama as tiny
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file

HEAD = ["q_proj", "v_proj", "lm_head"]
UNLABELLED = [1, -1, 3]  # predicted, never trained on

# name: (arch, tied, rope, modules, settings)
CASES = {
    "mle-gqa-tied": ("gqa", True, "plain", HEAD, {}),
    "mle-mha-llama3-all": ("mha", False, "llama3", tiny.ALL_MODULES, {}),
    "mle-gqa-linear-v": ("gqa", False, "linear", ["v_proj"], {}),
    "blob-token-gqa-tied": ("gqa", True, "plain", HEAD, {"noise": "token", "seed": 1, "step": 1}),
    "blob-token-gqa-llama3-all": (
        "gqa", False, "llama3", tiny.ALL_MODULES, {"noise": "token", "sigma": "softplus", "seed": 2**40 + 7, "step": 12},
    ),
    "blob-token-mha-linear-v": ("mha", False, "linear", ["v_proj"], {"noise": "token", "seed": 3, "step": 2}),
    "blob-example-mha": ("mha", False, "plain", HEAD, {"noise": "example", "seed": 5, "step": 700}),
    "blob-example-gqa-two-samples": (
        "gqa", False, "plain", HEAD,
        {"noise": "example", "sigma": "softplus", "seed": 4, "step": 9, "micro_batch": 1, "samples": 2},
    ),
    "blob-shared-mha-tied-linear": (
        "mha", True, "linear", HEAD, {"noise": "shared", "sigma": "softplus", "seed": 6, "step": 3},
    ),
    "eval-token-gqa": (
        "gqa", False, "llama3", HEAD, {"noise": "token", "seed": 8, "samples": 3, "phase": "evaluation", "labels": UNLABELLED},
    ),
    "eval-example-mha-tied-all": (
        "mha", True, "plain", tiny.ALL_MODULES, {"noise": "example", "seed": 9, "samples": 2, "phase": "evaluation"},
    ),
}  # fmt: skip

DEFAULTS = {
    "noise": None, "sigma": "square", "seed": 0, "step": 0, "phase": "training", "micro_batch": 0, "samples": 1,
    "labels": tiny.BATCH["labels"],
}  # fmt: skip


def prepare(case):
    """(model, asker, layers, batch, settings) of a case."""
    arch, tied, rope, modules, chosen = CASES[case]
    settings = DEFAULTS | chosen
    batch = tiny.BATCH | {"labels": settings.pop("labels")}
    model, asker, layers = tiny.build(arch, tied, rope, modules)
    asker.mode, asker.sigma = settings["noise"], settings["sigma"]
    if asker.mode:
        phase = noise.EVALUATION if settings["phase"] == "evaluation" else noise.TRAINING
        asker.key = noise.stream_key(
            settings["seed"], settings["step"], phase, settings["micro_batch"]
        )
    return model, asker, layers, batch, settings


def compute(case):
    """(tensors, document) of a case."""
    model, asker, layers, batch, settings = prepare(case)
    drawn = tiny.sampled_logits(model, asker, batch, settings["samples"])
    nll = tiny.nll_of(drawn, batch)
    logits = torch.stack([torch.cat(rows) for rows in drawn])
    tensors = {"logits": logits.detach().numpy()}
    if settings["phase"] == "training":
        nll.backward()
        parts = ("A", "B", "rho") if asker.mode else ("A", "B")
        for name, parameter in tiny.parameters(layers, parts).items():
            tensors[f"grad.{name}"] = parameter.grad.numpy()
            assert parameter.grad.abs().max() > 0, f"{case}: no gradient at {name}"
        check_gradient(case, model, asker, layers, batch, settings)
    tensors["nll"] = nll.detach().numpy().reshape(1)
    arch, tied, rope, modules, _ = CASES[case]
    document = {
        "base": f"llama-{arch}.safetensors",
        "hf_config": tiny.hf_config(arch, tied, rope),
        "method": "blob" if asker.mode else "mle",
        "lora": {"rank": tiny.RANK, "alpha": tiny.ALPHA, "target_modules": modules},
        **settings,
        "batch": batch,
        "nll": nll.item(),
        "versions": tiny.versions(),
    }
    return {name: np.ascontiguousarray(t, np.float32) for name, t in tensors.items()}, document


def loss_of(model, asker, batch, settings):
    with torch.no_grad():
        return tiny.nll_of(
            tiny.sampled_logits(model, asker, batch, settings["samples"]), batch
        ).item()


def check_gradient(case, model, asker, layers, batch, settings):
    """Central difference along the gradient, separately for all A, all B, all ρ: the slope is the
    gradient's norm."""
    for part in ("A", "B", "rho") if asker.mode else ("A", "B"):
        chosen = list(tiny.parameters(layers, (part,)).values())
        start = [p.detach().clone() for p in chosen]
        norm = torch.sqrt(sum((p.grad**2).sum() for p in chosen)).item()
        step = min(0.01, 0.01 / norm)

        def loss_at(distance, chosen=chosen, start=start, norm=norm):
            with torch.no_grad():
                for p, origin in zip(chosen, start):
                    p.copy_(origin + distance / norm * p.grad)
            return loss_of(model, asker, batch, settings)

        slope = (loss_at(step) - loss_at(-step)) / (2 * step)
        loss_at(0.0)
        assert abs(slope / norm - 1) < 0.01, (
            f"{case}: slope {slope} along the gradient of {part}, norm {norm}"
        )


def check_merged():
    """Under `shared` and `example` a prompt sees one weight matrix: W₀ + s·B(M + (S Rᵀ) ∘ σ ∘ E),
    merged by hand."""
    for case in ("blob-shared-mha-tied-linear", "blob-example-mha"):
        model, asker, layers, batch, _ = prepare(case)
        with torch.no_grad():
            expected = tiny.answer_logits(model, asker, batch)
            for prompt, (ids, answers, _, row) in enumerate(tiny.prompts(batch)):
                fresh, _, merged = prepare(case)[:3]
                for layer in merged.values():
                    r, k = layer.A.shape
                    e = torch.tensor(noise.gaussian(asker.key, layer.slot, r, k))
                    if asker.mode == "example":
                        left = noise.signs(asker.key, layer.slot, noise.RANK_SIGNS, r, 0, row)
                        right = noise.signs(asker.key, layer.slot, noise.INPUT_SIGNS, k, 0, row)
                        e = e * torch.tensor(np.outer(left, right))
                    a = layer.A + tiny.std_of(layer.rho, asker.sigma) * e
                    weight = layer.base.weight + tiny.ALPHA / tiny.RANK * layer.B @ a
                    layer.forward = lambda x, weight=weight: x @ weight.T
                logits = fresh(input_ids=torch.tensor([ids])).logits[0, -1, answers]
                torch.testing.assert_close(logits, expected[prompt], rtol=1e-4, atol=1e-5)


def check_padding():
    """Left-padded prompts under an attention mask, all positions computed at once, give the same
    answers."""
    model, asker, _, batch, _ = prepare("mle-mha-llama3-all")
    rows = list(tiny.prompts(batch))
    width = max(len(ids) for ids, *_ in rows)
    padded = torch.tensor([[0] * (width - len(ids)) + ids for ids, *_ in rows])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, *_ in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        together = model(input_ids=padded, attention_mask=mask, position_ids=positions).logits[
            :, -1
        ]
        for row, (_, answers, *_), alone in zip(
            together, rows, tiny.answer_logits(model, asker, batch)
        ):
            torch.testing.assert_close(row[answers], alone, rtol=1e-4, atol=1e-5)


def check_peft():
    """PEFT's own layers with the same A and B give the same answers."""
    arch, tied, rope, modules, _ = CASES["mle-mha-llama3-all"]
    model, asker, layers, batch, _ = prepare("mle-mha-llama3-all")
    plain, other_asker, _ = tiny.build(arch, tied, rope, [])
    peft_model = get_peft_model(
        plain, LoraConfig(r=tiny.RANK, lora_alpha=tiny.ALPHA, target_modules=modules)
    )
    with torch.no_grad():
        for path, layer in layers.items():
            theirs = plain.get_submodule(path)
            theirs.lora_A["default"].weight.copy_(layer.A)
            theirs.lora_B["default"].weight.copy_(layer.B)
        expected = tiny.answer_logits(peft_model, other_asker, batch)
        for ours, theirs in zip(tiny.answer_logits(model, asker, batch), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def check_coverage():
    """Every switch occurs on both sides, and each kind of noise with both kinds of attention or σ
    somewhere."""
    columns = [
        set(column) for column in zip(*((a, t, r, tuple(m)) for a, t, r, m, _ in CASES.values()))
    ]
    assert [len(column) for column in columns] == [2, 2, 3, 3]
    seen = {(DEFAULTS | chosen)["noise"] for *_, chosen in CASES.values()}
    assert seen == {None, "token", "example", "shared"}
    logits = [compute(case)[0]["logits"][0] for case in ("mle-gqa-tied", "blob-token-gqa-tied")]
    assert np.abs(logits[0] - logits[1]).max() > 1e-2, "noise must be visible"


def main():
    torch.set_num_threads(1)
    noise.check()
    check_padding()
    check_merged()
    check_peft()
    check_coverage()
    noise.GOLDENS.mkdir(parents=True, exist_ok=True)
    for arch in tiny.KV_HEADS:
        save_file(tiny.base_tensors(arch), noise.GOLDENS / f"llama-{arch}.safetensors")
    for case in CASES:
        tensors, document = compute(case)
        save_file(tensors, noise.GOLDENS / f"llama-{case}.safetensors")
        noise.write_document(f"llama-{case}.json", document)
        print(
            f"llama-{case}: nll {document['nll']:.4f}, {sum(t.nbytes for t in tensors.values())} bytes"
        )


if __name__ == "__main__":
    main()
