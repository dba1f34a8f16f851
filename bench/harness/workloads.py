"""What is asked: the models of `servers/predictor.py`, one request each, in the forms in which servers take it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Form:
    """How a request is written. `write(rows, name of the input)` gives headers and body."""

    name: str
    write: Callable[[Any, str], tuple[dict[str, str], bytes]]


@dataclass(frozen=True)
class Workload:
    """One model and one row for it. `folder` holds what `servers/train.py` has left there."""

    name: str
    folder: Path

    @property
    def title(self) -> str:
        return TITLES[self.name]

    @property
    def rows(self) -> Any:
        import numpy

        return numpy.load(self.folder / f"{self.name}.npy")

    @property
    def is_compilable(self) -> bool:
        return self.name in ("logistic", "forest")

    @property
    def has_binary(self) -> bool:
        return self.name == "image"

    def body(self, form: Form, input_name: str = "x") -> tuple[dict[str, str], Path]:
        """Headers and a file with the body."""
        headers, body = form.write(self.rows, input_name)
        file = self.folder / f"{self.name}-{form.name}-{input_name}.body"
        file.write_bytes(body)
        return headers, file

    def is_right(self, answer: bytes) -> bool:
        """Whether an answer holds the scores that the model gives in process, to five digits."""
        right = json.loads((self.folder / f"{self.name}.json").read_text())
        try:
            scores = _scores(_decoded(answer))
        except (ValueError, LookupError, TypeError):
            return False
        expected = _scores(right)
        return len(scores) == len(expected) and all(
            abs(one - other) <= 1e-5 * max(1.0, abs(other)) for one, other in zip(scores, expected, strict=True)
        )


TITLES = {
    "logistic": "logistic regression behind a scaler (scikit-learn), one row of 30 columns",
    "forest": "random forest of 100 trees (scikit-learn), one row of 30 columns",
    "mlp": "three linear layers (PyTorch), one row of 30 columns",
    "image": "mean per channel and one linear layer (PyTorch), one picture of 224x224x3 float32",
}


def _decoded(answer: bytes) -> Any:
    """JSON, or msgpack as Truss writes it: who is asked in msgpack answers so."""
    if answer[:1] in b"{[":
        return json.loads(answer)
    import msgpack

    return msgpack.unpackb(answer, object_hook=_array)


def _array(found: dict[Any, Any]) -> Any:
    """An array as msgpack-numpy writes it."""
    import numpy as np

    if not found.get(b"nd", found.get("nd")):
        return found
    told = {str(key, "ascii") if isinstance(key, bytes) else key: value for key, value in found.items()}
    return np.frombuffer(told["data"], np.dtype(told["type"])).reshape(told["shape"]).tolist()


def _scores(answer: Any) -> list[float]:
    """The probabilities, or else the predictions: of an object, of protocol version 2, or a bare array of them."""
    if isinstance(answer, list):
        return _flat(answer)
    if "outputs" in answer:
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        return _flat(outputs.get("probabilities") or next(iter(outputs.values())))
    return _flat(answer.get("probabilities") or answer["predictions"])


def _flat(values: Iterable[Any]) -> list[float]:
    return [float(number) for value in values for number in (_flat(value) if isinstance(value, list) else [value])]


# --- forms


def _as_json(key: str) -> Callable[[Any, str], tuple[dict[str, str], bytes]]:
    return lambda rows, _: (JSON, json.dumps({key: rows.tolist()}).encode())


def _tensor(rows: Any, name: str) -> dict[str, Any]:
    return {"name": name, "shape": list(rows.shape), "datatype": f"FP{rows.itemsize * 8}"}


def _v2(rows: Any, name: str) -> tuple[dict[str, str], bytes]:
    return JSON, json.dumps({"inputs": [_tensor(rows, name) | {"data": rows.ravel().tolist()}]}).encode()


def _v2_binary(rows: Any, name: str) -> tuple[dict[str, str], bytes]:
    tensor = _tensor(rows, name) | {"parameters": {"binary_data_size": rows.nbytes}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return BYTES | {"Inference-Header-Content-Length": str(len(head))}, head + rows.tobytes()


def _msgpack(rows: Any, _: str) -> tuple[dict[str, str], bytes]:
    import msgpack

    # an array as msgpack-numpy writes it
    array = {b"nd": True, b"type": rows.dtype.str, b"kind": b"", b"shape": rows.shape, b"data": rows.tobytes()}
    return BYTES, msgpack.packb({"inputs": array}, use_bin_type=True)


INPUTS = Form("inputs", _as_json("inputs"))
INSTANCES = Form("instances", _as_json("instances"))
V2 = Form("v2", _v2)
V2_BINARY = Form("v2-binary", _v2_binary)
RAW = Form("raw", lambda rows, _: (BYTES, rows.tobytes()))
MSGPACK = Form("msgpack", _msgpack)
