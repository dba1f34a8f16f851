"""The sentiment of each line of a text, by VADER's lexicon and rules."""

from __future__ import annotations

from typing import Any

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from model.texts import lines_of

NEUTRAL_BELOW = 0.05
"""As VADER's authors advise."""


class Model:
    def load(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()

    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"text": "..."} to a row per line: the line, its sentiment, and the strength of that from -1 to 1."""
        return [self._row(line) for line in lines_of(inputs)]

    def _row(self, line: str) -> dict[str, Any]:
        strength = self._analyzer.polarity_scores(line)["compound"]
        return {"text": line, "sentiment": sentiment_of(strength), "strength": strength}


def sentiment_of(strength: float) -> str:
    if abs(strength) < NEUTRAL_BELOW:
        return "neutral"
    return "positive" if strength > 0 else "negative"
