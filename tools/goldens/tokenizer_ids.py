"""Goldens of the tokenizers in GGUF files: token ids of real prompts and of awkward texts.

    python tokenizer_ids.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --data DIR

DIR holds arc_challenge, arc_easy and boolq as <name>/validation.jsonl. Needs gguf, tokenizers,
sentencepiece. The byte-level pipelines are put together here from the file's metadata and from
llama.cpp's table of patterns, with the steps that the original tokenizer.json files use (Digits,
ByteLevel's own pattern) where these exist; Python's tokenizers runs them on another
regular-expression engine (Oniguruma) than the Rust side. The SentencePiece model is trained and run
by Google's library.

Writes to crates/blob-core/tests/goldens:
  tokenizer-smollm2-vocabulary.txt  number of control tokens; tokens, one per line; an empty line;
  merges, one per line
  tokenizer-smollm2-prompts.jsonl   {"text", "ids"}
  tokenizer-pre-types.jsonl         {"pre", "text", "ids"}: SmolLM2's vocabulary behind other pre-tokenizers
  tokenizer-sentencepiece.json      {"tokens", "scores", "types", "cases": [{"text", "ids"}]}
"""

import argparse
import json
import tempfile
from pathlib import Path

import sentencepiece
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

GOLDENS = Path(__file__).resolve().parents[2] / "crates/blob-core/tests/goldens"
CONTROL = 3

AWKWARD = [
    "",
    " ",
    "  ",
    "   a",
    "a   ",
    "\n",
    "\n\n\n",
    " \n \n",
    "\t\tif x:\n\t\t\treturn",
    "a\r\nb\r\n\r\n",
    "1234567890",
    "3.14159 and 2,718,281",
    "in 1999/2000, 12:30h",
    "it's I'm they'll we've I'd you're DON'T IT'S we'Ve",
    "don’t “quote” — dash…",
    "naïve café Ünïcödé",
    "Cafe\u0301 e\u0301",
    "北京是中国的首都。12月",
    "こんにちは世界",
    "Привет, мир!",
    "مرحبا بالعالم",
    "🙂🙃👩‍🚀 emoji",
    "x = {'a': [1, 2], \"b\": None}  # ok",
    "a+b=c^2 <= ~d|e$",
    "<|im_start|>user\nHello<|im_end|>\n",
    "end<|endoftext|>",
    "<|im_start |>",
    "A) Saturn\nB) Mars\nAnswer: A",
    "http://example.org/a?b=c&d=%20",
    "½ ² Ⅷ ①",
    "CamelCaseAndHTTPServer iPhone ALLCAPS",
    "a\u00a0b\u2003c",
    "\u200bzero width\ufeff",
    "tab\tand  two",
    "!!!???...///",
    "ſ 'ſ K",
    "\x00\x7f",
]


def arc_prompt(row):
    lines = [f"{chr(65 + i)}) {choice}" for i, choice in enumerate(row["choices"])]
    return "\n".join([row["question"], *lines, "Answer:"])


def boolq_prompt(row):
    return f"{row['passage']}\nQuestion: {row['question']}?\nAnswer (Yes or No):"


def rows(data, name):
    return [
        json.loads(line)
        for line in (data / name / "validation.jsonl").read_text("utf-8").splitlines()
    ]


def prompts(data):
    texts = [arc_prompt(row) for name in ("arc_challenge", "arc_easy") for row in rows(data, name)]
    texts += [text for text in map(boolq_prompt, rows(data, "boolq")) if len(text) < 320][:180]
    assert len(texts) >= 1000
    return texts


CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
LLAMA3 = (
    CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def words(pattern):
    return [split(pattern), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
# name: (steps, whole words that are tokens are taken whole, NFC)
PRE_TYPES = {
    "smollm": ([pre_tokenizers.Digits(individual_digits=True), GPT2], False, False),
    "gpt-2": ([GPT2], False, False),
    "default": (
        [
            split(r"[\p{P}\$\+<=>\^~\|]+"),
            split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
            split(r"\p{N}+"),
            split("[0-9][0-9][0-9]"),
            BYTES,
        ],
        False,
        False,
    ),
    "llama-bpe": (words(LLAMA3), True, False),
    "qwen2": (words(LLAMA3.replace("{1,3}", "")), False, True),
    "tekken": (words(TEKKEN), True, False),
    "deepseek-coder": (
        [
            split("[\r\n]"),
            split(r"\s?\p{L}+"),
            split(r"\s?\p{P}+"),
            split("[一-龥ࠀ-一가-\ud7ff]+"),
            pre_tokenizers.Digits(individual_digits=True),
            BYTES,
        ],
        False,
        False,
    ),
}


def pipeline(tokens, types, merges, pre):
    steps, ignore_merges, nfc = PRE_TYPES[pre]
    model = models.BPE(
        {token: i for i, token in enumerate(tokens)},
        [tuple(m.split(" ")) for m in merges],
        ignore_merges=ignore_merges,
    )
    tokenizer = Tokenizer(model)
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(t, special=True, normalized=False)
            for t, kind in zip(tokens, types)
            if kind == CONTROL
        ]
    )
    return tokenizer


def sentencepiece_model(texts):
    """A small model with the settings of Llama 2, and its ids."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(texts), "utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=f"{folder}/model",
            model_type="bpe",
            vocab_size=900,
            byte_fallback=True,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=True,
            character_coverage=0.999,
            user_defined_symbols=["<mark>"],
            minloglevel=2,
        )
        model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/model.model")
    ids = range(model.vocab_size())

    def kind(i):
        kinds = (
            (model.is_unknown, 2),
            (model.is_control, 3),
            (model.is_byte, 6),
            (model.is_unused, 5),
        )
        return next(
            (code for test, code in kinds if test(i)), 4 if model.id_to_piece(i) == "<mark>" else 1
        )

    awkward = [text for text in AWKWARD if "\x00" not in text]
    cases = [{"text": text, "ids": model.encode(text)} for text in texts[::9] + awkward]
    pieces = [model.id_to_piece(i) for i in ids]
    return {
        "tokens": pieces,
        "scores": [model.get_score(i) for i in ids],
        "types": [kind(i) for i in ids],
        "cases": cases,
    }


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    fields = GGUFReader(arguments.gguf).fields
    tokens, merges, types = (
        fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type")
    )
    control = types.count(CONTROL)
    assert all(kind == CONTROL for kind in types[:control]) and not any(
        "\n" in text for text in [*tokens, *merges]
    )
    vocabulary = "\n".join([str(control), *tokens, "", *merges, ""])
    (GOLDENS / "tokenizer-smollm2-vocabulary.txt").write_text(vocabulary, "utf-8")

    texts = prompts(arguments.data)
    smollm = pipeline(tokens, types, merges, "smollm")
    lines = [dump({"text": text, "ids": smollm.encode(text).ids}) for text in texts]
    (GOLDENS / "tokenizer-smollm2-prompts.jsonl").write_text("\n".join([*lines, ""]), "utf-8")

    lines = []
    for pre in PRE_TYPES:
        tokenizer = pipeline(tokens, types, merges, pre)
        lines += [
            dump({"pre": pre, "text": text, "ids": tokenizer.encode(text).ids}) for text in AWKWARD
        ]
    (GOLDENS / "tokenizer-pre-types.jsonl").write_text("\n".join([*lines, ""]), "utf-8")
    (GOLDENS / "tokenizer-sentencepiece.json").write_text(
        dump(sentencepiece_model(texts)) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main()
