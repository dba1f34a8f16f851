"""Paints one picture in the manner of another: neural style transfer in TensorFlow. How it paints is in painting.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from model.painting import Painter, Painting
from model.pictures import HTTPException, as_file, open_picture

SIDES = (96, 512)
STEPS = (10, 400)
PAINTING_SECONDS = 40.0  # a caller waits at most 60; when these are over, the painting is handed over as it is


class Model:
    def load(self) -> None:
        self._painter = Painter()

    def predict(self, inputs: Any) -> Any:
        """{"content": file, "style": file, "strength": 0 to 1, "size": pixels, "steps": number} to a picture file.

        Beside the keys of a file the answer has `steps`, `seconds` and `precision`. With {"progress": true} it is a
        stream of lines of JSON instead: {"step", "of"} as it goes, and at the end {"image": file}.
        """
        lines = self._lines(inputs)
        if isinstance(inputs, dict) and inputs.get("progress") is True:
            return (json.dumps(line) + "\n" for line in lines)
        image = None
        for line in lines:
            image = line.get("image")
        return image

    def _lines(self, inputs: Any) -> Iterator[dict[str, Any]]:
        content, style = open_picture(inputs, "content"), open_picture(inputs, "style")
        side = round(_number(inputs, "size", 384, *SIDES))
        painted = self._painter.paint(
            _pixels(content),
            _pixels(style),
            side=side,
            strength=_number(inputs, "strength", 0.5, 0.0, 1.0),
            steps=round(_number(inputs, "steps", 100, *STEPS)),
            seconds=PAINTING_SECONDS,
        )
        for event in painted:
            if isinstance(event, Painting):
                picture = _fitted(event.pixels, content, side)
                about = {
                    "steps": event.steps,
                    "seconds": round(event.seconds, 2),
                    "precision": self._painter.precision,
                }
                yield {"image": as_file(picture, "painting.png") | about}
            else:
                yield {"step": event.step, "of": event.steps}


def _number(inputs: Any, name: str, default: float, low: float, high: float) -> float:
    value = inputs.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise HTTPException(400, f"{name} must be a number from {low:g} to {high:g}.")
    return float(value)


def _pixels(picture: Image.Image) -> np.ndarray:
    """RGB from 0 to 1, no larger than it is ever painted."""
    small = picture.copy()
    small.thumbnail((2 * SIDES[1], 2 * SIDES[1]), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.float32) / 255.0


def _fitted(pixels: np.ndarray, content: Image.Image, side: int) -> Image.Image:
    """The painting in the very proportions of the content: it was painted in multiples of sixteen pixels."""
    painting = Image.fromarray((pixels * 255.0).round().astype(np.uint8))
    scale = side / max(content.size)
    size = (max(1, round(content.width * scale)), max(1, round(content.height * scale)))
    return painting.resize(size, Image.Resampling.LANCZOS)
