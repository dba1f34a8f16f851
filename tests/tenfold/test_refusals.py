"""What is refused on the user's own machine, before anything is sent: each names the thing and what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tenfold.client import Client
from tenfold.deploying import deploy
from tenfold.errors import CannotPackage

SCRIPT = """
import functools
import sqlite3
import threading

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

X = np.arange(12.0).reshape(6, 2)
table = pd.DataFrame(X, columns=["a", "b"])
unfitted = LinearRegression()
line = LinearRegression().fit(X, X[:, 0])
named = LinearRegression().fit(table, X[:, 0])
shortened = lambda x: x
with_lambda = make_pipeline(FunctionTransformer(lambda x: x), LinearRegression()).fit(X, X[:, 0])
method = line.predict


class Locked:
    def __init__(self):
        self.lock = threading.Lock()

    def predict(self, x: int):
        return x


class Connected:
    def __init__(self):
        self.stores = {"main": sqlite3.connect(":memory:")}

    def predict(self, x: int):
        return x


class AsksNothing:
    def predict(self):
        return 1


class Silent:
    def run(self, x):
        return x


class Sized:
    def __init__(self, size):
        self.size = size

    def predict(self, x):
        return x


class Socket:
    async def websocket(self, socket): ...


def anything(*values):
    return values


def elsewhere(x):
    import package_that_nobody_has

    return package_that_nobody_has.go(x)


def times(x: int, n: int = 2) -> int:
    return x * n


twice = functools.partial(times, n=2)


def outer():
    def inner(x: int):
        return x

    return inner


hidden = outer()
locked, connected, silent = Locked(), Connected(), Silent()
connection = connected.stores["main"]
lines = [line, named]
nothing = None
builtin = len
estimator_class = LinearRegression
"""


@pytest.mark.parametrize(
    ("model", "options", "message", "hint"),
    [
        ("shortened", {}, "A lambda cannot be deployed", "Write it as a function with a name"),
        ("with_lambda", {}, "Pipeline.steps[0][1].func: a lambda cannot travel", "def prepare(x): ..."),
        ("locked", {}, "Locked.lock cannot be pickled", "Make it in load() instead"),
        ("connected", {}, "Connected.stores['main'] cannot be pickled", "leave it out with __getstate__"),
        ("hidden", {}, "inner is defined inside a function", "Define it at the top"),
        ("elsewhere", {}, "imports 'package_that_nobody_has', which cannot be imported", "Install it here"),
        ("anything", {}, "takes *values", "Name its arguments"),
        ("AsksNothing", {}, "AsksNothing.predict takes no argument", "def predict(self, text: str)"),
        ("Silent", {}, "The class Silent has no method predict", "def predict(self, ...)"),
        ("silent", {}, "Silent has no method predict", "Give the class Silent one"),
        ("Sized", {}, "Sized() needs size", "Deploy an instance: Sized(size=...)"),
        ("Socket", {}, "Socket has no method predict", "model/model.py as the class Model"),
        ("unfitted", {}, "LinearRegression is not fitted yet", "Call .fit(X, y)"),
        ("estimator_class", {}, "LinearRegression is a class", "Fit one: LinearRegression().fit(X, y)"),
        ("method", {}, "predict is a method", "Deploy the LinearRegression itself"),
        ("twice", {}, "A partial of times", "def predict(x): return times(x, ...)"),
        ("builtin", {}, "'len' cannot be deployed", "Write a function around it"),
        ("lines", {}, "A list cannot be deployed", "put several into a class"),
        ("nothing", {}, "The model is None", "fit() methods return nothing"),
        ("table", {}, "DataFrame is not a model", "What can be deployed"),
        ("line", {"name": "My Model"}, "'My Model' is not a name", "such as 'my-model'"),
        ("line", {"name": None}, "The model has no name", 'tenfold.deploy(model, "churn")'),
        ("line", {"alias": "Live!"}, "alias is 'Live!'", "lower-case letters"),
        ("line", {"requirements": "numpy"}, "requirements is the text 'numpy'", "requirements=['numpy']"),
        ("line", {"requirements": ["not one!"]}, "'not one!' is not a requirement", "numpy>=2,<3"),
        ("line", {"python": "2.7"}, "python is '2.7'", 'python="3.12"'),
        ("locked", {"python": "3.9"}, "Locked.lock cannot be pickled", "Make it in load()"),
        ("line", {"environment": "nlp", "python": "3.12"}, "python= is given beside environment", "Leave out python="),
        ("line", {"resources": {"ram": "4Gi"}}, "resources has 'ram'", 'resources={"cpu": "2", "memory": "4Gi"}'),
        ("line", {"batch": "on"}, "batch is 'on'", 'batch="off"'),
        ("line", {"secrets": "HF_TOKEN"}, "secrets is str", 'secrets=["HF_TOKEN"]'),
        ("line", {"schema": {"fields": []}}, "it lacks 'form'", "tenfold.ModelSchema"),
        ("line", {"schema": {"form": "record"}}, "The schema's form is 'record'", 'form="table"'),
        ("named", {"example": {"a": 1.0}}, "The example lacks the column b", "example=X.iloc[:3]"),
        ("line", {"example": [[1.0, 2.0, 3.0]]}, "A row of the example has 3 values", "example=X[:3]"),
        ("line", {"example": 5}, "The example is int", "example=X[:3]"),
        ("times", {"example": {"y": 1}}, "The example has y", "Use the names of the arguments"),
        ("times", {"example": {"x": object()}}, "The example cannot be written as JSON", "Use plain values"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_anything_is_sent(
    script: Callable[[str], ModuleType],
    client: Client,
    platform: Any,
    model: str,
    options: dict[str, Any],
    message: str,
    hint: str,
) -> None:
    main = script(SCRIPT)
    try:
        with pytest.raises(CannotPackage) as refused:
            deploy(getattr(main, model), client=client, **{"name": "m", **options})
    finally:
        main.connection.close()
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert platform.requests == []


@pytest.mark.parametrize(
    ("files", "path", "message", "hint"),
    [
        ({}, "nowhere", "There is no file or folder", "Name an .onnx file, or the folder"),
        ({"m/model.py": ""}, "m", "has no config.yaml", "Add one; it may be empty"),
        ({"m/config.yml": ""}, "m", "has no config.yaml", "Rename config.yml to config.yaml"),
        ({"m/config.yaml": "a: [1"}, "m", "config.yaml cannot be read", "Correct it"),
        (
            {"m/config.yaml": "external_package_dirs: [../lib]"},
            "m",
            "there is no such folder",
            "relative to the folder",
        ),
        ({"m.pkl": ""}, "m.pkl", "is a file", "pickle.load(file)"),
        ({"m.onnx": "not a model"}, "m.onnx", "is not an ONNX model", "onnx.save(model, path)"),
        ({"m/MLmodel": "flavors: {}"}, "m", "no python_function flavour", "load it and deploy the model itself"),
        ({"m/MLmodel": "a: [1"}, "m", "MLmodel cannot be read", "Save the model again"),
    ],
)
def test_a_path_that_cannot_be_deployed_is_refused(
    tmp_path: Path, client: Client, platform: Any, files: dict[str, str], path: str, message: str, hint: str
) -> None:
    for place, text in files.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    with pytest.raises(CannotPackage) as refused:
        deploy(tmp_path / path, "m", client=client)
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert platform.requests == []


def test_an_address_of_a_registry_is_refused(client: Client) -> None:
    with pytest.raises(CannotPackage, match="models:/churn/3 is an address") as refused:
        deploy("models:/churn/3", "m", client=client)
    assert 'mlflow.artifacts.download_artifacts("models:/churn/3")' in refused.value.hint
