"""Reads what a TensorFlow SavedModel says about itself, from its protocol buffer, without importing TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.errors import CannotPackage
from tenfold.packaging import protobuf

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "str",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
"""TensorFlow's numbers of types, by the names that numpy has for them."""


@dataclass(frozen=True)
class Tensor:
    """`dtype` is None for what no caller can send (resources, sparse tensors), `shape` where any rank will do."""

    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class SavedModel:
    tensorflow_version: str
    tags: tuple[str, ...]
    signatures: Mapping[str, Signature] = field(default_factory=dict)


def read_saved_model(folder: Path) -> SavedModel:
    """Raises CannotPackage for a folder that does not hold one."""
    file = folder / "saved_model.pb"
    again = "Save it again: tf.saved_model.save(model, path)."
    try:
        graphs = [_graph(one) for one in protobuf.messages(memoryview(file.read_bytes()), 2)]
    except (OSError, ValueError) as error:
        raise CannotPackage(f"{file} is not a SavedModel: {error}", hint=again) from None
    if not graphs:
        raise CannotPackage(f"{file} is not a SavedModel: it holds no graph.", hint=again)
    return next((one for one in graphs if "serve" in one.tags), graphs[0])


def _graph(content: memoryview) -> SavedModel:
    version, tags, signatures = "", list[str](), dict[str, Signature]()
    for about in protobuf.messages(content, 1):
        tags = [bytes(one).decode() for one in protobuf.messages(about, 4)]
        version = protobuf.text(about, 5)
    for entry in protobuf.messages(content, 5):
        for signature in protobuf.messages(entry, 2):
            signatures[protobuf.text(entry, 1)] = Signature(_tensors(signature, 1), _tensors(signature, 2))
    return SavedModel(version, tuple(tags), signatures)


def _tensors(signature: memoryview, wanted: int) -> dict[str, Tensor]:
    entries = {
        protobuf.text(one, 1): next(protobuf.messages(one, 2), memoryview(b""))
        for one in protobuf.messages(signature, wanted)
    }
    return {name: _tensor(entries[name]) for name in sorted(entries)}


def _tensor(content: memoryview) -> Tensor:
    is_dense = not any(number in (4, 5) for number, _ in protobuf.fields(content))
    dtype = DTYPES.get(protobuf.integer(content, 2) or 0)
    shape: tuple[int | None, ...] | None = ()
    for written in protobuf.messages(content, 3):
        shape = _shape(written)
    return Tensor(dtype if is_dense else None, shape)


def _shape(content: memoryview) -> tuple[int | None, ...] | None:
    if protobuf.integer(content, 3):
        return None
    sizes = [protobuf.integer(one, 1) or 0 for one in protobuf.messages(content, 2)]
    return tuple(None if size < 0 else size for size in sizes)
