"""Tiny random Llamas of transformers with our own low-rank layers: what the golden scripts compute
on.

    y = W₀x + s·B(Mx) + s·B(S ∘ ((σ∘E)(R ∘ x)))          s = alpha / r, the last term only when sampling

M is `A` in all names, (r, k); B (m, r); ρ (r, k) with σ = ρ² or softplus ρ; R (k), S (r) signs of
one token. (arXiv:2406.11675 §3; per-token Flipout as in the reference implementation.) Dimensions:
d 32, f 48, vocabulary 64.
"""

from dataclasses import dataclass
from importlib.metadata import version

import noise
import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

RANK, ALPHA = 4, 8
WIDTH, INNER, VOCAB, BLOCKS, HEADS = 32, 48, 64, 2, 4
KV_HEADS = {"gqa": 2, "mha": 4}
ALL_MODULES = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "lm_head",
]
FUSED_MODULES = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"]
OF_MLP = ("gate_proj", "up_proj", "gate_up_proj", "down_proj")
ROPE_THETA, CONTEXT, EPSILON = 10000.0, 512, 1e-5
# head_dim 8 has four wave lengths: 6.3, 63, 628, 6283. Under llama3 the first is kept, the second
# blended, the rest stretched.
ROPE = {
    "plain": None,
    "linear": {"rope_type": "linear", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    },
}
# Three prompts of 5, 1 and 9 tokens; the classes of a row differ in number and overlap with those
# of other rows.
BATCH = {
    "ids": [11, 2, 50, 33, 7, 29, 1, 17, 17, 62, 5, 40, 8, 0, 21],
    "offsets": [0, 5, 6, 15],
    "answers": [7, 40, 12, 40, 63, 3, 12, 40, 55],
    "answer_offsets": [0, 3, 5, 9],
    "labels": [1, 0, 3],
    "rows": [17, 4, 1_000_003],
}


@dataclass
class Asker:
    """Who draws noise in the current forward call. `mode` None is the posterior mean."""

    mode: str | None = None
    sigma: str = "square"
    key: np.ndarray | None = None
    sample: int = 0
    row: int = 0
    length: int = 0


def std_of(rho, sigma):
    """σ of ρ."""
    return rho * rho if sigma == "square" else nn.functional.softplus(rho)


class LowRank(nn.Module):
    """A frozen linear layer with a Bayesian low-rank term. x (1, n, k) → (1, n, m)."""

    def __init__(self, base, path, tensors, asker):
        super().__init__()
        self.base, self.path, self.asker = base, path, asker
        self.slot = noise.slot_of(path, BLOCKS)
        for part in ("A", "B", "rho"):
            setattr(self, part, nn.Parameter(torch.tensor(tensors[f"lora.{path}.{part}"])))

    def forward(self, x):
        hidden = x @ self.A.T
        if self.asker.mode is not None:
            hidden = hidden + self.noise_term(x)
        return self.base(x) + (ALPHA / RANK) * hidden @ self.B.T

    def noise_term(self, x):
        a = self.asker
        (r, k), n = self.A.shape, x.shape[1]
        # The head sees the last token only, under its own position.
        positions = range(a.length - n, a.length)
        e = torch.tensor(noise.gaussian(a.key, self.slot, r, k, a.sample))
        inputs, ranks = (
            torch.tensor(
                noise.token_signs(
                    a.mode, a.key, self.slot, purpose, count, positions, a.row, a.sample
                )
            )
            for purpose, count in ((noise.INPUT_SIGNS, k), (noise.RANK_SIGNS, r))
        )
        return ((x * inputs) @ (std_of(self.rho, a.sigma) * e).T) * ranks


def module_paths(modules):
    """Hugging Face paths of the adapted layers, block by block, the head last."""
    inner = [m for m in modules if m != "lm_head"]
    paths = [
        f"model.layers.{block}.{'mlp' if module in OF_MLP else 'self_attn'}.{module}"
        for block in range(BLOCKS)
        for module in inner
    ]
    return paths + (["lm_head"] if "lm_head" in modules else [])


def base_tensors(arch):
    """All weights of one architecture with adapters on every layer, float32, under their golden
    names.

    Larger than an ordinary initialisation, so that every term matters; |ρ| ≥ 0.2 keeps its KL
    gradient tame, its signs differ, so that dσ/dρ = 2ρ and 2|ρ| can be told apart. Rows of the
    head's B outside the answer tokens are zero.
    """
    rng = np.random.default_rng({"gqa": 11, "mha": 12}[arch])
    kv = WIDTH // HEADS * KV_HEADS[arch]
    shapes = {
        "q_proj": (WIDTH, WIDTH), "k_proj": (kv, WIDTH), "v_proj": (kv, WIDTH), "o_proj": (WIDTH, WIDTH),
        "gate_proj": (INNER, WIDTH), "up_proj": (INNER, WIDTH), "down_proj": (WIDTH, INNER), "lm_head": (VOCAB, WIDTH),
    }  # fmt: skip
    tensors = {"model.embed_tokens.weight": rng.normal(0, 0.3, (VOCAB, WIDTH))}
    for path in module_paths(ALL_MODULES):
        m, k = shapes[path.split(".")[-1]]
        tensors[f"{path}.weight"] = rng.normal(0, 0.8 / np.sqrt(k), (m, k))
        b = rng.normal(0, 0.1, (m, RANK))
        if path == "lm_head":
            b[[token for token in range(VOCAB) if token not in BATCH["answers"]]] = 0
        tensors[f"lora.{path}.A"] = rng.uniform(-1, 1, (RANK, k)) / np.sqrt(k)
        tensors[f"lora.{path}.B"] = b
        tensors[f"lora.{path}.rho"] = rng.uniform(0.2, 0.5, (RANK, k)) * rng.choice(
            [-1, 1], (RANK, k)
        )
    for block in range(BLOCKS):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{block}.{norm}.weight"] = rng.normal(1, 0.2, WIDTH)
    tensors["model.norm.weight"] = rng.normal(1, 0.2, WIDTH)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}


def hf_config(arch, tied, rope):
    """config.json in the keys that published Llama checkpoints use."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS[arch],
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_THETA,
        "rope_scaling": ROPE[rope],
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


def build(arch, tied, rope, modules):
    """(model, its Asker, {path: LowRank}); everything but A, B and ρ is frozen."""
    torch.manual_seed(0)
    config = hf_config(arch, tied, rope)
    scaling = config.pop("rope_scaling") or {"rope_type": "default"}
    config["rope_parameters"] = scaling | {"rope_theta": config.pop("rope_theta")}
    model = LlamaForCausalLM(
        LlamaConfig(**config, attn_implementation="eager", use_cache=False)
    ).eval()
    tensors = base_tensors(arch)
    weights = {
        name: torch.tensor(value) for name, value in tensors.items() if not name.startswith("lora.")
    }
    if tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights, strict=True)
    model.requires_grad_(False)
    asker, layers = Asker(), {}
    for path in module_paths(modules):
        parent, _, name = path.rpartition(".")
        owner = model.get_submodule(parent)
        layers[path] = LowRank(getattr(owner, name), path, tensors, asker)
        setattr(owner, name, layers[path])
    return model, asker, layers


def prompts(batch):
    """(ids, answers, label, row) of every prompt."""
    spans = zip(batch["offsets"], batch["offsets"][1:])
    answers = zip(batch["answer_offsets"], batch["answer_offsets"][1:])
    for (start, end), (first, last), label, row in zip(
        spans, answers, batch["labels"], batch["rows"], strict=True
    ):
        yield batch["ids"][start:end], batch["answers"][first:last], label, row


def answer_logits(model, asker, batch):
    """The logits of each prompt's answers at its last position, prompts one by one, unpadded. →
    list of (K,)."""
    rows = []
    for ids, answers, _, row in prompts(batch):
        asker.row, asker.length = row, len(ids)
        rows.append(model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1, answers])
    return rows


def sampled_logits(model, asker, batch, samples):
    """Posterior samples 0..samples, or the mean if `asker.mode` is None. → per sample a list of
    (K,)."""
    drawn = []
    for asker.sample in range(samples):
        drawn.append(answer_logits(model, asker, batch))
    return drawn


def nll_of(drawn, batch):
    """Mean over labelled prompts of -log softmax of the logits averaged over samples, in nats."""
    terms = [
        -torch.log_softmax(torch.stack(logits).mean(0), 0)[label]
        for logits, label in zip(zip(*drawn), batch["labels"])
        if label >= 0
    ]
    return torch.stack(terms).mean()


def parameters(layers, parts=("A", "B", "rho")):
    """{"path.part": parameter} of the adapted layers."""
    return {
        f"{path}.{part}": getattr(layer, part) for path, layer in layers.items() for part in parts
    }


def snapshot(layers, prefix, parts=("A", "B", "rho")):
    """Copies of the parameters as float32 arrays."""
    return {
        f"{prefix}.{name}": p.detach().numpy().copy()
        for name, p in parameters(layers, parts).items()
    }


def versions():
    return {
        name: version(name) for name in ("torch", "transformers", "peft", "safetensors", "numpy")
    }
