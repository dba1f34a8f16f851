"""Trains on scikit-learn's handwritten digits, puts the classifier into this folder, and deploys the folder.

tenfold up                            # in another terminal
python examples/digits/deploy.py
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import tenfold

FOLDER = Path(__file__).parent
CLASSIFIER = FOLDER / "data" / "digits.joblib"
SAMPLES = FOLDER / "samples"


def train() -> None:
    """Fits the classifier on pictures prepared like those of a request, and writes it into the package's data."""
    sys.path.insert(0, str(FOLDER))
    from model.model import pixels_of  # the package's own

    digits = load_digits()
    pixels = np.array([pixels_of(picture_of(one)) for one in digits.images])
    classifier = CalibratedClassifierCV(SVC(C=10, gamma=0.001), ensemble=False)
    CLASSIFIER.parent.mkdir(exist_ok=True)
    joblib.dump(classifier.fit(pixels, digits.target), CLASSIFIER)


def picture_of(image: np.ndarray, side: int = 160) -> Image.Image:
    """A digit of the data set as a picture: dark strokes on white paper."""
    ink = Image.fromarray((255 - image * (255 / 16)).astype("uint8"))
    return ink.resize((side, side), Image.Resampling.BICUBIC)


def write_samples() -> None:
    """One picture of each of a few digits, to try the model with."""
    digits = load_digits()
    SAMPLES.mkdir(exist_ok=True)
    for digit in (0, 3, 4, 7, 9):
        last = int(np.flatnonzero(digits.target == digit)[-1])
        picture_of(digits.images[last]).save(SAMPLES / f"{digit}.png", optimize=True)


def main() -> None:
    if not CLASSIFIER.exists():
        train()
    if not any(SAMPLES.glob("*.png")):
        write_samples()
    digits = tenfold.deploy(
        FOLDER,
        example={"image": SAMPLES / "3.png"},
        alias="production",
        requirements=[f"{name}=={version(name)}" for name in ("joblib", "numpy", "pillow", "scikit-learn")],
    )
    for sample in sorted(SAMPLES.glob("*.png")):
        scores = digits.predict(image=sample)
        best = max(scores, key=lambda label: scores[label])
        print(f"{sample.name}: {best} ({scores[best]:.0%})")


if __name__ == "__main__":
    main()
