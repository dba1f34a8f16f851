"""Serves a fitted scikit-learn estimator. Written by `tenfold.deploy`; change it as you like.

Takes {"inputs": [rows]}, where a row is an object of column names or a list in the order of the columns; also a bare
list of rows, one row, and MLflow's dataframe_split, dataframe_records and instances.
Answers {"predictions": [...], "probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

from ._tables import TableReader, plain

LARGEST_SHARE = (
    "RandomForestClassifier",
    "ExtraTreesClassifier",
    "LogisticRegression",
    "LogisticRegressionCV",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "GaussianNB",
    "LinearDiscriminantAnalysis",
)
"""Estimators that predict the class of the largest probability, so that one of the two need not be asked for."""

CLOSE = 1e-9


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._data = Path(data_dir)
        self._about = config["model_metadata"]["tenfold"]
        self._tables = TableReader(self._about)
        self._estimator: Any = None

    def load(self) -> None:
        if "transform_output" in self._about:
            import sklearn

            sklearn.set_config(transform_output=self._about["transform_output"])
        warnings.filterwarnings("ignore", message=".*feature names.*", category=UserWarning)
        self._estimator = Estimator(self._read(), self._about["methods"])

    def predict(self, inputs: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._estimator.answer(self._tables.read(inputs))
        return answer

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one look at the rows of all."""
        results = self._tables.batch(bodies, self._estimator.answer)
        if self._estimator.is_by_output:
            raise ValueError("The probabilities come by output, not by row.")
        return results

    def _read(self) -> Any:
        if self._about["format_of_data"] == "skops":
            skops_io = import_skops()
            return skops_io.load(self._data / "model.skops", trusted=self._about["trusted_types"])
        with open(self._data / "model.pickle", "rb") as file:
            return pickle.load(file)  # noqa: S301 (this worker is where it belongs)


def import_skops() -> Any:
    """skops without its list of every estimator there is, for which it would import all of scikit-learn (seconds)."""
    import sklearn.utils

    everything = getattr(sklearn.utils, "all_estimators", None)
    sklearn.utils.all_estimators = lambda *_, **__: []
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = everything
    return skops.io


class Estimator:
    """What an estimator says about rows, as plain lists. What two of its methods would do twice is done once."""

    def __init__(self, estimator: Any, methods: dict[str, str]) -> None:
        self._asked = estimator
        self._before: Any = None
        self.is_by_output = False  # its probabilities: a list of what each of several outputs gives
        self._classes: Any = getattr(estimator, "classes_", None)
        kind = type(estimator)
        is_pipeline = (kind.__module__, kind.__name__) == ("sklearn.pipeline", "Pipeline")
        if "probabilities" in methods and is_pipeline and len(estimator.steps) > 1:
            self._before, self._asked = estimator[:-1], estimator[-1]
        self._predict = getattr(self._asked, methods["predictions"])
        self._share = getattr(self._asked, methods["probabilities"]) if "probabilities" in methods else None
        kind = type(self._asked)
        of_sklearn = kind.__module__.partition(".")[0] == "sklearn"
        self._decides = of_sklearn and self._share is not None and kind.__name__ in LARGEST_SHARE

    def answer(self, table: Any) -> dict[str, Any]:
        if not len(table):
            return {"predictions": []}
        if self._before is not None:
            table = self._before.transform(table)
        shares: Any = None if self._share is None else self._share(table)
        predicted = self._largest(shares) if self._decides else None
        answer = {"predictions": plain(self._predict(table) if predicted is None else predicted)}
        if shares is not None:
            self.is_by_output = isinstance(shares, list)
            answer["probabilities"] = plain(shares)
        if self._classes is not None:
            answer["classes"] = plain(self._classes)
        return answer

    def _largest(self, shares: Any) -> Any:
        """The classes with the largest shares; None where that is too close to call, or there are several outputs."""
        if isinstance(shares, list) or shares.shape[1] != len(self._classes) or shares.shape[1] < 2:
            return None
        best = shares.argmax(axis=1)
        ordered = shares.copy()
        ordered.partition(shares.shape[1] - 2, axis=1)
        if (ordered[:, -1] - ordered[:, -2]).min() < CLOSE:
            return None
        return self._classes.take(best, axis=0)
