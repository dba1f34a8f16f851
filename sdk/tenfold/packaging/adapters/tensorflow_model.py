"""Serves a Keras model or a TensorFlow SavedModel. Written by `tenfold.deploy`; change it as you like.

Takes {"inputs": array}, or {"inputs": {name: array}} where it has several; the first dimension is the batch.
Answers {"predictions": array}, {"predictions": {name: array}}, or, where its classes are known,
{"predictions": [...], "probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Any

from ._tensors import Batches, answer_of, flattened, read_example, read_inputs


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._data = Path(data_dir)
        self._about = config["model_metadata"]["tenfold"]
        self._fields = self._about["schema"]["fields"]
        self._batches = Batches(self._fields)
        self._call: Any = None

    def load(self) -> None:
        is_keras = self._about["format_of_data"] == "keras"
        self._call = self._keras() if is_keras else self._saved_model()
        example = read_example(self._data)
        if example:
            self._call(example)  # the first call compiles and allocates

    def predict(self, inputs: Any) -> dict[str, Any]:
        arrays = read_inputs(inputs, self._fields)
        outputs = self._call(arrays)
        self._batches.saw(outputs, arrays)
        return self._answer(outputs)

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one call with the rows of all that are alike."""
        return self._batches.results(bodies, self._call, self._answer)

    def _answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        return answer_of(outputs, self._about)

    # SavedModel

    def _saved_model(self) -> Any:
        import tensorflow

        loaded = tensorflow.saved_model.load(str(self._data / "saved_model"))
        signature = loaded.signatures[self._about["signature"]]

        def call(arrays: dict[str, Any]) -> dict[str, Any]:
            tensors = {name: tensorflow.constant(arrays[name], dtype) for name, dtype in _dtypes(self._fields)}
            return {name: value.numpy() for name, value in signature(**tensors).items()}

        self._loaded = loaded  # its variables live as long as it does
        return call

    # Keras

    def _keras(self) -> Any:
        keras = importlib.import_module(self._about["library"])
        own = {name: _imported(place) for name, place in self._about.get("custom_objects", {}).items()}
        model = keras.saving.load_model(self._data / "model.keras", custom_objects=own, compile=False, safe_mode=True)
        backend = keras.backend.backend() if hasattr(keras.backend, "backend") else "tensorflow"
        function = self._compiled(model) if backend == "tensorflow" else self._plain(keras, model, backend)

        def call(arrays: dict[str, Any]) -> dict[str, Any]:
            return _outputs(function(arrays), self._about.get("output_names"))

        return call

    def _compiled(self, model: Any) -> Any:
        """One graph for any number of rows."""
        import tensorflow

        specs = {
            field["name"]: tensorflow.TensorSpec(field.get("shape"), _tensorflow_name(field["dtype"]))
            for field in self._fields
        }
        graph = tensorflow.function(
            lambda tensors: model(self._arranged(tensors), training=False), input_signature=[specs]
        )

        def call(arrays: dict[str, Any]) -> Any:
            return graph({name: tensorflow.constant(arrays[name], dtype) for name, dtype in _dtypes(self._fields)})

        return call

    def _plain(self, keras: Any, model: Any, backend: str) -> Any:
        def call(arrays: dict[str, Any]) -> Any:
            without = importlib.import_module("torch").no_grad() if backend == "torch" else contextlib.nullcontext()
            with without:
                tensors = {
                    field["name"]: keras.ops.convert_to_tensor(arrays[field["name"]], field["dtype"])
                    for field in self._fields
                }
                results = model(self._arranged(tensors), training=False)
            return keras.tree.map_structure(keras.ops.convert_to_numpy, results)

        return call

    def _arranged(self, tensors: dict[str, Any]) -> Any:
        """The inputs as the model was given them when it was made: one, a list, a tuple, or a dict."""
        how = self._about["arrangement"]
        if how == "dict":
            return tensors
        ordered = [tensors[field["name"]] for field in self._fields]
        return ordered[0] if how == "single" else tuple(ordered) if how == "tuple" else ordered


def _outputs(results: Any, names: Any) -> dict[str, Any]:
    found = flattened(results, lambda value: hasattr(value, "dtype") and hasattr(value, "shape"))
    arrays = {name: value.numpy() if hasattr(value, "numpy") else value for name, value in found.items()}
    return dict(zip(names, arrays.values())) if names else arrays  # noqa: B905 (one name for each)


def _dtypes(fields: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(field["name"], _tensorflow_name(field["dtype"])) for field in fields]


def _tensorflow_name(dtype: str) -> str:
    return {"str": "string"}.get(dtype, dtype)


def _imported(place: str) -> Any:
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
