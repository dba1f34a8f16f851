"""Judges a picture by the parts of the body that the NudeNet detector finds in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from nudenet import NudeDetector

from model.pictures import HTTPException, at_most, open_picture

LONGEST_SIDE = 1280
EXPLICIT = {
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
}
SUGGESTIVE = {
    "FEMALE_GENITALIA_COVERED",
    "ANUS_COVERED",
    "BUTTOCKS_COVERED",
    "FEMALE_BREAST_COVERED",
    "MALE_BREAST_EXPOSED",
    "BELLY_EXPOSED",
}


class Model:
    def load(self) -> None:
        self._detector = NudeDetector()

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"image": file, "threshold": 0.3} to {"predictions": [verdict], "regions": [...]}."""
        original = open_picture(inputs)
        threshold = threshold_of(inputs)
        picture = at_most(original, LONGEST_SIDE)
        enlarge = original.width / picture.width
        pixels = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])  # blue, green, red
        regions = [region_of(part, enlarge) for part in self._detector.detect(pixels) if part["score"] >= threshold]
        return {
            "predictions": [verdict_on({region["label"] for region in regions})],
            "regions": sorted(regions, key=lambda region: -region["score"]),
        }


def verdict_on(labels: set[str]) -> str:
    if labels & EXPLICIT:
        return "explicit"
    return "suggestive" if labels & SUGGESTIVE else "safe"


def region_of(part: dict[str, Any], enlarge: float) -> dict[str, Any]:
    left, top, width, height = (round(float(value) * enlarge) for value in part["box"])
    score = round(float(part["score"]), 4)
    return {"label": part["class"], "score": score, "left": left, "top": top, "width": width, "height": height}


def threshold_of(inputs: dict[str, Any]) -> float:
    threshold = inputs.get("threshold")
    if threshold is None:
        return 0.3
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise HTTPException(400, f"threshold is {threshold!r}, and must be a number from 0 to 1.")
    return float(threshold)
