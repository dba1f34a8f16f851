"""Whether a tumour is malignant: a logistic regression, trained on the Wisconsin data when it is loaded."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.rows import rows_of

COLUMNS = [
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave_points",
    "symmetry",
    "fractal_dimension",
]


class Model:
    def load(self) -> None:
        data = load_breast_cancer()
        averages = data.data[:, : len(COLUMNS)]  # the other columns are standard errors and extremes of the same
        self._classes = [str(name) for name in data.target_names]
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(averages, data.target)

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"inputs": [{"radius": 18.0, ...}]} to the verdict on each row, with probabilities."""
        probabilities = self._classifier.predict_proba(rows_of(inputs, COLUMNS))
        return {
            "predictions": [self._classes[index] for index in probabilities.argmax(axis=1)],
            "probabilities": probabilities.round(4),
            "classes": self._classes,
        }
