"""How offensive each line of a text is, by the linear model of the package alt-profanity-check."""

from __future__ import annotations

from typing import Any

from profanity_check import predict_prob

from model.texts import lines_of


class Model:
    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"text": "..."} to a row per line: the line, whether it offends, and how likely that is."""
        lines = lines_of(inputs)
        return [
            {"text": line, "offensive": bool(score > 0.5), "probability": round(float(score), 4)}
            for line, score in zip(lines, predict_prob(lines), strict=True)
        ]
