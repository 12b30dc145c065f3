"""Goldens of tokenizers: small vocabularies behind the published rules of each family.

The vocabularies are trained here on the questions of assets/exam_topics (ours to ship), with
Python's tokenizers. The normaliser, pre-tokenizer, special tokens and template around them are
those of the published tokenizer.json. Ids, special tokens among them, are written in full for
awkward texts, and for every question as a hash: FNV-1a (64 bits) over the ids as little-endian u32.

Writes to crates/blob-core/tests/goldens:
  tokenizer-<family>.json        the tokenizer.json
  tokenizer-<family>-ids.json    {"awkward": [{"text", "ids"}], "files": {file: [hash]}}
"""

import json
from pathlib import Path

from tokenizer_ids import AWKWARD, CONTRACTIONS, GOLDENS, LLAMA3, TEKKEN
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

ASSETS = Path(__file__).resolve().parents[2] / "assets/exam_topics"
FILES = ["train.jsonl", "validation.jsonl", "test.jsonl", "shift.jsonl", "ood.jsonl"]
SIZE = 900
SPACE = "▁"
PUBLISHED_LLAMA3 = LLAMA3.replace(CONTRACTIONS, r"(?i:'s|'t|'re|'ve|'m|'ll|'d)")
QWEN2 = PUBLISHED_LLAMA3.replace("{1,3}", "")


def questions(file):
    return [
        json.loads(line)["question"] for line in (ASSETS / file).read_text("utf-8").splitlines()
    ]


def template(bos, bos_id):
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, bos_id)]
    )


def byte_level(pattern, specials, nfc=False, ignore_merges=False):
    """Byte-level BPE with special tokens behind the vocabulary."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    bytes_alone = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False, trim_offsets=False
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), bytes_alone]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((text for file in FILES for text in questions(file)), trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in specials]
    )
    tokenizer.decoder = decoders.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    return tokenizer


def qwen():
    """Qwen2, Qwen2.5, Qwen3: NFC, no BOS."""
    tokenizer = byte_level(QWEN2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True)
    tokenizer.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    return tokenizer


def llama3():
    """Llama 3: words that are tokens are taken whole."""
    tokenizer = byte_level(
        PUBLISHED_LLAMA3, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True
    )
    bos = "<|begin_of_text|>"
    ending = template(bos, tokenizer.token_to_id(bos))
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), ending]
    )
    return tokenizer


def tekken():
    """Mistral Nemo and later."""
    tokenizer = byte_level(
        TEKKEN, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], ignore_merges=True
    )
    tokenizer.post_processor = template("<s>", tokenizer.token_to_id("<s>"))
    return tokenizer


def ranked_merges(vocab, rank):
    """Every way to make a token of two, best token first, as Llama's converter writes them."""
    merges = []
    for token in sorted(rank, key=rank.get):
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [(left, right) for left, right in cuts if left in vocab and right in vocab]
        merges += sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return merges


def spaces_for_words(first):
    """Llama 2 and Mistral before tekken: SentencePiece's spaces and bytes; `first`: since v3."""
    draft = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    draft.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=SPACE, prepend_scheme="always", split=True
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=specials, show_progress=False)
    draft.train_from_iterator((text for file in FILES for text in questions(file)), trainer)
    vocab = draft.get_vocab()
    rank = {token: i for token, i in vocab.items() if i >= len(specials) and len(token) > 1}
    model = models.BPE(
        vocab, ranked_merges(vocab, rank), unk_token="<unk>", byte_fallback=True, fuse_unk=True
    )
    tokenizer = Tokenizer(model)
    if first:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement=SPACE, prepend_scheme="first", split=False
        )
    else:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        )
    undo = [
        decoders.Replace(SPACE, " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
    tokenizer.decoder = decoders.Sequence(undo)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in specials[:3]]
    )
    tokenizer.post_processor = template("<s>", 1)
    return tokenizer


FAMILIES = {
    "qwen": qwen,
    "llama3": llama3,
    "tekken": tekken,
    "mistral-v1": lambda: spaces_for_words(first=False),
    "mistral-v3": lambda: spaces_for_words(first=True),
}


def fnv1a(ids):
    state = 0xCBF29CE484222325
    for byte in b"".join(i.to_bytes(4, "little") for i in ids):
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def main():
    for family, make in FAMILIES.items():
        tokenizer = make()
        tokenizer.save(str(GOLDENS / f"tokenizer-{family}.json"), pretty=False)
        added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        awkward = [*AWKWARD, *(f"a {token}b{token} c" for token in added)]
        document = {
            "awkward": [{"text": text, "ids": tokenizer.encode(text).ids} for text in awkward],
            "files": {
                file: [fnv1a(tokenizer.encode(text).ids) for text in questions(file)]
                for file in FILES
            },
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        (GOLDENS / f"tokenizer-{family}-ids.json").write_text(text + "\n", "utf-8")
        count = sum(map(len, document["files"].values()))
        print(f"{family}: {tokenizer.get_vocab_size()} tokens, {count} questions")


if __name__ == "__main__":
    main()
