"""The species of an iris: a logistic regression, trained on Fisher's flowers when it is loaded."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.rows import rows_of

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


class Model:
    def load(self) -> None:
        iris = load_iris()
        self._classes = [str(name) for name in iris.target_names]
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(iris.data, iris.target)

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"inputs": [{"sepal_length": 6.3, ...}]} to the species of each row, with probabilities."""
        probabilities = self._classifier.predict_proba(rows_of(inputs, COLUMNS))
        return {
            "predictions": [self._classes[index] for index in probabilities.argmax(axis=1)],
            "probabilities": probabilities.round(4),
            "classes": self._classes,
        }
