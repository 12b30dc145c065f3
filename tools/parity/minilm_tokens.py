"""Sentence pairs as MiniLM's own tokenizer cuts them, for `npm run test:parity`.

python minilm_tokens.py MODEL: pairs on standard input ({"pairs": [{"first", "second"}],
"lengths": [..]}), on standard output {length: [{"ids", "types"}]}. By tokenizers, and by transformers, which
must agree.
"""

import json
import sys

from tokenizers import Tokenizer
from transformers import AutoTokenizer


def main(model: str) -> None:
    asked = json.load(sys.stdin)
    firsts = [pair["first"] for pair in asked["pairs"]]
    seconds = [pair["second"] for pair in asked["pairs"]]
    own = Tokenizer.from_file(f"{model}/tokenizer.json")
    own.no_padding()
    auto = AutoTokenizer.from_pretrained(model, local_files_only=True)
    found = {}
    for length in asked["lengths"]:
        own.enable_truncation(length, strategy="longest_first")
        cut = own.encode_batch(list(zip(firsts, seconds)))
        theirs = auto(list(firsts), list(seconds), truncation="longest_first", max_length=length)
        found[length] = [{"ids": it.ids, "types": it.type_ids} for it in cut]
        assert theirs["input_ids"] == [it.ids for it in cut]
        assert theirs["token_type_ids"] == [it.type_ids for it in cut]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
