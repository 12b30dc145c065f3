"""The text that the embedded model reads: documents from the training splits of openly licensed
datasets.

Sources (and no others): BoolQ passages (CC BY-SA 3.0), ARC-Easy, ARC-Challenge (CC BY-SA 4.0),
OpenBookQA (Apache-2.0), WinoGrande (CC BY), the questions of exam-topics' training rows (MIT)
without their field. A question comes with its right answer.

A document is dropped if it holds the whole question of an evaluation row of any dataset, or 13
words in a row of one (Brown et al. 2020, appendix C, use the same 13-grams). After that an
assertion looks for every evaluation question once more.

    python corpus.py DATA_DIR OUT_DIR     writes OUT_DIR/{passages,others,validation}.jsonl and OUT_DIR/corpus.json
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

GRAM = 13
#: Evaluated datasets whose rows are sentences, not questions.
SENTENCES = ("wic", "mrpc", "rte", "cola")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def grams(tokens: list[str]) -> set[tuple[str, ...]]:
    return {tuple(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


def sources(data: Path) -> dict[str, list[str]]:
    """Documents by source, training splits only."""
    found: dict[str, list[str]] = {}
    found["boolq passages"] = list(
        dict.fromkeys(r["passage"] for r in rows(data / "boolq/train.jsonl"))
    )
    for name in ("arc_easy", "arc_challenge", "openbookqa"):
        items = rows(data / name / "train.jsonl")
        found[name] = [f"{r['question']} {r['choices'][r['answer']]}." for r in items]
        if name == "openbookqa":
            found[name] += list(dict.fromkeys(r["fact"] for r in items))
    filled = []
    for row in rows(data / "winogrande/train_m.jsonl") + rows(data / "winogrande/train_s.jsonl"):
        filled.append(
            row["sentence"].replace("_", row["option1"] if row["answer"] == 1 else row["option2"])
        )
    found["winogrande"] = list(dict.fromkeys(filled))
    prefix = "To which field does this exam question belong? "
    found["exam_topics questions"] = [
        r["question"].removeprefix(prefix) for r in rows(data / "exam_topics/train.jsonl")
    ]
    return found


def evaluation_questions(data: Path) -> dict[str, list[str]]:
    """What must not be in the text: every question that the project evaluates on."""
    prefix = "To which field does this exam question belong? "
    held: dict[str, list[str]] = {}
    for name in ("arc_easy", "arc_challenge", "openbookqa"):
        held[name] = [
            r["question"] for s in ("validation", "test") for r in rows(data / name / f"{s}.jsonl")
        ]
    held["winogrande"] = [r["sentence"] for r in rows(data / "winogrande/validation.jsonl")]
    held["boolq"] = [r["question"] for r in rows(data / "boolq/validation.jsonl")]
    held["boolq passages"] = [r["passage"] for r in rows(data / "boolq/validation.jsonl")]
    for name in SENTENCES:
        keys = ["sentence"] if name == "cola" else ["sentence1", "sentence2"]
        files = [
            path for s in ("validation", "test") if (path := data / name / f"{s}.jsonl").exists()
        ]
        held[name] = [r[key] for path in files for r in rows(path) for key in keys]
    trained = {r["question"] for r in rows(data / "exam_topics/train.jsonl")}
    held["exam_topics"] = [
        r["question"].removeprefix(prefix)
        for s in ("validation", "test", "shift", "ood")
        for r in rows(data / f"exam_topics/{s}.jsonl")
    ]
    held["mmlu"] = [
        r["question"]
        for path in sorted((data / "mmlu").glob("*/*.jsonl"))
        for r in rows(path)
        if prefix + r["question"] not in trained
    ]
    return held


class HeldOut:
    """Finds an evaluation question, whole or 13 words of it, in a document."""

    def __init__(self, held: dict[str, list[str]]) -> None:
        self.grams: dict[tuple[str, ...], set[str]] = {}
        self.whole: dict[str, dict[str, str]] = {}
        for name, questions in held.items():
            for question in questions:
                tokens = words(question)
                for gram in grams(tokens):
                    self.grams.setdefault(gram, set()).add(name)
                # Shorter texts are common phrases, which prove nothing: "is it correct", "The book
                # was written."
                if len(tokens) >= (6 if name in SENTENCES else 4):
                    self.whole.setdefault(" ".join(tokens[:4]), {})[
                        " " + " ".join(tokens) + " "
                    ] = name

    def overlaps(self, text: str) -> set[str]:
        tokens = words(text)
        return set().union(
            *(self.grams.get(gram, ()) for gram in grams(tokens)), self.contained(tokens)
        )

    def contained(self, tokens: list[str]) -> set[str]:
        flat = " " + " ".join(tokens) + " "
        starts = {" ".join(tokens[i : i + 4]) for i in range(len(tokens) - 3)}
        return {
            name
            for start in starts
            for question, name in self.whole.get(start, {}).items()
            if question in flat
        }


def main(data: Path, out: Path) -> None:
    held = evaluation_questions(data)
    guard = HeldOut(held)
    report: dict[str, object] = {"gram": GRAM, "sources": {}, "dropped": {}}
    kept: dict[str, list[str]] = {}
    for name, documents in sources(data).items():
        kept[name] = [text for text in documents if not (guard.overlaps(text) - {"boolq passages"})]
        dropped = Counter(
            hit for text in documents for hit in guard.overlaps(text) - {"boolq passages"}
        )
        report["sources"][name] = {
            "documents": len(kept[name]),
            "characters": sum(map(len, kept[name])),
        }
        report["dropped"][name] = {
            "documents": len(documents) - len(kept[name]),
            "because of": dict(dropped),
        }

    for name, documents in kept.items():
        for text in documents:
            assert not guard.contained(words(text)) - {"boolq passages"}, (
                f"an evaluation question is in {name}: {text}"
            )
    seen = set().union(*(grams(words(text)) for documents in kept.values() for text in documents))
    report["evaluation rows sharing 13 words with the text"] = {
        name: f"{sum(bool(grams(words(q)) & seen) for q in questions)} of {len(questions)}"
        for name, questions in held.items()
    }

    rng = random.Random(1)
    passages = kept["boolq passages"]
    rng.shuffle(passages)
    validation, passages = passages[:300], passages[300:]
    others = [text for name, texts in kept.items() if name != "boolq passages" for text in texts]
    out.mkdir(parents=True, exist_ok=True)
    for name, documents in {
        "passages": passages,
        "others": others,
        "validation": validation,
    }.items():
        text = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
        report[name] = {
            "documents": len(documents),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    (out / "corpus.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
