"""What an ONNX model says about itself: what it takes and gives, its classes, its other files. ONNX is not imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging.protobuf import Value, fields, integer, integers, messages, text

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "str",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
"""ONNX's numbers of types, by the names that numpy has for them."""
TABULAR = "ai.onnx.ml"
CLASS_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


@dataclass(frozen=True)
class Tensor:
    """`dtype` is None for what is no array (a sequence, a map); `shape` is None when any rank will do."""

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """`is_tabular`: some of it is a classical model, as converters of scikit-learn, XGBoost and LightGBM write them.

    `other_files` are those that its weights lie in, relative to the model's own.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: frozenset[str]
    is_tabular: bool
    classes: tuple[Any, ...]
    other_files: tuple[str, ...]


def read_graph(content: memoryview, what: str) -> Graph:
    """Raises CannotPackage for bytes that are not a model; `what` is how messages call them."""
    try:
        graphs = list(messages(content, 7))
        if not graphs:
            raise ValueError("it has no graph")
        return _graph(graphs[-1])
    except (ValueError, UnicodeDecodeError) as error:
        raise CannotPackage(
            f"{what} is not an ONNX model: {error}.", hint="Save it again: onnx.save(model, path)."
        ) from None


def _graph(content: memoryview) -> Graph:
    nodes = list(messages(content, 1))
    constants = {text(one, 8) for one in messages(content, 5)}  # old models list them among the inputs, too
    inputs = tuple(one for one in map(_tensor, messages(content, 11)) if one.name not in constants)
    outputs = tuple(_tensor(one) for one in messages(content, 12))
    files = dict.fromkeys(place for weights in _weights(content) if (place := _outside(weights)) is not None)
    classes = next((found for node in nodes if (found := _class_labels(node))), ())
    is_tabular = any(text(node, 7) == TABULAR for node in nodes)
    return Graph(inputs, outputs, frozenset(text(node, 4) for node in nodes), is_tabular, classes, tuple(files))


def _tensor(content: Value) -> Tensor:
    name = text(content, 1)
    for kind in messages(content, 2):
        for dense in messages(kind, 1):
            shapes = list(messages(dense, 2))
            shape = tuple(map(_dimension, messages(shapes[-1], 1))) if shapes else None
            return Tensor(name, DTYPES.get(integer(dense, 1) or 0), shape)
    return Tensor(name, None, None)


def _dimension(content: Value) -> int | None:
    size = integer(content, 1)
    return size if size is not None and size > 0 else None


def _class_labels(node: memoryview) -> tuple[Any, ...]:
    for attribute in messages(node, 5):
        if text(attribute, 1) in CLASS_LABELS:
            named = tuple(bytes(value).decode("utf-8") for value in messages(attribute, 9))
            return named or tuple(integers(attribute, 8))
    return ()


def _weights(graph: memoryview) -> Iterator[memoryview]:
    """Every stored tensor, those of inner graphs included."""
    yield from messages(graph, 5)
    for node in messages(graph, 1):
        for attribute in messages(node, 5):
            for number, value in fields(attribute):
                if number == 5 and not isinstance(value, int):
                    yield value
                elif number in (6, 11) and not isinstance(value, int):
                    yield from _weights(value)


def _outside(weights: memoryview) -> str | None:
    """The file that holds the tensor's values, when they do not lie in the model."""
    if integer(weights, 14) != 1:
        return None
    entries = {text(entry, 1): text(entry, 2) for entry in messages(weights, 13)}
    place = entries.get("location", "")
    if not place or Path(place).is_absolute() or ".." in Path(place).parts:
        raise ValueError(f"its weights lie in {place!r}, which is not beside it")
    return place
