"""WAV files as the network hears them: one channel of numbers from -1 to 1, 16,000 a second."""

from __future__ import annotations

import io
import wave

import numpy as np

from model.files import HTTPException

RATE = 16_000
LONGEST_SECONDS = 3600


def samples_of(data: bytes) -> np.ndarray:
    """The sound in a WAV file."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            if file.getnframes() > LONGEST_SECONDS * rate:
                raise HTTPException(400, f"The recording is over {LONGEST_SECONDS // 60} minutes long; cut it.")
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        message = f"This is not a WAV file of plain samples: {error}. Convert it to 16 bit WAV."
        raise HTTPException(400, message) from None
    values = numbers_in(frames[: len(frames) // (width * channels) * width * channels], width)
    return resampled(values.reshape(-1, channels).mean(axis=1), rate)


def numbers_in(frames: bytes, width: int) -> np.ndarray:
    """Samples of 1 to 4 bytes as numbers from -1 to 1. Those of one byte are unsigned, the others little-endian."""
    if width == 1:
        return np.frombuffer(frames, np.uint8).astype(np.float32) / 128 - 1
    padded = np.zeros((len(frames) // width, 4), np.uint8)
    padded[:, 4 - width :] = np.frombuffer(frames, np.uint8).reshape(-1, width)
    return padded.view("<i4")[:, 0].astype(np.float32) / 2**31


def resampled(values: np.ndarray, rate: int) -> np.ndarray:
    """The sound at 16,000 samples a second. What lies above the new rate's reach is averaged away first."""
    if rate == RATE or not len(values):
        return values.astype(np.float32)
    if rate > RATE:
        window = round(rate / RATE)
        values = np.convolve(values, np.full(window, 1 / window), mode="same")
    wanted = np.arange(int(len(values) * RATE / rate)) * (rate / RATE)
    return np.interp(wanted, np.arange(len(values)), values).astype(np.float32)
