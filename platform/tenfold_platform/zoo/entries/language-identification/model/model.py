"""The language of a text, by the naive Bayes model of the package py3langid."""

from __future__ import annotations

from typing import Any

from babel import Locale
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from model.texts import HTTPException, text_of

MOST = 5


class Model:
    def load(self) -> None:
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._names = Locale("en").languages

    def predict(self, inputs: Any) -> dict[str, float]:
        """{"text": "..."} to {language: probability}, the likeliest first."""
        text = text_of(inputs)
        if not any(character.isalpha() for character in text):
            raise HTTPException(400, "There are no letters in the text.")
        return {self._named(code): round(float(score), 4) for code, score in self._identifier.rank(text)[:MOST]}

    def _named(self, code: str) -> str:
        name = self._names.get(code)
        return f"{name} ({code})" if name else code
