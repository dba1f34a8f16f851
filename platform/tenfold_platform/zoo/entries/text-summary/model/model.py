"""Summarises a text by TextRank: sentences vote for the sentences that they share rare words with."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from model.texts import HTTPException, text_of

SHARE = 0.2
FEWEST, MOST = 2, 8
MOST_SENTENCES = 2000
DAMPING = 0.85
END = re.compile(r"""(?<=[.!?\u2026])["'\u201d\u2019)]*\s+(?=["'\u201c\u2018(]*[^\W_a-z])""")
"""Where a sentence ends: after its mark and quotes, if what follows does not begin with a small letter."""


class Model:
    def predict(self, inputs: Any) -> str:
        """{"text": "..."} to its best sentences, in their order."""
        sentences = sentences_of(text_of(inputs))
        if len(sentences) > MOST_SENTENCES:
            message = f"The text has {len(sentences)} sentences; send at most {MOST_SENTENCES}, for example a chapter."
            raise HTTPException(400, message)
        count = min(max(round(len(sentences) * SHARE), FEWEST), MOST)
        if len(sentences) <= count:
            return " ".join(sentences)
        best = np.argsort(-votes_for(sentences))[:count]
        return " ".join(sentences[index] for index in sorted(best))


def sentences_of(text: str) -> list[str]:
    """The text cut after full stops, question marks and exclamation marks that a new sentence follows."""
    paragraphs = re.split(r"\n\s*\n", text)
    cut = (END.split(paragraph) for paragraph in paragraphs)
    return [" ".join(sentence.split()) for paragraph in cut for sentence in paragraph if re.search(r"\w", sentence)]


def votes_for(sentences: list[str]) -> np.ndarray:
    """How important each sentence is, by what its words share with the others."""
    try:
        words = TfidfVectorizer(sublinear_tf=True).fit_transform(sentences)
    except ValueError:  # no sentence has a word of two letters
        return -np.arange(len(sentences), dtype=float)
    likeness = (words @ words.T).toarray()
    np.fill_diagonal(likeness, 0)
    shares = likeness / np.maximum(likeness.sum(axis=1, keepdims=True), 1e-9)
    votes = np.full(len(sentences), 1 / len(sentences))
    for _ in range(50):
        votes = (1 - DAMPING) / len(sentences) + DAMPING * votes @ shares
    return votes
