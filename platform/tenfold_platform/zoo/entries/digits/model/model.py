"""Reads a handwritten digit: a support vector machine, trained on scikit-learn's digits when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageOps
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from model.pictures import open_picture


class Model:
    def load(self) -> None:
        digits = load_digits()
        pixels = np.array([pixels_of(drawn(image)) for image in digits.images])
        # ensemble=False: one machine on all of the data, its scores made probabilities by cross-validation
        self._classifier = CalibratedClassifierCV(SVC(C=10, gamma=0.001), ensemble=False).fit(pixels, digits.target)

    def predict(self, inputs: Any) -> dict[str, float]:
        """{"image": file} to {digit: score}."""
        scores = self._classifier.predict_proba([pixels_of(open_picture(inputs))])[0]
        return {str(digit): round(float(score), 4) for digit, score in enumerate(scores)}


def drawn(image: np.ndarray) -> Image.Image:
    """A digit of the training data as a picture that somebody might send: dark on white, and larger."""
    ink = Image.fromarray((255 - image * (255 / 16)).astype("uint8"))
    return ink.resize((64, 64), Image.Resampling.BICUBIC)


def pixels_of(picture: Image.Image) -> np.ndarray:
    """The picture as the training data has it: 8 by 8, bright strokes on black, 0 to 16, the digit in the middle."""
    gray = picture.convert("L")
    if np.asarray(gray).mean() > 127:  # dark strokes on light paper
        gray = ImageOps.invert(gray)
    box = gray.point(lambda value: 255 if value > 64 else 0).getbbox()
    digit = gray.crop(box) if box else gray
    side = max(digit.size)
    square = ImageOps.pad(digit, (side, side), color=0)
    small = np.asarray(square.resize((8, 8), Image.Resampling.BOX), dtype=float)
    return (small * (16 / max(small.max(), 1))).ravel()
