"""Pretrains the embedded model: a Llama of 4.1 million parameters, a few passes over `corpus.py`'s
text.

    python pretrain.py CORPUS_DIR OUT_DIR [--minutes 40]     writes OUT_DIR/{config.json,model.safetensors,tokenizer.json} and log.jsonl

The embedding is not learned from nothing: so little text would not do. It starts as the token
vectors of a latent semantic analysis of the same text (tf · idf over documents, truncated SVD, rows
of unit length; Deerwester et al. 1990), in which tokens that occur in the same documents are close,
and moves a tenth as fast as the rest.

Each document is a row of its own (begin of text first, end of text last, no neighbour in sight), as
in use. Batches hold documents of like length, about 4,096 tokens. The loss is the mean
cross-entropy of the next token over all tokens, plus that of the exercises (`exercises.py`): of
these, whose text the passages hold already, only the words behind `Answer:` count. AdamW (β 0.9,
0.95; decay 0.1 on matrices but the embedding), warm-up 2 %, then linear decay to zero; all in f32.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from exercises import Exercise, TopicExercises

SEED = 1
VOCABULARY = 8000
TOKENS_PER_BATCH = 4096
LONGEST = 320
PEAK_RATE = 3e-3
EMBEDDING_RATE = 0.1
END_ID = 1
BEGIN, END = "<|begin|>", "<|end|>"


def documents(path: Path) -> list[str]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level BPE with GPT-2's splitting, so that a GGUF file can name it (`tokenizer.ggml.pre`
    = gpt-2)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    begin = tokenizer.token_to_id(BEGIN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, begin)]
    )
    return tokenizer


def semantic_vectors(texts: list[str], tokenizer: Tokenizer, width: int) -> torch.Tensor:
    """(vocabulary, width): one vector per token, coordinates of about unit size."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    vectorizer = TfidfVectorizer(analyzer=lambda document: document, sublinear_tf=True)
    counts = vectorizer.fit_transform(ids)
    directions = TruncatedSVD(width, random_state=SEED).fit(counts).components_.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True) + 1e-12
    vectors = torch.randn(VOCABULARY, width)
    known = torch.from_numpy(vectorizer.get_feature_names_out().astype(np.int64))
    vectors[known] = torch.from_numpy(directions * math.sqrt(width)).float() + 0.2 * torch.randn(
        len(known), width
    )
    return vectors


def architecture() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )


@dataclass(frozen=True)
class Batch:
    #: (rows, longest), padded with the end of text.
    ids: torch.Tensor
    #: (rows, longest − 1) weight of each next token in the loss; 0 in exercises and padding.
    weights: torch.Tensor
    #: Of exercises: (row, place of the last token, tokens to predict there, first tokens of the
    # choices, right choice).
    exercises: list[tuple[int, int, list[int], list[int], int]]


def batches(
    texts: list[str], exercises: list[Exercise], tokenizer: Tokenizer, rng: random.Random
) -> list[Batch]:
    def first_token(word: str) -> int:
        return tokenizer.encode(" " + word, add_special_tokens=False).ids[0]

    rows: list[tuple[list[int], list[float], Exercise | None]] = []
    for encoding in tokenizer.encode_batch(texts):
        ids = [*encoding.ids[:LONGEST], END_ID]
        rows.append((ids, [1.0] * (len(ids) - 1), None))
    prompts = tokenizer.encode_batch([exercise.prompt for exercise in exercises])
    for exercise, encoding in zip(exercises, prompts, strict=True):
        if len(encoding.ids) <= LONGEST:
            rows.append((encoding.ids, [0.0] * (len(encoding.ids) - 1), exercise))
    rows.sort(key=lambda row: len(row[0]) + rng.random() * 8)
    made, start = [], 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and (end + 1 - start) * len(rows[end][0]) <= TOKENS_PER_BATCH:
            end += 1
        longest = max(len(ids) for ids, _, _ in rows[start:end])
        ids = torch.full((end - start, longest), END_ID, dtype=torch.long)
        weights = torch.zeros(end - start, longest - 1)
        asked = []
        for index, (row, weight, exercise) in enumerate(rows[start:end]):
            ids[index, : len(row)] = torch.tensor(row)
            weights[index, : len(weight)] = torch.tensor(weight)
            if exercise is not None:
                words = [first_token(word) for word in exercise.words]
                choices = [first_token(word) for word in exercise.choices]
                asked.append((index, len(row) - 1, words, choices, exercise.right))
        made.append(Batch(ids, weights, asked))
        start = end
    rng.shuffle(made)
    return made


def losses(model: LlamaForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean cross-entropy of the next tokens, mean over exercises of the cross-entropy with the
    uniform bag of words)."""
    hidden = model.model(batch.ids).last_hidden_state
    keep = batch.weights.flatten() > 0
    next_token = bag = torch.zeros(())
    if keep.any():
        logits = model.lm_head(hidden[:, :-1].flatten(0, 1)[keep])
        each = torch.nn.functional.cross_entropy(
            logits, batch.ids[:, 1:].flatten()[keep], reduction="none"
        )
        kept = batch.weights.flatten()[keep]
        next_token = (each * kept).sum() / kept.sum()
    if batch.exercises:
        rows = torch.tensor([row for row, *_ in batch.exercises])
        places = torch.tensor([place for _, place, *_ in batch.exercises])
        logits = model.lm_head(hidden[rows, places])
        target = torch.zeros_like(logits)
        for index, (_, _, words, _, _) in enumerate(batch.exercises):
            for word in words:
                target[index, word] += 1 / len(words)
        bag = torch.nn.functional.cross_entropy(logits, target)
    return next_token, bag


@torch.no_grad()
def validate(model: LlamaForCausalLM, made: list[Batch]) -> float:
    total = sum(float(batch.weights.sum()) for batch in made)
    return (
        sum(float(losses(model, batch)[0]) * float(batch.weights.sum()) for batch in made) / total
    )


@torch.no_grad()
def exercise_accuracy(model: LlamaForCausalLM, made: list[Batch]) -> float:
    """Share of exercises whose right choice has the largest logit of the five; chance is 0.2."""
    right = rows = 0
    for batch in made:
        hidden = model.model(batch.ids).last_hidden_state
        for row, place, _, choices, answer in batch.exercises:
            logits = model.lm_head(hidden[row, place])[choices]
            right += int(logits.argmax()) == answer
            rows += 1
    return right / rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--exercises", type=int, default=2, help="per passage and epoch")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    rng = random.Random(SEED)
    passages, others = (
        documents(arguments.corpus / "passages.jsonl"),
        documents(arguments.corpus / "others.jsonl"),
    )
    held = documents(arguments.corpus / "validation.jsonl")
    tokenizer = train_tokenizer(passages + others)
    topics = TopicExercises(passages)
    validation = batches(held, [], tokenizer, rng)
    asked = batches([], topics.of(held).draw(random.Random(SEED), 2), tokenizer, rng)

    def epoch() -> list[Batch]:
        return batches(passages + others, topics.draw(rng, arguments.exercises), tokenizer, rng)

    model = LlamaForCausalLM(architecture())
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(
            semantic_vectors(passages + others, tokenizer, architecture().hidden_size)
        )
        # Logits of unit size at the start, though the embedding is also the head.
        model.model.norm.weight.fill_(architecture().hidden_size ** -0.5)
    embedding = [model.model.embed_tokens.weight]
    blocks = [
        p for name, p in model.named_parameters() if p.dim() > 1 and "embed_tokens" not in name
    ]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": blocks, "weight_decay": 0.1, "pace": 1.0},
        {"params": embedding, "weight_decay": 0.0, "pace": EMBEDDING_RATE},
        {"params": vectors, "weight_decay": 0.0, "pace": 1.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95), eps=1e-8)
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = (arguments.out / "log.jsonl").open("w", encoding="utf-8")
    first = epoch()
    total, warm = arguments.epochs * len(first), max(1, arguments.epochs * len(first) // 50)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(first)} batches an epoch")
    step, start, tokens = 0, time.time(), 0
    running = torch.zeros(2)
    for number in range(arguments.epochs):
        for batch in first if number == 0 else epoch():
            rate = PEAK_RATE * min((step + 1) / warm, max(0.0, (total - step) / (total - warm)))
            for group in optimizer.param_groups:
                group["lr"] = rate * group["pace"]
            next_token, bag = losses(model, batch)
            loss = next_token + bag
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            shown = torch.stack([next_token.detach(), bag.detach()])
            running = running * 0.98 + shown * 0.02 if step else shown
            step, tokens = step + 1, tokens + batch.ids.numel()
            if step % 100 == 0:
                print(
                    f"{step}/{total} {running[0]:.3f} {running[1]:.3f} {time.time() - start:.0f} s",
                    flush=True,
                )
        record = {
            "epoch": number + 1,
            "step": step,
            "tokens": tokens,
            "train_loss": round(float(running[0]), 4),
            "validation_loss": round(validate(model, validation), 4),
            "exercise_accuracy": round(exercise_accuracy(model, asked), 4),
            "seconds": round(time.time() - start),
        }
        assert math.isfinite(record["validation_loss"])
        log.write(json.dumps(record) + "\n")
        log.flush()
        print(record, flush=True)
        model.save_pretrained(arguments.out)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END)
        fast.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
