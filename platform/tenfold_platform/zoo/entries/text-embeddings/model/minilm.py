"""The network all-MiniLM-L6-v2 in numpy: word pieces to one vector per text.

It is BERT with six layers of twelve heads. Compare the formulas with "Attention is all you need" and "BERT".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

LAYERS, HEADS = 6, 12
MOST_PIECES = 256
BATCH = 32


class MiniLM:
    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_PIECES)
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")  # noqa: S106

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """One vector of length 1 per text, (len(texts), 384), and how many word pieces were read."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # of like length: little padding
        vectors = np.zeros((len(texts), 384), np.float32)
        pieces = 0
        for start in range(0, len(texts), BATCH):
            chosen = order[start : start + BATCH]
            encoded = self._tokenizer.encode_batch([texts[index] for index in chosen])
            ids = np.array([one.ids for one in encoded])
            mask = np.array([one.attention_mask for one in encoded], np.float32)
            vectors[chosen] = self._forward(ids, mask)
            pieces += int(mask.sum())
        return vectors, pieces

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Word pieces (texts, length) to vectors (texts, 384); the mask is 0 where a text was padded."""
        words = self._weights["embeddings.word_embeddings.weight"][ids]
        places = self._weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        states = self._norm(words + places + segment, "embeddings.LayerNorm")
        unseen = (1 - mask)[:, None, None, :] * np.float32(-1e9)
        for layer in range(LAYERS):
            states = self._layer(states, unseen, f"encoder.layer.{layer}")
        average = (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return average / np.linalg.norm(average, axis=1, keepdims=True)

    def _layer(self, states: np.ndarray, unseen: np.ndarray, name: str) -> np.ndarray:
        seen = self._linear(self._attend(states, unseen, f"{name}.attention.self"), f"{name}.attention.output.dense")
        states = self._norm(states + seen, f"{name}.attention.output.LayerNorm")
        thought = self._linear(gelu(self._linear(states, f"{name}.intermediate.dense")), f"{name}.output.dense")
        return self._norm(states + thought, f"{name}.output.LayerNorm")

    def _attend(self, states: np.ndarray, unseen: np.ndarray, name: str) -> np.ndarray:
        texts, length, width = states.shape
        query, key, value = (
            self._linear(states, f"{name}.{part}").reshape(texts, length, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        weights = softmax(query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // HEADS)) + unseen)
        return (weights @ value).transpose(0, 2, 1, 3).reshape(texts, length, width)

    def _linear(self, states: np.ndarray, name: str) -> np.ndarray:
        return states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, states: np.ndarray, name: str) -> np.ndarray:
        centred = states - states.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def gelu(values: np.ndarray) -> np.ndarray:
    return values * np.float32(0.5) * (1 + erf(values / np.float32(np.sqrt(2))))


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
