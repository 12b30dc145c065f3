"""Encoders for `npm run test:parity`: random bases, PEFT's adapters on them, and their class
logits.

Everything is f32, text by text, so that nothing is padded. Dimensions: d 32, f 48, two blocks, four
heads.
"""

import warnings

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file

SHAPE = {
    "vocab_size": 284,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 34,
    "initializer_range": 0.2,
}
DISTILBERT = {
    "vocab_size": 284,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}


MODERN_BERT = SHAPE | {
    "num_hidden_layers": 3,
    "local_attention": 8,
    **{"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2},
    **{"eos_token_id": 3, "sep_token_id": 3},
}
DEBERTA = SHAPE | {
    "relative_attention": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}
SHAPES = {"DistilBert": DISTILBERT, "ModernBert": MODERN_BERT, "DebertaV2": DEBERTA}


def make_encoder(out, family, seed, tokenizer):
    """The base model alone, as a Hugging Face folder; ModernBERT's with the head that its
    classification begins with."""
    torch.manual_seed(seed)
    kind = "ForMaskedLM" if family == "ModernBert" else "Model"
    model = getattr(transformers, f"{family}{kind}")(
        getattr(transformers, f"{family}Config")(**SHAPES.get(family, SHAPE))
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name.lower() or name.endswith("bias"):
                weight.normal_(1.0 if name.endswith("orm.weight") else 0.0, 0.2)
    model.save_pretrained(out)
    tokenizer.save(f"{out}/tokenizer.json")


def make_encoder_adapter(model, family, out, seed, classes, settings):
    """An adapter as PEFT saves it, with random numbers in everything that it would train."""
    adapted = get_peft_model(
        base_model(model, family, classes),
        LoraConfig(r=4, lora_alpha=12, lora_dropout=0.1, **settings),
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.normal_(0.0, 0.2)
    adapted.save_pretrained(out)


def class_logits(model, family, classes, texts, adapter):
    """Logits (B, C) of texts, each {ids, types}; and what PEFT says about the names of the file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = PeftModel.from_pretrained(base_model(model, family, classes), adapter).eval()
    # PEFT 0.13 cannot load a second adapter beside a head that is saved: the file once more, over
    # it.
    result = set_peft_model_state_dict(adapted, load_file(f"{adapter}/adapter_model.safetensors"))
    logits = []
    for text in texts:
        inputs = {
            name: torch.tensor([values]) for name, values in text.items() if values is not None
        }
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            logits.append(adapted(**inputs).logits[0].tolist())
    return {
        "logits": logits,
        "unexpected": list(result.unexpected_keys),
        "complaints": [str(it.message) for it in caught if "keys" in str(it.message)],
    }


def base_model(folder, family, classes):
    """The model with a head that no adapter was given: its seed is fixed, its numbers do not
    matter."""
    torch.manual_seed(1)
    kind = getattr(transformers, f"{family}ForSequenceClassification")
    return kind.from_pretrained(folder, num_labels=classes, attn_implementation="eager").eval()
