"""The words and phrases that say what a text is about, by statistics of the text itself."""

from __future__ import annotations

from typing import Any

import stopwordsiso
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from model.keywords import keywords
from model.texts import text_of

MOST = 10


class Model:
    def load(self) -> None:
        self._languages = LanguageIdentifier.from_model_file(MODEL_FILE)

    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"text": "..."} to a row per phrase, the best first."""
        text = text_of(inputs)
        language, _ = self._languages.classify(text)
        stop_words = stopwordsiso.stopwords(language) if stopwordsiso.has_lang(language) else set()
        found = keywords(text, stop_words, MOST)
        return [{"keyword": phrase, "weight": round(weight / found[0][1], 3)} for phrase, weight in found]
