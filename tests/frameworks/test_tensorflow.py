from __future__ import annotations

from typing import Any

import pytest

from .conftest import Notebook

NOTEBOOK = """
import numpy as np
import tensorflow as tf
import keras
from keras import layers

import again
import tenfold

keras.utils.set_random_seed(0)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


@keras.saving.register_keras_serializable()
class Scale(layers.Layer):
    def __init__(self, by, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, x):
        return x * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


row = keras.Sequential([layers.Input((4,)), Scale(2.0), layers.Dense(8, "relu"), layers.Dense(3, activation="softmax")])
row.compile("adam", "sparse_categorical_crossentropy")
row.fit(X, np.arange(6) % 3, epochs=2, verbose=0)
kinds = {"form": "tensor", "output": {"kind": "classification", "classes": ["a", "b", "c"]}}
sequential = tenfold.deploy(row, "keras-row", example=X[:2], schema=kinds)

left = layers.Input((4,), name="left")
right = layers.Input((2,), name="right", dtype="int32")
both = layers.concatenate([left, layers.Flatten()(layers.Embedding(5, 3)(right))])
graph = keras.Model([left, right], [layers.Dense(1, name="score")(both), layers.Dense(2, name="pair")(both)])
inputs = {"left": X, "right": np.arange(12).reshape(6, 2) % 5}
functional = tenfold.deploy(graph, "keras-graph", example=inputs, app=False)

row.export("exported", verbose=False)
folder = tenfold.deploy("exported", "saved-model", example=X[:2], app=False)


class Blur(tf.Module):
    def __init__(self):
        self.weight = tf.Variable(tf.random.normal((4, 4)))

    @tf.function
    def __call__(self, x, training=False):
        return tf.tanh(x @ self.weight)


blur = Blur()
blur.__call__.get_concrete_function(tf.TensorSpec([None, 4]), training=True)
blur.__call__.get_concrete_function(tf.TensorSpec([None, 4]), training=False)
tf.saved_model.save(blur, "blur")  # without a signature, as modules of TensorFlow Hub are
loaded = tenfold.deploy(tf.saved_model.load("blur"), "loaded-module", example=X[:2], app=False)


def about(model):
    version = model.client.get("models", model.name, "versions", 1)
    return {
        "schema": model.schema,
        "framework": version["framework"],
        "files": [one["path"] for one in version["files"]],
        "requirements": version["environment"]["requirements"],
        "variables": version["config"]["environment_variables"],
    }


ids = {name: value.tolist() for name, value in inputs.items()}
score, pair = graph.predict([inputs["left"], inputs["right"]], verbose=0)
rows = {"inputs": X.tolist()}
again.report(
    sequential={
        "local": row.predict(X, verbose=0),
        "remote": sequential.raw(rows),
        "again": again.redeployed(sequential).raw(rows)["probabilities"],
        **about(sequential),
    },
    functional={
        "local": {"score": score, "pair": pair},
        "remote": functional.raw({"inputs": ids})["predictions"],
        **about(functional),
    },
    folder={"local": row.predict(X, verbose=0), "remote": folder.predict(X), **about(folder)},
    loaded={"local": blur(X).numpy(), "remote": loaded.predict(X), **about(loaded)},
    versions={"keras": keras.__version__},
)
"""


def test_keras_models_and_saved_models_answer_as_here(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(NOTEBOOK)

    sequential = found["sequential"]
    assert sequential["remote"]["probabilities"] == approx(sequential["local"])
    assert sequential["again"] == sequential["remote"]["probabilities"]
    assert sequential["remote"]["predictions"] == ["abc"[row.index(max(row))] for row in sequential["local"]]
    assert sequential["schema"] == {
        "version": 1,
        "form": "tensor",
        "fields": [{"name": "input", "type": "tensor", "dtype": "float32", "shape": [None, 4]}],
        "output": {"kind": "classification", "classes": ["a", "b", "c"], "probabilities": True},
    }
    assert sequential["framework"] == "Keras"
    assert {"data/model.keras", "packages/notebook_code.py"} <= set(sequential["files"])
    assert f"keras=={found['versions']['keras']}" in sequential["requirements"]
    assert sequential["variables"]["KERAS_BACKEND"] == "tensorflow"

    functional = found["functional"]
    assert functional["remote"] == {name: approx(value) for name, value in functional["local"].items()}
    assert functional["schema"]["fields"] == [
        {"name": "left", "type": "tensor", "dtype": "float32", "shape": [None, 4]},
        {"name": "right", "type": "tensor", "dtype": "int32", "shape": [None, 2]},
    ]

    for kind in ("folder", "loaded"):
        assert found[kind]["framework"] == "TensorFlow"
        assert found[kind]["remote"] == approx(found[kind]["local"])
        (field,) = found[kind]["schema"]["fields"]
        assert (field["dtype"], field["shape"]) == ("float32", [None, 4])
        assert "data/saved_model/saved_model.pb" in found[kind]["files"]


def approx(rows: list[list[float]]) -> Any:
    """Sums of float32 in another order: Keras compiles for the number of rows, a worker for any."""
    return [pytest.approx(row, rel=1e-4, abs=1e-6) for row in rows]
