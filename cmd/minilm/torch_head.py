"""MiniLM with the classification head that transformers draws from a seed: the head that the
reference's code leaves as it is.

python cmd/minilm/torch_head.py MODEL SEED OUT: a folder like MODEL, whose file has a head of two
classes. `bpeft train --model OUT --head frozen` then starts from it.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main(model: Path, seed: int, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, out)
    config = json.loads((model / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (out / "config.json").write_text(json.dumps(config, indent=2))
    base = load_file(model / "model.safetensors")
    tensors = {f"bert.{name}": tensor for name, tensor in base.items()}
    tensors.pop("bert.embeddings.position_ids", None)
    torch.manual_seed(seed)
    # The first numbers after the seed, as from_pretrained draws what the file lacks.
    head = torch.empty(2, config["hidden_size"]).normal_(0.0, config["initializer_range"])
    tensors |= {"classifier.weight": head, "classifier.bias": torch.zeros(2)}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
