"""Exercises in the form of a multiple-choice prompt, made of the passages alone: what is this text
about?

A small model reads a few million tokens, too few to come upon "what is it about" by itself. So each
passage also gives exercises: one to three of its sentences as the question, and as choices five
words, one of them characteristic of the same passage (high tf · idf) though not in the shown
sentences, four of other passages. What is to be predicted behind `Answer:` are the characteristic
words of the passage that are not shown, all alike (a bag of words, each by its first token). No
label and no word list of any dataset enters. Every epoch draws new ones.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from dataclasses import dataclass

HEAD = "Return the label of the correct answer for the question below.\n\n"
QUESTIONS = (
    "To which of these does the following text belong? {}",
    "Which word goes with this text? {}",
    "What is this about? {}",
    "To which topic does this belong? {}",
)


def prompt(question: str, choices: list[str]) -> str:
    """The prompt of protocol `corrected` (ts/datasets/prompts/prompt-parts.ts)."""
    lines = "".join(f"{chr(65 + i)}) {choice}\n" for i, choice in enumerate(choices))
    return f"{HEAD}Question: {question}\nChoices:\n{lines}Answer:"


@dataclass(frozen=True)
class Exercise:
    prompt: str
    #: Characteristic words of the passage that the shown sentences do not hold.
    words: list[str]
    choices: list[str]
    right: int


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9])", text) if len(part) > 25]


def terms(text: str) -> list[str]:
    return re.findall(r"\b[a-z]{4,}\b", text)


class TopicExercises:
    def __init__(self, passages: list[str], weight: dict[str, float] | None = None) -> None:
        """`weight`: inverse document frequency of the usable words; of `passages` unless given."""
        self.parts = [sentences(passage) for passage in passages]
        self.counts = [Counter(terms(passage)) for passage in passages]
        self.weight = weight if weight is not None else self.inverse_frequency()
        self.characteristic = []
        for counts in self.counts:
            scored = {t: n * self.weight[t] for t, n in counts.items() if t in self.weight}
            self.characteristic.append(sorted(scored, key=lambda t: (-scored[t], t))[:10])

    def inverse_frequency(self) -> dict[str, float]:
        frequency = Counter(term for counts in self.counts for term in counts)
        total = len(self.counts)
        # A word of a few passages only names them; one of many says nothing about any.
        return {t: math.log(total / n) for t, n in frequency.items() if 8 <= n <= total // 40}

    def of(self, passages: list[str]) -> TopicExercises:
        """Exercises of other passages with these words."""
        return TopicExercises(passages, self.weight)

    def draw(self, rng: random.Random, per_passage: int) -> list[Exercise]:
        made = []
        for index, parts in enumerate(self.parts):
            for _ in range(per_passage if len(parts) >= 2 else 0):
                length = rng.randint(1, min(3, len(parts) - 1))
                start = rng.randint(0, len(parts) - length)
                shown = " ".join(parts[start : start + length])[:400]
                visible = set(terms(shown.lower()))
                hidden = [word for word in self.characteristic[index] if word not in visible]
                if not hidden:
                    continue
                right = rng.choice(hidden[:4])
                choices = [right, *self.foreign(index, rng)]
                rng.shuffle(choices)
                text = prompt(rng.choice(QUESTIONS).format(shown), choices)
                made.append(Exercise(text, hidden, choices, choices.index(right)))
        return made

    def foreign(self, index: int, rng: random.Random) -> list[str]:
        """Four characteristic words of other passages that this one does not hold."""
        words: list[str] = []
        while len(words) < 4:
            candidates = self.characteristic[rng.randrange(len(self.parts))][:4]
            candidates = [w for w in candidates if w not in self.counts[index] and w not in words]
            if candidates:
                words.append(rng.choice(candidates))
        return words
