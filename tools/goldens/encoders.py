"""Goldens of the encoders, by transformers' own classes with PEFT's own layers on them.

Writes crates/blob-core/tests/goldens/encoder-<case>-base.safetensors (the base as the class that
published it saves it), -adapter.safetensors (what PEFT saves) and encoder-<case>.{safetensors,json}
(class logits, NLL, gradients under PEFT's names; both configurations, the batch). Texts are run one
by one, so that nothing is padded. See README.md.
"""

import json
import sys
import tempfile
from pathlib import Path

import noise
import numpy as np
import tiny_llama as tiny
import torch
import transformers
from encoder_cases import CASES, CLASSES, PADDING, VOCAB
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.numpy import load_file, save_file

# A pair, a text of [CLS] alone, and a pair as long as the table of positions.
LENGTHS = [7, 1, 12]


def batch(family, config):
    rng = np.random.default_rng(5)
    ids = rng.integers(2, VOCAB, sum(LENGTHS))
    ids[3] = PADDING  # a padding token that someone wrote out has no position of its own
    untyped = family in ("DistilBert", "ModernBert")
    types = 1 if untyped else max(1, config.get("type_vocab_size", 2))
    kinds = [np.minimum(np.arange(n) * types // n, types - 1) for n in LENGTHS]
    return {
        "ids": ids.tolist(),
        "types": np.concatenate(kinds).tolist(),
        "offsets": np.cumsum([0, *LENGTHS]).tolist(),
        # one row in which fewer classes compete
        "answers": [0, 1, 2, 2, 0, 0, 1, 2],
        "answer_offsets": [0, 3, 5, 8],
        "labels": [1, 0, 2],
        "rows": [17, 4, 1_000_003],
    }


def randomise(model, rng):
    """Larger than an ordinary initialisation, so that every term matters."""
    for path, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if "norm" in path.lower():
            value = rng.normal(1 if path.endswith("weight") else 0, 0.2, shape)
        elif path.endswith("bias"):
            value = rng.normal(0, 0.4, shape)
        elif "embeddings" in path or ".lora_B" in path:
            value = rng.normal(0, 0.3, shape)
        else:
            value = rng.normal(0, 0.8 / np.sqrt(shape[1]), shape)
        with torch.no_grad():
            parameter.copy_(torch.tensor(value, dtype=torch.float32))


def base(case, rng):
    """(configuration, tensors) of the base as its class saves it, and the model for classification."""
    family, published, settings, _ = CASES[case]
    config = getattr(transformers, f"{family}Config")(**settings)
    saved = getattr(transformers, published)(config).eval()
    randomise(saved, rng)
    with tempfile.TemporaryDirectory() as folder:
        saved.save_pretrained(folder)
        document = json.loads((Path(folder) / "config.json").read_text())
        tensors = load_file(Path(folder) / "model.safetensors")
        model = getattr(transformers, f"{family}ForSequenceClassification").from_pretrained(
            folder, num_labels=CLASSES, attn_implementation="eager"
        )
    return document, tensors, model.eval()


# Whose noise a layer draws.
asker = tiny.Asker(key=noise.stream_key(0, 1, noise.TRAINING, 0))
# The table of distances is a text of its own to the noise.
ROW_OF_TABLES = 0xFFFFFFFF


def make_noisy(path, layer, family, rho):
    """PEFT's layer under a draw of its A: y = W₀x + b + s·B(Ax + T ∘ (σ∘E)(S ∘ x)), σ = ρ²."""
    block = int(path.split(".layer.")[1].split(".")[0])
    module = ("query", "key", "value").index(path.rsplit(".", 1)[1].removesuffix("_proj"))
    slot = 8 * block + module
    lora_a, lora_b = layer.lora_A["default"].weight, layer.lora_B["default"].weight

    def forward(x):
        n = x.shape[1]
        if n == asker.length:
            # BERT's rows begin behind [CLS], which comes last: it has no order of its own.
            positions = [n - 1, *range(n - 1)] if family == "Bert" else range(n)
            row = asker.row
        else:
            positions, row = range(n), ROW_OF_TABLES
        (r, k), scaling = lora_a.shape, layer.scaling["default"]
        e = torch.tensor(noise.gaussian(asker.key, slot, r, k))
        inputs, ranks = (
            torch.tensor(
                noise.token_signs("token", asker.key, slot, purpose, count, positions, row)
            )
            for purpose, count in ((noise.INPUT_SIGNS, k), (noise.RANK_SIGNS, r))
        )
        hidden = x @ lora_a.T + ((x * inputs) @ (rho**2 * e).T) * ranks
        return layer.base_layer(x) + scaling * hidden @ lora_b.T

    layer.forward = forward


def logits_of(model, rows):
    drawn = []
    for index, (start, end) in enumerate(zip(rows["offsets"], rows["offsets"][1:])):
        inputs = {"input_ids": torch.tensor([rows["ids"][start:end]])}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if max(rows["types"]) > 0:
            inputs["token_type_ids"] = torch.tensor([rows["types"][start:end]])
        first, last = rows["answer_offsets"][index : index + 2]
        asker.row, asker.length = rows["rows"][index], end - start
        drawn.append(model(**inputs).logits[0, rows["answers"][first:last]])
    return drawn


def numpy(tensors):
    return {
        name: np.ascontiguousarray(value.detach().numpy(), np.float32)
        for name, value in tensors.items()
    }


def compute(case):
    rng = np.random.default_rng(list(CASES).index(case) + 60)
    document, tensors, model = base(case, rng)
    family, _, settings, lora = CASES[case]
    lora = dict(lora)
    sharing = lora.pop("noise", None)
    rows = batch(family, settings)
    head = {
        name: value
        for name, value in model.state_dict().items()
        if "classifier" in name or name.startswith("pooler.")
    }
    adapted = get_peft_model(
        model, LoraConfig(r=tiny.RANK, lora_alpha=tiny.ALPHA, lora_dropout=0.0, **lora)
    ).eval()
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        scale = (
            0.3 if "lora_B" in name or name.endswith("bias") else 0.8 / np.sqrt(parameter.shape[-1])
        )
        with torch.no_grad():
            parameter.copy_(
                torch.tensor(rng.normal(0, scale, tuple(parameter.shape)), dtype=torch.float32)
            )
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        adapter_config = json.loads((Path(folder) / "adapter_config.json").read_text())
        adapter = load_file(Path(folder) / "adapter_model.safetensors")
    noisy = {}
    if sharing is not None:
        for path, layer in adapted.named_modules():
            if hasattr(layer, "lora_A") and layer.lora_A:
                shape = layer.lora_A["default"].weight.shape
                rho = rng.uniform(0.2, 0.5, shape) * rng.choice([-1, 1], shape)
                rho = torch.nn.Parameter(torch.tensor(rho, dtype=torch.float32))
                make_noisy(path, layer, family, rho)
                noisy[f"{path}.lora_A_rho"] = rho
        trained |= noisy
        adapter |= {name: rho.detach().numpy().copy() for name, rho in noisy.items()}
    if "task_type" not in lora:
        # PEFT saves no frozen head; ours is part of the adapter, as the base layers of its terms.
        for name, value in head.items():
            layer, part = name.rsplit(".", 1)
            adapter[f"base_model.model.{layer}.base_layer.{part}"] = value.numpy()
    logits = logits_of(adapted, rows)
    nll = torch.stack(
        [
            -torch.log_softmax(row, 0)[label]
            for row, label in zip(logits, rows["labels"], strict=True)
        ]
    ).mean()
    nll.backward()
    check_gradient(case, adapted, trained, rows, nll)
    expected = {"logits": torch.cat(logits), "nll": nll.reshape(1)}
    with torch.no_grad():
        for parameter in trained.values():
            assert parameter.grad.abs().max() > 0
            parameter.copy_(parameter.grad)
    gradients = get_peft_model_state_dict(adapted)
    expected |= {f"grad.{name}": value for name, value in (gradients | noisy).items()}
    document = {
        "hf_config": document,
        "adapter_config": adapter_config,
        **({} if sharing is None else {"noise": sharing}),
        "batch": rows,
        "nll": nll.item(),
        "versions": tiny.versions(),
    }
    return tensors, adapter, numpy(expected), document


def check_gradient(case, model, trained, rows, nll):
    """Central difference along the gradient: the slope is its norm."""
    start = {name: p.detach().clone() for name, p in trained.items()}
    norm = torch.sqrt(sum((p.grad**2).sum() for p in trained.values())).item()
    step = 0.01 / max(norm, 1)

    def loss_at(distance):
        with torch.no_grad():
            for name, p in trained.items():
                p.copy_(start[name] + distance / norm * p.grad)
            logits = logits_of(model, rows)
            terms = [
                -torch.log_softmax(row, 0)[label] for row, label in zip(logits, rows["labels"])
            ]
            return torch.stack(terms).mean().item()

    slope = (loss_at(step) - loss_at(-step)) / (2 * step)
    loss_at(0)
    assert abs(slope / norm - 1) < 0.02, f"{case}: slope {slope}, norm {norm}"


def relative_buckets():
    """The row of every distance from 0 to 1200, as the published model finds it."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    cases = []
    for span, farthest in [(256, 512), (4, 12), (8, 64), (64, 1024), (256, 256)]:
        far = torch.arange(1201)
        buckets = make_log_bucket_position(far, span, farthest).long()
        rows = torch.clamp(buckets + span, 0, 2 * span - 1)
        mirrored = make_log_bucket_position(-far, span, farthest).long()
        assert torch.equal(buckets, -mirrored)
        cases.append({"span": span, "farthest": farthest, "rows": rows.tolist()})
    noise.write_document("relative-buckets.json", {"cases": cases})


def main():
    """All cases, or those that are named."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    relative_buckets()
    for case in sys.argv[1:] or CASES:
        base_tensors, adapter, expected, document = compute(case)
        name = f"encoder-{case}"
        save_file(base_tensors, noise.GOLDENS / f"{name}-base.safetensors")
        save_file(adapter, noise.GOLDENS / f"{name}-adapter.safetensors")
        save_file(expected, noise.GOLDENS / f"{name}.safetensors")
        noise.write_document(f"{name}.json", document)
        print(f"{name}: nll {document['nll']:.4f}")


if __name__ == "__main__":
    main()
