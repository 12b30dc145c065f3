"""Goldens of the architectures beside Llama, by transformers' own classes.

Writes crates/blob-core/tests/goldens/<model>.safetensors (weights and adapters) and, per case,
<case>.safetensors (answer logits, NLL, all adapter gradients) with <case>.json (switches, batch,
scalars), as llama.py does. Each configuration is the published one scaled down, with every switch
on; transformers reads it from a config.json. The windows hold WINDOW positions: the prompts are as
long as a window, one token longer, and three times as long. See README.md.
"""

import json
import sys
import tempfile
from pathlib import Path

import llama
import noise
import numpy as np
import tiny_llama as tiny
import torch
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM

WIDTH, INNER, VOCAB, HEADS, WINDOW = 16, 24, 48, 4, 6
LENGTHS = [WINDOW, WINDOW + 1, 3 * WINDOW]
ANSWERS = [[7, 40, 12], [40, 3], [3, 12, 40, 5]]

COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": tiny.BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
}
# The second of two blocks has the window: max_window_layers counts those below that have none.
BY_BLOCK = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
# of a small vocabulary
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
MODELS = {
    # as Qwen2.5-0.5B: biases of q, k, v and a tied head; the window is stated, but off
    "qwen2": {
        "model_type": "qwen2",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "sliding_window": WINDOW,
        "max_window_layers": 1,
    },
    "qwen2-window": {
        "model_type": "qwen2",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        **BY_BLOCK,
    },
    # heads wider than hidden_size / num_attention_heads, norms of q and k, biases of q, k, v, o
    "qwen3": {
        "model_type": "qwen3",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "head_dim": 6,
        "attention_bias": True,
        **BY_BLOCK,
    },
    "mistral": {
        "model_type": "mistral",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "sliding_window": WINDOW,
    },
    "llama-bias": {
        "model_type": "llama",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "attention_bias": True,
        "mlp_bias": False,
    },
    # heads wider than hidden_size / num_attention_heads, norms that begin at 1, GELU, scaled words
    "gemma": {
        "model_type": "gemma",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "head_dim": 6,
        "hidden_act": "gelu",  # as published; means the form by tanh
    },
    # as Gemma 1 with norms on both sides of a part, soft caps, and a window in every other block,
    # the first of them
    "gemma2": {
        "model_type": "gemma2",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "head_dim": 6,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 6,
        "attn_logit_softcapping": 1.5,
        "final_logit_softcapping": 2.0,
        "sliding_window": WINDOW,
    },
    # without caps; norms of q and k, a factor of its own for the scores (GGUF has no field for it),
    # and rotary angles of their own in the blocks with a window
    "gemma3": {
        "model_type": "gemma3_text",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "tie_word_embeddings": True,
        "head_dim": 6,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 3,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    # q, k and v in one layer, gate and up in another; as many key heads as Phi-3-mini or fewer, as
    # Phi-3-medium
    "phi3": {
        "model_type": "phi3",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "sliding_window": WINDOW,
        **SPECIAL,
    },
    # LongRoPE within the context of the original training
    "phi3-long": {
        "model_type": "phi3",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "original_max_position_embeddings": 32,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.3],
            "long_factor": [2.0, 5.0],
        },
        **SPECIAL,
    },
}




def modules_of(name):
    """Every layer of a model that can be adapted."""
    return tiny.FUSED_MODULES if name.startswith("phi3") else tiny.ALL_MODULES


# name: (model, modules, settings)
CASES = {f"{model}-mle": (model, modules_of(model), {}) for model in MODELS} | {
    "qwen2-window-blob": ("qwen2-window", llama.HEAD, {"noise": "token", "seed": 2, "step": 5}),
    "qwen3-blob": (
        "qwen3",
        tiny.ALL_MODULES,
        {"noise": "token", "sigma": "softplus", "seed": 3, "step": 8},
    ),
    "gemma2-blob": ("gemma2", tiny.ALL_MODULES, {"noise": "token", "seed": 6, "step": 3}),
    "phi3-blob": ("phi3", tiny.FUSED_MODULES, {"noise": "token", "seed": 7, "step": 4}),
    "mistral-blob": ("mistral", llama.HEAD, {"noise": "example", "seed": 4, "step": 2}),
}


def batch():
    rng = np.random.default_rng(5)
    return {
        "ids": rng.integers(0, VOCAB, sum(LENGTHS)).tolist(),
        "offsets": np.cumsum([0, *LENGTHS]).tolist(),
        "answers": sum(ANSWERS, []),
        "answer_offsets": np.cumsum([0, *map(len, ANSWERS)]).tolist(),
        "labels": [1, 0, 3],
        "rows": [17, 4, 1_000_003],
    }


def plain_model(changes):
    """The model of a config.json, as transformers reads it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(changes))
        config = AutoConfig.from_pretrained(folder)
    rope = config.rope_parameters
    assert rope.get("full_attention", rope)["rope_theta"] == changes["rope_theta"]
    config.use_cache = False
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def base_tensors(name):
    """All weights of one model, and adapters on every layer, float32; without a tied head."""
    rng = np.random.default_rng(list(MODELS).index(name) + 20)
    model = plain_model(COMMON | MODELS[name])
    tied = MODELS[name]["tie_word_embeddings"]
    tensors = {}
    for path, weight in model.state_dict().items():
        if tied and path == "lm_head.weight":
            continue
        shape = tuple(weight.shape)
        if path.endswith("norm.weight"):
            # Gemma adds 1 to what its files hold.
            tensors[path] = rng.normal(0 if "gemma" in name else 1, 0.2, shape)
        elif path.endswith(".bias"):
            tensors[path] = rng.normal(0, 0.4, shape)
        elif "embed" in path:
            tensors[path] = rng.normal(0, 0.3, shape)
        else:
            tensors[path] = rng.normal(0, 0.8 / np.sqrt(shape[1]), shape)
    for path in tiny.module_paths(modules_of(name)):
        m, k = model.get_submodule(path).weight.shape
        b = rng.normal(0, 0.1, (m, tiny.RANK))
        if path == "lm_head":
            b[[token for token in range(VOCAB) if token not in sum(ANSWERS, [])]] = 0
        tensors[f"lora.{path}.A"] = rng.uniform(-1, 1, (tiny.RANK, k)) / np.sqrt(k)
        tensors[f"lora.{path}.B"] = b
        tensors[f"lora.{path}.rho"] = rng.uniform(0.2, 0.5, (tiny.RANK, k)) * rng.choice(
            [-1, 1], (tiny.RANK, k)
        )
    return {path: np.ascontiguousarray(value, np.float32) for path, value in tensors.items()}


def build(name, modules, changes=None):
    """(model, its Asker, {path: LowRank}); everything but A, B and ρ is frozen."""
    model = plain_model(COMMON | MODELS[name] | (changes or {}))
    tensors = base_tensors(name)
    weights = {
        path: torch.tensor(value) for path, value in tensors.items() if not path.startswith("lora.")
    }
    if MODELS[name]["tie_word_embeddings"]:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights, strict=True)
    model.requires_grad_(False)
    asker, layers = tiny.Asker(), {}
    for path in tiny.module_paths(modules):
        parent, _, module = path.rpartition(".")
        owner = model.get_submodule(parent)
        layers[path] = tiny.LowRank(getattr(owner, module), path, tensors, asker)
        setattr(owner, module, layers[path])
    return model, asker, layers


def compute(case):
    """(tensors, document) of a case."""
    name, modules, chosen = CASES[case]
    settings = llama.DEFAULTS | chosen
    rows = batch()
    settings.pop("labels")
    model, asker, layers = build(name, modules)
    asker.mode, asker.sigma = settings["noise"], settings["sigma"]
    if asker.mode:
        asker.key = noise.stream_key(
            settings["seed"], settings["step"], noise.TRAINING, settings["micro_batch"]
        )
    drawn = tiny.sampled_logits(model, asker, rows, settings["samples"])
    nll = tiny.nll_of(drawn, rows)
    tensors = {"logits": torch.stack([torch.cat(logits) for logits in drawn]).detach().numpy()}
    nll.backward()
    for path, parameter in tiny.parameters(
        layers, ("A", "B", "rho") if asker.mode else ("A", "B")
    ).items():
        tensors[f"grad.{path}"] = parameter.grad.numpy()
        assert parameter.grad.abs().max() > 0, f"{case}: no gradient at {path}"
    llama.check_gradient(case, model, asker, layers, rows, settings)
    tensors["nll"] = nll.detach().numpy().reshape(1)
    document = {
        "base": f"{name}.safetensors",
        "hf_config": COMMON | MODELS[name],
        "method": "blob" if asker.mode else "mle",
        "lora": {"rank": tiny.RANK, "alpha": tiny.ALPHA, "target_modules": modules},
        **settings,
        "batch": rows,
        "nll": nll.item(),
        "versions": tiny.versions(),
    }
    return {key: np.ascontiguousarray(t, np.float32) for key, t in tensors.items()}, document


def check_windows():
    """A window changes the answers of the prompts that are longer than it, and of no other."""
    for name in ("qwen2-window", "qwen3", "mistral", "gemma2", "gemma3", "phi3"):
        with torch.no_grad():
            model, asker, _ = build(name, [])
            windowed = tiny.answer_logits(model, asker, batch())
            model, asker, _ = build(name, [], {"sliding_window": 64})
            whole = tiny.answer_logits(model, asker, batch())
        change = [
            (one - other).abs().max().item() for one, other in zip(windowed, whole, strict=True)
        ]
        assert change[0] == 0 and min(change[1:]) > 1e-3, f"{name}: {change}"


def main():
    torch.set_num_threads(1)
    noise.check()
    check_windows()
    chosen = sys.argv[1:] or list(CASES)  # all, or those that are named
    for name in {CASES[case][0]: None for case in chosen}:
        save_file(base_tensors(name), noise.GOLDENS / f"{name}.safetensors")
    for case in chosen:
        tensors, document = compute(case)
        save_file(tensors, noise.GOLDENS / f"{case}.safetensors")
        noise.write_document(f"{case}.json", document)
        print(f"{case}: nll {document['nll']:.4f}, {sum(t.nbytes for t in tensors.values())} bytes")


if __name__ == "__main__":
    main()
