"""Reads the text in a picture, with the networks that the package rapidocr brings."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from rapidocr import RapidOCR

from model.pictures import at_most, open_picture

LONGEST_SIDE = 2000


class Model:
    def load(self) -> None:
        self._engine = RapidOCR(
            params={
                "Global.log_level": "error",
                # Small pictures as they are: by default they are enlarged first, at many times the work.
                "Det.limit_type": "max",
                "Det.limit_side_len": LONGEST_SIDE,
                "EngineConfig.onnxruntime.intra_op_num_threads": int(os.environ.get("OMP_NUM_THREADS", "-1")),
            }
        )

    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"image": file} to a row per line of text: what it says, how surely, and the box around it, in pixels."""
        original = open_picture(inputs)
        picture = at_most(original, LONGEST_SIDE)
        enlarge = original.width / picture.width
        pixels = np.asarray(picture)[:, :, ::-1]  # the networks were trained on blue, green, red
        found = self._engine(np.ascontiguousarray(pixels))
        if found.txts is None:
            return []
        rows = [
            row_of(text, score, np.asarray(corners) * enlarge)
            for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True)
        ]
        return sorted(rows, key=lambda row: (row["box"][1], row["box"][0]))


def row_of(text: str, score: float, corners: np.ndarray) -> dict[str, Any]:
    """One line of text, with the upright box around its four corners: a slanted line has none of its own."""
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    box = [round(float(value)) for value in (left, top, right - left, bottom - top)]
    return {"text": text, "confidence": round(float(score), 4), "box": box}
