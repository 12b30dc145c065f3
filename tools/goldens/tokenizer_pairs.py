"""Goldens of sentence pairs: small vocabularies behind the published rules of four encoders.

WordPiece with BERT's normaliser, pre-tokenizer and template (also MiniLM's), byte-level BPE with
RoBERTa's and with ModernBERT's, Unigram with DeBERTa-v3's (whose table of characters is replaced by
NFKC). They are trained here on the questions of assets/exam_topics (ours to ship), with Python's tokenizers. A pair
is two questions that follow each other; each is cut, longest first, to three lengths, by tokenizers
and by transformers, which must agree.

Writes to crates/blob-core/tests/goldens:
  pairs-<family>.json        the tokenizer.json
  pairs-<family>-ids.json    {"awkward": [{"first", "second", "length", "ids", "types"}],
                              "lengths": [..], "files": {file: [hash of ids and types, length by
                              length]}}
"""

import json
import sys

from tokenizer_families import FILES, fnv1a, questions
from tokenizer_ids import AWKWARD, GOLDENS
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SIZE = 900
LENGTHS = [16, 48, 96]


def pairs(file):
    texts = questions(file)
    return list(zip(texts, texts[1:] + texts[:1]))


def trained(tokenizer, trainer):
    tokenizer.train_from_iterator((text for file in FILES for text in questions(file)), trainer)
    return tokenizer


def bert():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=SIZE, special_tokens=specials, show_progress=False
    )
    tokenizer = trained(tokenizer, trainer)
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return tokenizer


def roberta():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=specials,
        show_progress=False,
    )
    tokenizer = trained(tokenizer, trainer)
    cls, sep = (tokenizer.token_to_id(token) for token in ("<s>", "</s>"))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", sep), ("<s>", cls), trim_offsets=True, add_prefix_space=False
    )
    return tokenizer


def deberta():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFKC(), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    trainer = trainers.UnigramTrainer(
        vocab_size=SIZE, special_tokens=specials, unk_token="[UNK]", show_progress=False
    )
    tokenizer = trained(tokenizer, trainer)
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return tokenizer


def modernbert():
    """Byte-level BPE between BERT's special tokens; a second text has no type of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=specials,
        show_progress=False,
    )
    tokenizer = trained(tokenizer, trainer)
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return tokenizer


FAMILIES = {"bert": bert, "roberta": roberta, "deberta": deberta, "modernbert": modernbert}


def encoded(tokenizer, wrapped, first, second, length):
    """Ids and types, which both libraries must give."""
    tokenizer.enable_truncation(length, strategy="longest_first")
    ours = tokenizer.encode(first, second)
    tokenizer.no_truncation()
    theirs = wrapped(
        first,
        second,
        max_length=length,
        truncation="longest_first",
        return_token_type_ids=True,
    )
    assert ours.ids == theirs["input_ids"], (first, second, length)
    return ours.ids, ours.type_ids


def main():
    for family in sys.argv[1:] or FAMILIES:  # all, or those that are named
        tokenizer = FAMILIES[family]()
        path = GOLDENS / f"pairs-{family}.json"
        tokenizer.save(str(path), pretty=False)
        wrapped = PreTrainedTokenizerFast(tokenizer_file=str(path))
        awkward = []
        for at, text in enumerate(AWKWARD):
            second = AWKWARD[1 + (at * 7 + 3) % (len(AWKWARD) - 1)]
            for other in (second, None):
                for length in (8, 40):
                    ids, types = encoded(tokenizer, wrapped, text, other, length)
                    case = {"first": text, "second": other, "length": length}
                    awkward.append({**case, "ids": ids, "types": types})
        hashes = {}
        for file in FILES:
            hashes[file] = []
            for first, second in pairs(file):
                cuts = [encoded(tokenizer, wrapped, first, second, length) for length in LENGTHS]
                hashes[file].append(fnv1a([it for cut in cuts for part in cut for it in part]))
        document = {"awkward": awkward, "lengths": LENGTHS, "files": hashes}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        (GOLDENS / f"pairs-{family}-ids.json").write_text(text + "\n", "utf-8")
        count = sum(map(len, hashes.values()))
        print(f"{family}: {tokenizer.get_vocab_size()} tokens, {count} pairs")


if __name__ == "__main__":
    main()
