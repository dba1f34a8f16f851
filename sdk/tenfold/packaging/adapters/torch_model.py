"""Serves a PyTorch module. Written by `tenfold.deploy`; change it as you like.

Takes {"inputs": array}, or {"inputs": {name: array}} where it has several; the first dimension is the batch.
Answers {"predictions": array}, {"predictions": {name: array}}, or, where its classes are known,
{"predictions": [...], "probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

import importlib
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from ._architecture import build
from ._tensors import Batches, answer_of, flattened, read_example, read_inputs


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._data = Path(data_dir)
        self._about = config["model_metadata"]["tenfold"]
        self._fields = self._about["schema"]["fields"]
        self._batches = Batches(self._fields)
        self._dtypes = {field["name"]: getattr(torch, field["dtype"]) for field in self._fields}
        self._device = torch.device("cpu")
        self._module: Any = None

    def load(self) -> None:
        self._module = self._read()
        example = read_example(self._data)
        if example:
            self._called(example)  # the first call compiles and allocates

    def predict(self, inputs: Any) -> dict[str, Any]:
        arrays = read_inputs(inputs, self._fields)
        outputs = self._outputs(arrays)
        self._batches.saw(outputs, arrays)
        return self._answer(outputs)

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one call with the rows of all that are alike."""
        return self._batches.results(bodies, self._outputs, self._answer)

    def _answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        return answer_of(outputs, self._about)

    def _outputs(self, arrays: dict[str, Any]) -> dict[str, Any]:
        found = flattened(self._called(arrays), torch.is_tensor)
        return {name: as_array(value) for name, value in found.items()}

    def _read(self) -> Any:
        kind = self._about["format_of_data"]
        if kind == "torch.export":
            return torch.export.load(str(self._data / "model.pt2")).module()
        if torch.cuda.is_available():
            self._device = torch.device("cuda")
        if kind == "torchscript":
            return torch.jit.load(str(self._data / "model.pt"), map_location=self._device).eval()
        module = self._rebuilt() if kind == "state_dict" else self._unpickled()
        return module.to(self._device).eval()

    def _rebuilt(self) -> Any:
        written = json.loads((self._data / "architecture.json").read_text(encoding="utf-8"))
        return build(written, self._weights())

    def _weights(self) -> Any:
        file = self._data / "weights.safetensors"
        if not file.exists():
            return torch.load(self._data / "weights.pt", map_location="cpu", weights_only=True)
        return importlib.import_module("safetensors.torch").load_file(file)

    def _unpickled(self) -> Any:
        with open(self._data / "model.pickle", "rb") as file:
            return pickle.load(file)  # noqa: S301 (this worker is where it belongs)

    def _called(self, arrays: dict[str, Any]) -> Any:
        tensors = {
            name: torch.tensor(array, dtype=self._dtypes[name], device=self._device) for name, array in arrays.items()
        }
        positional = [tensors.pop(name) for name in self._about["positional"] if name in tensors]
        with torch.no_grad():
            return self._module(*positional, **tensors)


def as_array(value: Any) -> Any:
    value = value.detach().cpu()
    if value.is_sparse or value.is_quantized:
        value = value.to_dense() if value.is_sparse else value.dequantize()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
