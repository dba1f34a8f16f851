"""The progression of diabetes: a ridge regression, trained on the data of Efron and others when it is loaded."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.rows import rows_of

COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


class Model:
    def load(self) -> None:
        data = load_diabetes(scaled=False)
        ridge = RidgeCV(alphas=(0.1, 1, 10, 100))
        self._regressor = make_pipeline(StandardScaler(), ridge).fit(data.data, data.target)

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"inputs": [{"age": 59, ...}]} to the expected progression of each row."""
        return {"predictions": self._regressor.predict(rows_of(inputs, COLUMNS)).round(1)}
