"""Reads a handwritten digit from a picture: a class with load and predict, in a Truss folder."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class HTTPException(Exception):
    """Tells the caller about a mistake of theirs, with a status of its own."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


class Model:
    def __init__(self, data_dir: Path) -> None:
        self._file = Path(data_dir) / "digits.joblib"
        self._classifier: Any = None

    def load(self) -> None:
        self._classifier = joblib.load(self._file)

    def predict(self, inputs: Any) -> dict[str, float]:
        """{"image": file} to {digit: score}; a file is {"name", "type", "data": base64}, or base64 alone."""
        picture = open_picture(inputs)
        scores = self._classifier.predict_proba(pixels_of(picture).reshape(1, -1))[0]
        return {str(label): float(score) for label, score in zip(self._classifier.classes_, scores, strict=True)}


def open_picture(inputs: Any) -> Image.Image:
    """The picture of a request. Raises HTTPException for what is none."""
    image = inputs.get("image") if isinstance(inputs, dict) else inputs
    data = image.get("data") if isinstance(image, dict) else image
    if not isinstance(data, str):
        raise HTTPException(
            400, 'Send a picture: {"image": {"name": "3.png", "type": "image/png", "data": "<base64>"}}.'
        )
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(data.rpartition(",")[2], validate=True)))
        picture.load()
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError) as error:
        raise HTTPException(400, f"The picture cannot be read: {error}") from None
    return picture


def pixels_of(picture: Image.Image) -> np.ndarray:
    """The picture as the training data has it: 8 by 8, bright strokes on black, 0 to 16, the digit in the middle."""
    gray = on_white(picture)
    if np.asarray(gray).mean() > 127:  # dark strokes on light paper
        gray = ImageOps.invert(gray)
    box = gray.point(lambda value: 255 if value > 64 else 0).getbbox()
    digit = gray.crop(box) if box else gray
    side = max(digit.size)
    square = ImageOps.pad(digit, (side, side), color=0)
    small = np.asarray(square.resize((8, 8), Image.Resampling.BOX), dtype=float)
    brightest = small.max()
    return (small * (16.0 / brightest) if brightest else small).ravel()


def on_white(picture: Image.Image) -> Image.Image:
    """Shades of gray; what is transparent becomes paper."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return picture.convert("L")
