"""What an object is, from the module its class comes from. No framework is imported to find out."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

from tenfold.errors import CannotPackage

Kind = Literal["estimator", "function", "class", "instance", "folder"]

FRAMEWORKS = {
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "transformers": "Hugging Face transformers",
    "onnx": "ONNX",
    "onnxruntime": "ONNX Runtime",
    "statsmodels": "statsmodels",
    "spacy": "spaCy",
}
WHAT_WORKS = (
    "What can be deployed: a fitted scikit-learn estimator or pipeline, a function, a class (or an instance of one) "
    "with the methods load and predict, and the path of a Truss folder."
)


@dataclass(frozen=True)
class Detected:
    kind: Kind
    label: str


def detect(model: Any) -> Detected:
    """Raises CannotPackage for what cannot be deployed, with what to do instead."""
    if isinstance(model, str | os.PathLike):
        return Detected("folder", str(Path(model)))
    if isinstance(model, type):
        return _class(model)
    if isinstance(model, FunctionType):
        return Detected("function", model.__name__)
    kind = type(model)
    root = kind.__module__.partition(".")[0]
    if root == "sklearn" or _is_estimator(model):
        return Detected("estimator", kind.__name__)
    name = _framework(kind)
    if name and (root in FRAMEWORKS or not callable(getattr(model, "predict", None))):
        raise _not_yet(name, kind.__name__)
    if callable(getattr(model, "predict", None)):
        return Detected("instance", kind.__name__)
    if inspect.isbuiltin(model) or inspect.ismethod(model) or callable(model):
        raise CannotPackage(
            f"{getattr(model, '__name__', kind.__name__)!r} cannot be deployed: its source does not travel.",
            hint="Write a function around it: `def predict(text: str) -> str: ...`.",
        )
    raise CannotPackage(f"An object of the class {kind.__name__} cannot be deployed.", hint=WHAT_WORKS)


def _class(model: type) -> Detected:
    if (name := _framework(model)) and not callable(getattr(model, "predict", None)):
        raise _not_yet(name, model.__name__)
    if model.__module__.partition(".")[0] in FRAMEWORKS:
        raise _not_yet(FRAMEWORKS[model.__module__.partition(".")[0]], model.__name__)
    if model.__module__.partition(".")[0] == "sklearn":
        raise CannotPackage(f"{model.__name__} is a class.", hint=f"Fit one: {model.__name__}().fit(X, y).")
    if not callable(getattr(model, "predict", None)):
        raise CannotPackage(
            f"The class {model.__name__} has no method predict.", hint="Give it `def predict(self, ...)`."
        )
    return Detected("class", model.__name__)


def _is_estimator(model: Any) -> bool:
    """A class of the user's own that scikit-learn would take for one of its own."""
    bases = {f"{one.__module__}.{one.__name__}" for one in type(model).__mro__}
    return "sklearn.base.BaseEstimator" in bases and _framework(type(model)) is None


def _framework(kind: type) -> str | None:
    """The framework that the class or one of its bases comes from."""
    for one in kind.__mro__:
        name = FRAMEWORKS.get(one.__module__.partition(".")[0])
        if name is not None:
            return name
    return None


def _not_yet(framework: str, name: str) -> CannotPackage:
    return CannotPackage(
        f"{name} is a {framework} model, and those cannot be deployed directly.",
        hint="Wrap it in a class with the methods load (reads the weights) and predict (answers), and deploy that. "
        + WHAT_WORKS,
    )
