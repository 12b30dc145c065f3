"""What `npm run test:parity` asks of PyTorch, transformers and PEFT: jobs in as JSON, answers out
as JSON.

    python peft_side.py JOBS.json ANSWERS.json

A job is an object whose `kind` names a function below; the other fields are its arguments.
Everything is f32 on one thread. Dimensions: d 32, f 48, two blocks, four query heads on two key
heads; the vocabulary has 284 tokens.
"""

import json
import sys
import warnings
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import encoders
import laplace_side
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM

PREFIX = "base_model.model."
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def versions():
    """Versions of what the numbers depend on."""
    return {name: version(name) for name in ("peft", "transformers", "torch")}


def lora_config_fields():
    """The fields that this PEFT's LoraConfig knows; any other key in a file is an error or a
    warning."""
    return [field.name for field in fields(LoraConfig)]


def byte_tokenizer():
    """Byte-level BPE without merges, but for a blank before a capital: " A" is one token. BOS as
    Llama's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    capitals = [chr(ord("A") + index) for index in range(26)]
    words = ["<s>", "</s>", *alphabet, *(f"Ġ{capital}" for capital in capitals)]
    merges = [("Ġ", capital) for capital in capitals]
    tokenizer = Tokenizer(models.BPE({word: token for token, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return tokenizer


def make_model(out, tied, seed):
    """A random Llama as a Hugging Face folder; its weights are large enough that attention is not
    uniform."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.normal_(1.0, 0.2)
    model.save_pretrained(out)
    tokenizer.save(f"{out}/tokenizer.json")


def make_encoder(out, family, seed):
    """The base of a BERT, RoBERTa or DistilBERT."""
    encoders.make_encoder(out, family, seed, byte_tokenizer())


def make_adapter(model, out, seed, target_modules, **settings):
    """A LoRA adapter as PEFT saves it, with random numbers in everything that it would train."""
    shape = {"r": 4, "lora_alpha": 12, "lora_dropout": 0.1, "task_type": "CAUSAL_LM"}
    config = LoraConfig(target_modules=target_modules, **shape, **settings)
    adapted = get_peft_model(base_model(model), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.normal_(0.0, 0.15)
    adapted.save_pretrained(out)


@torch.no_grad()
def make_reference_checkpoint(model, adapter, out, seed, prompts, prior_std):
    """`adapter` as the reference code saves a BLoB: the prefix twice, the frozen head, ρ without a
    suffix.

    Answers with what σ = ρ² must give: its mean; KL = Σ ln(σp/σ) + (σ² + μ²)/(2σp²) − ½; and the
    standard deviation of each logit (B, V) when only the head samples, s·√(Σ_r B_cr² Σ_k σ_rk²
    x_k²), x the head's input.
    """
    torch.manual_seed(seed)
    tensors, kl, stds = {}, 0.0, {}
    for name, tensor in load_file(f"{adapter}/{WEIGHTS}").items():
        if "lora_" not in name:
            continue
        tensors[PREFIX + name] = tensor
        if name.endswith(".lora_A.weight"):
            rho = torch.empty_like(tensor).uniform_(0.3, 0.5)
            tensors[PREFIX + name.replace(".lora_A.weight", ".lora_A_rho")] = rho
            std, mean = rho.double() ** 2, tensor.double()
            stds[name] = std
            kl += (
                ((prior_std / std).log() + (std**2 + mean**2) / (2 * prior_std**2) - 0.5)
                .sum()
                .item()
            )
    head = base_model(model).lm_head.weight.detach()
    tensors[f"{PREFIX}{PREFIX}lm_head.base_layer.weight"] = head.half()
    Path(out).mkdir(parents=True)
    save_file(tensors, f"{out}/{WEIGHTS}", metadata={"format": "pt"})
    text = Path(adapter, CONFIG).read_text(encoding="utf-8")
    Path(out, CONFIG).write_text(text, encoding="utf-8")
    config = json.loads(text)
    noise = stds[f"{PREFIX}lm_head.lora_A.weight"]
    lora_b = tensors[f"{PREFIX}{PREFIX}lm_head.lora_B.weight"].double()
    adapted = PeftModel.from_pretrained(base_model(model), adapter).eval()
    states = [adapted(ids(prompt), output_hidden_states=True).hidden_states for prompt in prompts]
    inputs = torch.stack([each[-1][0, -1] for each in states])  # (B, d)
    variance = (inputs.double() ** 2) @ (noise**2).T @ (lora_b**2).T  # (B, V)
    return {
        "sigma_mean": torch.cat([std.flatten() for std in stds.values()]).mean().item(),
        "kl": kl,
        "head_logit_std": (config["lora_alpha"] / config["r"] * variance.sqrt()).tolist(),
    }


def logits(model, prompts, adapter=None):
    """Logits (B, V) after each prompt: of the base model, or of the posterior mean."""
    return last_logits(base_model(model) if adapter is None else loaded(model, adapter)[0], prompts)


def load_report(model, adapter, prompts, without):
    """How PEFT takes an adapter folder: which keys it misses or does not know, and what the weights
    do."""
    adapted, complaints = loaded(model, adapter)
    result = adapted.load_adapter(adapter, adapter_name="again")
    file, state = load_file(f"{adapter}/{WEIGHTS}"), adapted.state_dict()
    read = {
        name: name.replace(".weight", ".default.weight")
        for name in file
        if "lora_" in name and name.endswith(".weight")
    }
    report = {
        "logits": last_logits(adapted, prompts),
        "missing": [key for key in result.missing_keys if "lora_" in key and ".again" in key],
        "unexpected": list(result.unexpected_keys),
        "complaints": complaints,
        "not_loaded": [
            name for name, key in read.items() if not torch.equal(state[key], file[name])
        ],
        "not_in_file": [
            key for key in state if key.endswith(".default.weight") and key not in read.values()
        ],
        "largest_b": largest_b(file),
    }
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if f"{without}.lora_B." in name:
                weight.zero_()
    report["logits_without"] = last_logits(adapted, prompts)
    return report


def refusal(model, adapter):
    """Why PEFT does not load an adapter; empty if it does."""
    try:
        loaded(model, adapter)
    except (KeyError, ValueError, TypeError) as error:
        return repr(error)
    return ""


def largest_b(file):
    """Largest absolute entry of B by module."""
    largest = {}
    for name, tensor in file.items():
        if ".lora_B." in name:
            module = name.split(".lora_B.")[0].split(".")[-1]
            largest[module] = max(largest.get(module, 0.0), tensor.abs().max().item())
    return largest


def base_model(folder):
    """The model in f32; the plainest attention."""
    model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    if model.dtype != torch.float32:
        raise TypeError(f"the model must be float32, got {model.dtype}")
    return model


def loaded(model, adapter):
    """(the model with its adapter, PEFT's warnings about keys)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = PeftModel.from_pretrained(base_model(model), adapter).eval()
    return adapted, [str(warning.message) for warning in caught if "keys" in str(warning.message)]


def ids(prompt):
    """Token ids, (1, n)."""
    return torch.tensor([prompt])


@torch.no_grad()
def last_logits(model, prompts):
    """Logits after the last token of each prompt, (B, V); prompts one by one, so without padding."""
    return [model(ids(prompt)).logits[0, -1].tolist() for prompt in prompts]


JOBS = {
    job.__name__: job
    for job in (
        versions,
        lora_config_fields,
        make_model,
        make_encoder,
        make_adapter,
        encoders.make_encoder_adapter,
        encoders.class_logits,
        laplace_side.laplace,
        make_reference_checkpoint,
        logits,
        load_report,
        refusal,
    )
}


def main(jobs_file, answers_file):
    torch.set_num_threads(1)
    jobs = json.loads(Path(jobs_file).read_text(encoding="utf-8"))
    answers = [JOBS[job.pop("kind")](**job) for job in jobs]
    Path(answers_file).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
