"""What models of arrays have in common: their schema, their example, and whether they give scores of classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.schema import Field, ModelSchema, Output

HELPERS = ("_tensors.py",)
"""Files of adapters/ that an adapter for arrays needs beside it."""
QUIET_TENSORFLOW = {"TF_CPP_MIN_LOG_LEVEL": "2"}
MOST_ROWS = 3
MOST_VALUES = 4096
"""A larger example does not fit a form, and is not shown."""
MOST_TRIED = 1 << 22
"""A dimension is tried at another length up to this many values."""


@dataclass(frozen=True)
class Known:
    """What is to be written down of a model that has been saved, whichever way."""

    framework: str
    fields: tuple[Field, ...]
    arrays: Mapping[str, Any]
    results: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    pins: Mapping[str, str]
    variables: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())


def as_array(value: Any, dtype: str | None = None) -> Any:
    """A numpy array of whatever the user has: a tensor of any framework, a pandas table, lists."""
    import numpy  # the frameworks whose models take arrays bring it

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = numpy.asarray(value)
    if array.dtype.kind == "O":
        array = numpy.asarray(array.tolist())
    if array.dtype.kind not in "biufU":
        raise CannotPackage(
            f"The example is an array of {array.dtype}, which cannot be sent to a model.",
            hint="Give an array of numbers, or of texts.",
        )
    return array if dtype in (None, "str") else array.astype({"bfloat16": "float32"}.get(str(dtype), dtype))


def tensor(name: str, dtype: str, shape: Iterable[int | None] | None) -> Field:
    return Field(name, "tensor", dtype=dtype, shape=None if shape is None else list(shape))


def with_given(learned: Sequence[Field], given: ModelSchema | None) -> ModelSchema:
    """The learned fields with what the user's schema says: its output, and its fields when it has some."""
    if given is None:
        return ModelSchema("tensor", tuple(learned), Output("json"))
    if given.form != "tensor":
        raise CannotPackage(
            f"The schema's form is {given.form!r}; this model takes arrays.",
            hint='Write form="tensor". Its fields may be left out: they are learned.',
        )
    known = {one.name: one for one in learned}
    unknown = [one.name for one in given.fields if one.name not in known]
    if unknown or (given.fields and len(given.fields) != len(known)):
        raise CannotPackage(
            f"The schema has the fields {', '.join(one.name for one in given.fields)}, and the model takes: "
            f"{', '.join(known)}.",
            hint="Leave the fields out of the schema: they are learned.",
        )
    fields = tuple(
        replace(one, type="tensor", dtype=one.dtype or known[one.name].dtype, shape=one.shape or known[one.name].shape)
        for one in given.fields
    )
    return ModelSchema("tensor", fields or tuple(learned), given.output)


def examples(example: Any, fields: Sequence[Field]) -> dict[str, Any]:
    """The example's arrays by input, of the types of the fields."""
    if example is None:
        return {}
    names = [one.name for one in fields]
    if isinstance(example, Mapping):
        given = {str(key): value for key, value in example.items()}
    elif len(fields) > 1 and isinstance(example, list | tuple) and len(example) == len(fields):
        given = dict(zip(names, example, strict=True))
    elif len(fields) == 1:
        given = {names[0]: example[0] if isinstance(example, tuple) and len(example) == 1 else example}
    else:
        raise CannotPackage(
            f"The example is one array, and the model takes {len(fields)}: {', '.join(names)}.",
            hint="Give a dict of arrays: example={" + ", ".join(f"{one!r}: ..." for one in names) + "}.",
        )
    wrong = sorted(set(given) ^ set(names))
    if wrong:
        raise CannotPackage(
            f"The example has {', '.join(given)}, and the model takes: {', '.join(names)}.",
            hint="Give an array for each, by name.",
        )
    arrays = {one.name: as_array(given[one.name], one.dtype) for one in fields}
    for one in fields:
        _check_shape(one, arrays[one.name])
    return arrays


def _check_shape(one: Field, array: Any) -> None:
    if one.shape is None:
        return
    fits = len(one.shape) == array.ndim and all(
        size in (None, there) for size, there in zip(one.shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in one.shape)
        raise CannotPackage(
            f"The example of {one.name} has the shape {list(array.shape)}, and the model takes [{wanted}].",
            hint="The first dimension is the batch: example=X[:3].",
        )


def described(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "dtype": array.dtype.name, "shape": [None, *array.shape[1:]] if array.ndim else []}
        for name, array in arrays.items()
    ]


def shapes_of(
    values: Mapping[str, Any], call: Callable[[Mapping[str, Any]], Any], join: Callable[..., Any] | None = None
) -> dict[str, list[int | None]]:
    """The shape of each input: a dimension is free where the model also takes it at twice the length.

    `call` raises CannotPackage for what the model does not take; `join` puts two arrays together along an axis.
    """
    free: dict[str, set[int]] = {name: set() for name in values}
    for name, value in values.items():
        for axis in range(value.ndim):
            rows = [one for one, other in values.items() if other.ndim and len(other) == len(value)]
            longer = dict(values)
            for one in rows if axis == 0 else [name]:  # rows of one input go with rows of the others
                longer[one] = _twice(longer[one], axis, join)
            if axis and math.prod(longer[name].shape) > MOST_TRIED:
                continue
            with suppress(CannotPackage):
                call(longer)
                free[name].add(axis)
    return {
        name: [None if axis in free[name] else int(size) for axis, size in enumerate(value.shape)]
        for name, value in values.items()
    }


def _twice(value: Any, axis: int, join: Callable[..., Any] | None) -> Any:
    if join is not None:
        return join([value, value], axis)
    import numpy

    return numpy.concatenate([value, value], axis)


def example_body(arrays: Mapping[str, Any], fields: Sequence[Field]) -> tuple[Any, tuple[str, ...]]:
    """The example as a request's body, and remarks: what is too large to be shown is left out."""
    if not arrays:
        return None, ()
    free = {one.name for one in fields if one.shape is None or (one.shape and one.shape[0] is None)}
    cut = {name: array[:MOST_ROWS] if name in free and array.ndim else array for name, array in arrays.items()}
    if sum(array.size for array in cut.values()) > MOST_VALUES:
        cut = {name: array[:1] if name in free and array.ndim else array for name, array in arrays.items()}
    count = sum(array.size for array in cut.values())
    if count > MOST_VALUES:
        return None, (
            f"the example has {count:,} values a row, too many to be shown; the form of the app begins empty",
        )
    listed = {name: array.tolist() for name, array in cut.items()}
    return {"inputs": next(iter(listed.values())) if len(fields) == 1 else listed}, ()


def save_example(arrays: Mapping[str, Any], data: Path) -> None:
    """What the worker tries the model with when it has loaded it: one row is enough to compile for."""
    import numpy

    if arrays:
        rows = {f"input {name}": array[:1] if array.ndim else array for name, array in arrays.items()}
        numpy.savez(data / "example.npz", **rows)


def scores_of(
    output: Output, results: Sequence[Mapping[str, Any]], names: Sequence[str] = ("output",)
) -> dict[str, str] | None:
    """How a classification is read from the model's arrays: which one holds the scores, and what they are.

    `results` are what the model gave for the example, and for other rows like it; `names` are those of its arrays.
    """
    if output.kind != "classification" or not output.classes:
        return None
    if len(names) > 1 and "logits" not in names:
        raise CannotPackage(
            f"The schema says classification, and the model gives several arrays: {', '.join(names)}.",
            hint="Let it give the scores only, or leave the output out of the schema.",
        )
    name = "logits" if len(names) > 1 else names[0]
    kinds = {_kind_of_scores(one[name], len(output.classes)) for one in results}
    return {"output": name, "are": kinds.pop() if len(kinds) == 1 else "logits" if kinds else "unknown"}


def _kind_of_scores(scores: Any, classes: int) -> str:
    import numpy

    rows = numpy.asarray(scores, dtype=float)
    rows = rows.reshape(len(rows), -1)
    width = rows.shape[1]
    if width != classes and not (width == 1 and classes == 2):
        raise CannotPackage(
            f"The schema names {classes} classes, and the model gives {width} scores a row.",
            hint="Name as many classes as it gives scores, in their order.",
        )
    is_share = bool(((rows >= 0) & (rows <= 1)).all())
    sums_to_one = width == 1 or bool(numpy.allclose(rows.sum(axis=1), 1, atol=1e-3))
    return "probabilities" if is_share and sums_to_one else "logits"


def with_probabilities(schema: ModelSchema) -> ModelSchema:
    """A classification of scores always has probabilities."""
    if schema.output.kind != "classification" or not schema.output.classes:
        return schema
    return replace(schema, output=replace(schema.output, probabilities=True))


def short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    is_wrapped = bool(lines) and lines[0] == "in user code:"  # TensorFlow shows the way there first
    line = lines[-1 if is_wrapped else 0] if lines else type(error).__name__
    return line if len(line) <= 200 else line[:197] + "..."
