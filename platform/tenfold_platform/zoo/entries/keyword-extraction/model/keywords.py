"""Keywords by the C-value: frequent phrases, long ones more, and parts of longer phrases less."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

Phrase = tuple[str, ...]

LONGEST = 3
TOKEN = re.compile(r"(?P<word>[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*)|(?P<gap>\s+)|.")


def keywords(text: str, stop_words: set[str], most: int) -> list[tuple[str, float]]:
    """The best phrases, as the text mostly writes them, with their weight. Those of several words stand there twice."""
    counts: Counter[Phrase] = Counter()
    spellings: dict[Phrase, Counter[str]] = defaultdict(Counter)
    for run in runs_of(text, stop_words):
        for words in parts_of(tuple(run)):
            phrase = tuple(word.lower() for word in words)
            counts[phrase] += 1
            spellings[phrase][" ".join(words)] += 1
    weights = c_values({phrase: count for phrase, count in counts.items() if count > 1 or len(phrase) == 1})
    first = {phrase: place for place, phrase in enumerate(counts)}
    best = sorted(weights, key=lambda phrase: (-weights[phrase], first[phrase]))
    return [(spellings[phrase].most_common(1)[0][0], weights[phrase]) for phrase in best[:most]]


def runs_of(text: str, stop_words: set[str]) -> Iterator[list[str]]:
    """Words that follow each other with only spaces between: no stop word, number or punctuation."""
    run: list[str] = []
    for token in TOKEN.finditer(text):
        word = token["word"]
        if word and len(word) > 1 and word.lower() not in stop_words:
            run.append(word)
        elif not token["gap"]:
            yield run
            run = []
    yield run


def parts_of(run: Phrase) -> Iterator[Phrase]:
    """Every phrase of up to three words in a run."""
    for start in range(len(run)):
        for end in range(start + 1, min(start + LONGEST, len(run)) + 1):
            yield run[start:end]


def c_values(counts: dict[Phrase, int]) -> dict[Phrase, float]:
    """The weight of each phrase; those that never stand outside of one longer phrase are left out."""
    around: dict[Phrase, list[int]] = defaultdict(list)
    for phrase, count in counts.items():
        for part in set(parts_of(phrase)) - {phrase}:
            around[part].append(count)
    weights = {}
    for phrase, count in counts.items():
        longer = around[phrase]
        if count not in longer:
            alone = count - (sum(longer) / len(longer) if longer else 0)
            weights[phrase] = math.log2(len(phrase) + 1) * alone
    return weights
