"""What an object is, from the modules its class comes from, and what packages it. No framework is imported for that."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Literal

from tenfold.errors import CannotPackage
from tenfold.packaging.package import Package

Kind = Literal[
    "estimator",
    "xgboost",
    "lightgbm",
    "onnx",
    "mlflow",
    "torch",
    "tensorflow",
    "transformers",
    "function",
    "class",
    "instance",
    "folder",
]
Packager = Callable[..., Package]

PACKAGERS: Mapping[Kind, str] = {
    "estimator": "tenfold.packaging.estimators:package_estimator",
    "xgboost": "tenfold.packaging.boosters:package_xgboost",
    "lightgbm": "tenfold.packaging.boosters:package_lightgbm",
    "onnx": "tenfold.packaging.onnx_models:package_onnx",
    "mlflow": "tenfold.packaging.mlflow_models:package_mlflow",
    "torch": "tenfold.packaging.torch_models:package_torch",
    "tensorflow": "tenfold.packaging.tensorflow_models:package_tensorflow",
    "transformers": "tenfold.packaging.transformers_pipelines:package_pipeline",
    "function": "tenfold.packaging.callables:package_callable",
    "class": "tenfold.packaging.callables:package_callable",
    "instance": "tenfold.packaging.callables:package_callable",
    "folder": "tenfold.packaging.folders:package_folder",
}
"""Every one is called as `packager(model, name, root, *, example, schema, requirements, python, description)`, writes a
package into the empty folder `root` and raises CannotPackage. Each brings only its own code, so it is imported when it
is needed."""

BASES: Mapping[str, Kind] = {
    "transformers.pipelines.base.Pipeline": "transformers",
    "tenfold.packaging.transformers_pipelines.HubModel": "transformers",
    "keras.src.models.model.Model": "tensorflow",
    "keras.engine.training.Model": "tensorflow",
    "tf_keras.src.engine.training.Model": "tensorflow",
    "tensorflow.python.module.module.Module": "tensorflow",
    "tensorflow.python.trackable.base.Trackable": "tensorflow",
    "torch.nn.modules.module.Module": "torch",
    "torch.export.exported_program.ExportedProgram": "torch",
    "xgboost.core.Booster": "xgboost",
    "xgboost.sklearn.XGBModel": "xgboost",
    "lightgbm.basic.Booster": "lightgbm",
    "lightgbm.sklearn.LGBMModel": "lightgbm",
    "onnxruntime.capi.onnxruntime_inference_collection.InferenceSession": "onnx",
    "sklearn.base.BaseEstimator": "estimator",
}
"""The kind of an object by the first class in its ancestry that is named here."""

LABELS = {
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "tf_keras": "Keras",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "transformers": "Hugging Face transformers",
    "onnx": "ONNX",
    "onnxruntime": "ONNX Runtime",
    "mlflow": "MLflow",
    "statsmodels": "statsmodels",
    "spacy": "spaCy",
}
INSTEAD = {
    "transformers": 'Make a pipeline of it: transformers.pipeline("text-classification", model=model, '
    "tokenizer=tokenizer), and deploy that.",
    "mlflow": "Deploy the folder it was loaded from: the one with the file MLmodel.",
    "xgboost": "Deploy the trained model: an XGBClassifier, an XGBRegressor or a Booster.",
    "lightgbm": "Deploy the trained model: an LGBMClassifier, an LGBMRegressor or a Booster.",
    "torch": "Deploy an nn.Module, a TorchScript module or the ExportedProgram of torch.export.",
    "onnxruntime": "Deploy the InferenceSession, or the path of the .onnx file.",
}
FILES = {
    ".keras": "keras.models.load_model(path)",
    ".h5": "keras.models.load_model(path)",
    ".pt": "torch.jit.load(path), or make the module and load its state_dict",
    ".pth": "torch.jit.load(path), or make the module and load its state_dict",
    ".pt2": "torch.export.load(path)",
    ".skops": "skops.io.load(path)",
    ".joblib": "joblib.load(path)",
    ".pkl": "pickle.load(file)",
    ".pickle": "pickle.load(file)",
    ".ubj": "model = xgboost.XGBClassifier(); model.load_model(path)",
}
WHAT_WORKS = (
    "What can be deployed: a fitted scikit-learn, XGBoost or LightGBM model, a Keras, TensorFlow or PyTorch model, "
    "a transformers pipeline, an ONNX model, a function, a class (or an instance of one) with the methods load and "
    "predict, and the path of an .onnx file, a SavedModel, an MLflow model or a Truss folder."
)


@dataclass(frozen=True)
class Detected:
    """`label` is for people: the class's name, or the path. `path` is where the model lies, when one was given."""

    kind: Kind
    label: str
    path: Path | None = None

    @property
    def packager(self) -> Packager:
        module, _, name = PACKAGERS[self.kind].partition(":")
        found: Packager = getattr(import_module(module), name)
        return found


def detect(model: Any) -> Detected:
    """Raises CannotPackage for what cannot be deployed, with what to do instead."""
    if isinstance(model, str | os.PathLike):
        return _path(Path(os.fspath(model)).expanduser())
    if isinstance(model, type):
        return _class(model)
    if isinstance(model, FunctionType):
        return Detected("function", model.__name__)
    kind = type(model)
    found = _kind_of(kind)
    if found is not None:
        return Detected(found, kind.__name__)
    if _root(kind) in LABELS:
        raise _unknown_to_us(_root(kind), kind.__name__)
    if callable(getattr(model, "predict", None)):
        return Detected("instance", kind.__name__)
    raise _nothing_to_ask(model)


def _nothing_to_ask(model: Any) -> CannotPackage:
    kind = type(model)
    name = getattr(model, "__name__", kind.__name__)
    if isinstance(model, MethodType):
        owner = type(model.__self__).__name__
        return CannotPackage(
            f"{name} is a method, and cannot be deployed without its object.",
            hint=f"Deploy the {owner} itself; or write a function that calls it.",
        )
    if kind.__name__ == "partial" and callable(getattr(model, "func", None)):
        inner = getattr(model.func, "__name__", "function")
        return CannotPackage(
            f"A partial of {inner} cannot be deployed: its source does not travel.",
            hint=f"Write it as a function: `def predict(x): return {inner}(x, ...)`.",
        )
    if callable(model):
        return CannotPackage(
            f"{name!r} cannot be deployed: its source does not travel.",
            hint="Write a function around it: `def predict(text: str) -> str: ...`.",
        )
    if model is None:
        return CannotPackage("The model is None.", hint="Deploy what was trained: some fit() methods return nothing.")
    if isinstance(model, dict | list | tuple | set):
        return CannotPackage(
            f"A {kind.__name__} cannot be deployed.",
            hint="Deploy one model; or put several into a class whose predict says how they work together.",
        )
    if _root(kind) in ("numpy", "pandas", "polars", "builtins"):
        return CannotPackage(f"An object of the class {kind.__name__} is not a model.", hint=WHAT_WORKS)
    return CannotPackage(
        f"{kind.__name__} has no method predict, so there is nothing to ask it.",
        hint=f"Give the class {kind.__name__} one: `def predict(self, ...)`. {WHAT_WORKS}",
    )


def _kind_of(kind: type) -> Kind | None:
    """What the ancestry says. A native format would lose a class of the user's own on top of a booster, so that is
    pickled as an estimator; one that defines predict on top of another framework is asked as it says."""
    for one in kind.__mro__:
        found = _named(one)
        if found in ("xgboost", "lightgbm") and _root(kind) not in LABELS:
            return "estimator" if _is_estimator(kind) else None
        if found is not None:
            return None if found != "estimator" and _is_own_predict(kind) else found
    return None


def _is_estimator(kind: type) -> bool:
    return any(_named(one) == "estimator" for one in kind.__mro__)


def _is_own_predict(kind: type) -> bool:
    """Whether `predict` is a method that the user wrote, and not the framework's."""
    owner = next((one for one in kind.__mro__ if "predict" in vars(one)), object)
    return owner is not object and _root(owner) not in LABELS


def _named(one: type) -> Kind | None:
    name = f"{one.__module__}.{one.__qualname__}"
    if name in BASES:
        return BASES[name]
    is_onnx = _root(one) == "onnx" and one.__name__ == "ModelProto"  # its module is another one in each release
    return "onnx" if is_onnx else None


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _path(path: Path) -> Detected:
    if path.parts[:1] in (("models:",), ("runs:",)):
        raise CannotPackage(
            f"{path} is an address of an MLflow registry.",
            hint=f'Fetch it first, and deploy the folder: mlflow.artifacts.download_artifacts("{path}").',
        )
    if not path.exists():
        raise CannotPackage(
            f"There is no file or folder {path}.",
            hint="Name an .onnx file, or the folder of a SavedModel, an MLflow model or a Truss model.",
        )
    if path.is_file():
        if path.suffix == ".onnx":
            return Detected("onnx", str(path), path)
        raise CannotPackage(f"{path} is a file, and cannot be deployed as it is.", hint=_hint_for_file(path))
    if (path / "MLmodel").is_file():
        return Detected("mlflow", str(path), path)
    if (path / "saved_model.pb").is_file():
        return Detected("tensorflow", str(path), path)
    return Detected("folder", str(path), path)


def _hint_for_file(path: Path) -> str:
    if path.name in ("config.yaml", "MLmodel", "saved_model.pb"):
        return f"Deploy its folder: {path.parent}."
    if path.suffix in FILES:
        return f"Read it first, {FILES[path.suffix]}, and deploy what comes out."
    return WHAT_WORKS


def _class(model: type) -> Detected:
    root, name = _root(model), model.__name__
    if root in LABELS:
        if _is_estimator(model):
            raise CannotPackage(f"{name} is a class.", hint=f"Fit one: {name}().fit(X, y).")
        raise CannotPackage(
            f"{name} is a class of {LABELS[root]}.", hint=f"Deploy one that is made and trained: {name}(...)."
        )
    kind = _kind_of(model)
    if kind not in (None, "estimator"):
        raise CannotPackage(f"{name} is a class.", hint=f"Deploy one that is made and trained: {name}(...).")
    if not callable(getattr(model, "predict", None)):
        if callable(getattr(model, "websocket", None)):
            hint = (
                "A model that speaks websockets is deployed as a folder: put it into model/model.py as the class Model."
            )
        else:
            hint = "Give it `def predict(self, ...)`."
        raise CannotPackage(f"The class {name} has no method predict.", hint=hint)
    return Detected("class", name)


def _unknown_to_us(root: str, name: str) -> CannotPackage:
    if name in ("History", "CallbackList", "Dataset", "DataLoader", "DMatrix"):
        return CannotPackage(f"A {name} of {LABELS[root]} is not a model.", hint="Deploy the model that was trained.")
    wrap = "Wrap it in a class with the methods load (reads the weights) and predict (answers), and deploy that."
    return CannotPackage(
        f"{name} is of {LABELS[root]}, and cannot be deployed directly.",
        hint=INSTEAD.get(root) or f"{wrap} {WHAT_WORKS}",
    )
