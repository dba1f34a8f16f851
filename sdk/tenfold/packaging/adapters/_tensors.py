"""Reads arrays from what callers send, and writes the answer. Needs numpy; Python 3.9 and later."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from ._fields import listed, refuse, shown

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64", "bfloat16")
READ_AS = {"bfloat16": "float32"}
"""Types that numpy does not have, and those that carry their values."""


def read_inputs(body: Any, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The arrays of a request by the names of the fields, each of its field's type and shape; refuses what is not.

    Takes {"inputs": array}, {"inputs": {name: array}}, {"instances": [rows]}, either of the first two bare, and, where
    one array of rows is all that is needed, tables: a list of objects, dataframe_records and dataframe_split.
    """
    given = _by_name(body, [field["name"] for field in fields])
    arrays: dict[str, Any] = {}
    for field in fields:
        name = field["name"]
        if given.get(name) is None and field.get("nullable"):
            continue
        if name not in given:
            refuse(f"The input {name!r} is missing. The model takes: {listed(field['name'] for field in fields)}.")
        arrays[name] = read_array(given[name], field, repr(name))
    _check_batch(arrays, fields)
    return arrays


def _by_name(body: Any, names: Sequence[str]) -> dict[str, Any]:
    given, is_rows = _inside(body, names)
    if len(names) == 1 and _is_table(given, names[0]):
        return {names[0]: _values_of(given)}
    if is_rows and isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
        for number, row in enumerate(given):
            if set(map(str, row)) != set(names):
                refuse(f"Row {number} has {listed(map(str, row))}, and must have: {listed(names)}.")
        return {name: [row[name] for row in given] for name in names}
    if isinstance(given, dict) and not _is_file(given):
        unknown = [str(name) for name in given if name not in names]
        if unknown:
            refuse(f"There is no input {listed(unknown)}. The model takes: {listed(names)}.")
        return given
    if len(names) != 1:
        refuse(f"The body holds one array, and the model takes several: {listed(names)}. Give them by name.")
    return {names[0]: given}


def _inside(body: Any, names: Sequence[str]) -> tuple[Any, bool]:
    """What the body wraps, and whether that is a list of rows."""
    if not isinstance(body, dict) or _is_file(body):
        return body, False
    for key in ("inputs", "instances", "dataframe_records"):
        if key in body and (key not in names or len(body) == 1):
            return body[key], key != "inputs"
    split = body.get("dataframe_split")
    if isinstance(split, dict) and "dataframe_split" not in names:
        return split.get("data"), True
    if body and all(name in names for name in body):
        return body, False
    refuse(f"The body is {shown(body)}, and must hold arrays: " + '{"inputs": [...]}.')


def _is_table(given: Any, name: str) -> bool:
    return isinstance(given, list) and bool(given) and all(_is_row(row) and name not in row for row in given)


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and bool(row) and not _is_file(row)


def _values_of(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The numbers of a table whose columns are all there is to say; in the order of its first row."""
    columns = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(columns):
            refuse(f"Row {number} has {listed(map(str, row))}, and row 0 has: {listed(map(str, columns))}.")
    return [[row[column] for column in columns] for row in rows]


def read_array(value: Any, field: Mapping[str, Any], where: str) -> Any:
    """One array of the field's type and shape. `where` is how a message calls it."""
    dtype = field.get("dtype") or "float32"
    array = _texts(value, where) if dtype == "str" else _numbers(value, dtype, where)
    _check_shape(array, field.get("shape"), where)
    return array


def _texts(value: Any, where: str) -> Any:
    import numpy

    texts = _object_array(_with_bytes(value, where), where)
    for text in texts.ravel():
        if not isinstance(text, (str, bytes)):
            refuse(f"{where} holds {shown(text)}, and must hold texts.")
    return numpy.array(texts, dtype=object)


def _with_bytes(value: Any, where: str) -> Any:
    """The value with the bytes of {"b64": ...} and of files {name, type, data} in their places."""
    if isinstance(value, list):
        return [_with_bytes(one, where) for one in value]
    if not isinstance(value, dict):
        return value
    data: Any = value.get("b64", value.get("data"))
    if isinstance(data, bytes):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError, binascii.Error):
        refuse(f"{where} holds data that is not base64.")


def _numbers(value: Any, dtype: str, where: str) -> Any:
    import numpy

    wanted = numpy.dtype(READ_AS.get(dtype, dtype))
    array = _plain_array(value, where)
    if array.dtype == wanted:
        return array
    if array.dtype.kind == "O":
        array = _with_gaps(array, dtype, where)
    kind = array.dtype.kind
    if kind not in "biuf":
        refuse(f"{where} holds {_first(array)}, and must hold {_said(dtype)}.")
    if wanted.kind == "b" and kind != "b" and not ((array == 0) | (array == 1)).all():
        refuse(f"{where} holds {_first(array[(array != 0) & (array != 1)])}, and must hold true or false.")
    if wanted.kind in "iu":
        array = _whole(array, wanted, dtype, where)
    return array.astype(wanted)


def _plain_array(value: Any, where: str) -> Any:
    import numpy

    if _holds_text(value):  # numpy would make texts of all values, each as long as the longest
        value = _object_array(value, where)
    try:
        return numpy.asarray(value)
    except (ValueError, TypeError, OverflowError):
        refuse(f"{where} has rows of different lengths.")


def _holds_text(value: Any) -> bool:
    """Whether there is a text in lists in lists. Adding up is the quickest way to see that there are numbers alone."""
    first = leaves = value
    while isinstance(first, list) and first:
        leaves = value if first is value else chain.from_iterable(leaves)
        first = first[0]
    if type(first) in (int, float):
        with suppress(TypeError, OverflowError):
            sum(leaves)
            return False
    return isinstance(value, list) and _has_text_in(value)


def _has_text_in(values: Sequence[Any]) -> bool:
    return any(_has_text_in(one) if isinstance(one, list) else isinstance(one, (str, bytes)) for one in values)


def _object_array(value: Any, where: str) -> Any:
    import numpy

    try:
        return numpy.array(value, dtype=object)
    except (ValueError, TypeError):
        refuse(f"{where} has rows of different lengths.")


def _with_gaps(array: Any, dtype: str, where: str) -> Any:
    """Numbers with nulls between them as floating-point numbers, where null is NaN."""
    import numpy

    for one in array.ravel():
        if one is not None and (isinstance(one, bool) or not isinstance(one, (int, float))):
            refuse(f"{where} holds {shown(one)}, and must hold {_said(dtype)}.")
    try:
        return array.astype(numpy.float64)
    except OverflowError:
        refuse(f"{where} holds a number that is too large.")


def _whole(array: Any, wanted: Any, dtype: str, where: str) -> Any:
    import numpy

    if array.dtype.kind == "f":
        parts = ~(numpy.isfinite(array) & (array == numpy.floor(array)))
        if parts.any():
            refuse(f"{where} holds {_first(array[parts])}, and must hold {_said(dtype)}.")
    limits = numpy.iinfo(wanted)
    if array.dtype.kind == "b" or not array.size:
        return array
    low, high = array.min(), array.max()
    if low < limits.min or high > limits.max:
        number = low if low < limits.min else high
        refuse(f"{where} holds {shown(number.item())}, and must be between {limits.min} and {limits.max}.")
    return array


def _said(dtype: str) -> str:
    if dtype == "bool":
        return "true or false"
    return f"whole numbers ({dtype})" if dtype in INTEGERS else f"numbers ({dtype})"


def _first(array: Any) -> str:
    return shown(array.ravel()[0].item() if array.size else None)


def _check_shape(array: Any, shape: Any, where: str) -> None:
    if shape is None:
        return
    fits = len(shape) == array.ndim
    if fits and all(known is None or known == there for known, there in zip(shape, array.shape)):  # noqa: B905
        return
    wanted = ", ".join("any" if one is None else str(one) for one in shape)
    hint = " The first dimension is the batch: one row is a list of one." if array.ndim == len(shape) - 1 else ""
    refuse(f"{where} has the shape {list(array.shape)}, and must have [{wanted}].{hint}")


def _check_batch(arrays: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]) -> None:
    """Inputs of any number of rows come with the same one, or with a single row for all."""
    free = [field["name"] for field in fields if (field.get("shape") or [0])[0] is None and field["name"] in arrays]
    lengths = {name: len(arrays[name]) for name in free}
    if len(set(lengths.values()) - {1}) > 1:
        refuse(f"The inputs have different numbers of rows: {listed(f'{k} {v}' for k, v in lengths.items())}.")


def _is_file(value: Mapping[str, Any]) -> bool:
    return "b64" in value or {"name", "type", "data"} <= set(value)


# --- calls that are answered together


Call = Callable[[dict[str, Any]], Any]
Answer = Callable[[dict[str, Any]], Any]
Group = Mapping[int, dict[str, Any]]


class Batches:
    """Puts the arrays of several calls together and their outputs apart again, where both are known to be by row."""

    def __init__(self, fields: Sequence[Mapping[str, Any]]) -> None:
        self._fields = fields
        self._counts: set[int] = set()
        self._is_by_row = all((field.get("shape") or [0])[0] is None for field in fields)

    def saw(self, outputs: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """What a call with these arrays gave."""
        count = _rows(arrays)
        if all(getattr(output, "shape", ())[:1] == (count,) for output in outputs.values()):
            self._counts.add(count)
        else:
            self._is_by_row = False

    def results(self, bodies: Sequence[Any], call: Call, answer: Answer) -> list[Any]:
        """The answer to each body, or what was raised for it, of one call for all that are alike.

        `call` gives outputs by name for arrays by name; `answer` makes an answer of outputs.
        """
        results: list[Any] = [None] * len(bodies)
        alike: dict[Any, dict[int, dict[str, Any]]] = {}
        for index, body in enumerate(bodies):
            try:
                arrays = read_inputs(body, self._fields)
                alike.setdefault(self._likeness(arrays, index), {})[index] = arrays
            except Exception as error:
                results[index] = error
        for group in alike.values():
            total = sum(map(_rows, group.values()))
            # by chance an output may be as long as there are rows: it was seen to follow them, with another number
            is_joined = len(group) > 1 and bool(self._counts - {total})
            for index, result in (self._joined if is_joined else self._alone)(group, call, answer):
                results[index] = result
        return results

    def _likeness(self, arrays: Mapping[str, Any], index: int) -> Any:
        count = _rows(arrays)
        if not self._is_by_row or not count or any(array.shape[:1] != (count,) for array in arrays.values()):
            return index
        return tuple((name, array.dtype, array.shape[1:]) for name, array in arrays.items())

    def _alone(self, group: Group, call: Call, answer: Answer) -> Iterator[tuple[int, Any]]:
        for index, arrays in group.items():
            try:
                outputs = call(arrays)
                self.saw(outputs, arrays)
                yield index, answer(outputs)
            except Exception as error:
                yield index, error

    def _joined(self, group: Group, call: Call, answer: Answer) -> Iterator[tuple[int, Any]]:
        import numpy

        names = next(iter(group.values()))
        joined = {name: numpy.concatenate([arrays[name] for arrays in group.values()]) for name in names}
        outputs = call(joined)
        self.saw(outputs, joined)
        if not self._is_by_row:
            raise ValueError("The outputs do not come by row.")
        start = 0
        for index, arrays in group.items():
            end = start + _rows(arrays)
            yield index, answer({name: output[start:end] for name, output in outputs.items()})
            start = end


def _rows(arrays: Mapping[str, Any]) -> int:
    return max((array.shape[0] for array in arrays.values() if array.shape), default=0)


# --- answers


def flattened(value: Any, is_array: Any, name: str = "output") -> dict[str, Any]:
    """The arrays of a result by name: those of a dict by key, those of a tuple by place (`output_0`).

    What is neither an array nor holds any is left out.
    """
    if is_array(value):
        return {name: value}
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = list(zip(value._fields, value))  # noqa: B905 (of one length)
    elif isinstance(value, (list, tuple)):
        parts = [(f"{name}_{index}", part) for index, part in enumerate(value)]
    elif hasattr(value, "__dataclass_fields__"):
        parts = [(key, getattr(value, key)) for key in value.__dataclass_fields__]
    else:
        return {}
    found: dict[str, Any] = {}
    for key, part in parts:
        found.update(flattened(part, is_array, key))
    return found


def answer_of(outputs: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """{"predictions": array}, {"predictions": {name: array}}, or what a classification answers."""
    scores = about.get("scores")
    if scores is not None:
        return classified(outputs[scores["output"]], scores["are"], about["schema"]["output"]["classes"])
    if len(outputs) == 1 and about.get("is_single", True):
        return {"predictions": sendable(next(iter(outputs.values())))}
    return {"predictions": {name: sendable(array) for name, array in outputs.items()}}


def classified(scores: Any, are: str, classes: Sequence[Any]) -> dict[str, Any]:
    """Predictions, probabilities and classes of rows of scores: "probabilities", "logits" or "unknown"."""
    import numpy

    rows = numpy.asarray(scores, dtype=numpy.float64)
    rows = rows.reshape(len(rows), -1)
    if are == "unknown":
        is_share = ((rows >= 0) & (rows <= 1)).all()
        sums_to_one = rows.shape[1] == 1 or numpy.allclose(rows.sum(axis=1), 1, atol=1e-3)
        are = "probabilities" if is_share and sums_to_one else "logits"
    if rows.shape[1] == 1:  # how sure it is of the second of two classes
        sure = rows if are == "probabilities" else 1 / (1 + numpy.exp(-rows))
        rows = numpy.concatenate([1 - sure, sure], axis=1)
    elif are == "logits":
        powers = numpy.exp(rows - rows.max(axis=1, keepdims=True))
        rows = powers / powers.sum(axis=1, keepdims=True)
    if rows.shape[1] != len(classes):
        raise ValueError(f"The model gives {rows.shape[1]} scores, and its schema names {len(classes)} classes.")
    best = rows.argmax(axis=1)
    return {"predictions": [classes[index] for index in best], "probabilities": rows, "classes": list(classes)}


def sendable(array: Any) -> Any:
    """The array as the worker can write it: texts as a list, types that numpy has not as those that carry them."""
    import numpy

    if array.dtype.kind in "OSU":
        return _decoded(array.tolist())
    if array.dtype.kind == "V" or array.dtype.name == "bfloat16":
        return array.astype(numpy.float32)
    return array


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def read_example(data: Path) -> dict[str, Any]:
    """The arrays that the model is tried with when it is loaded, by name; none when it came without an example."""
    import numpy

    file = data / "example.npz"
    if not file.is_file():
        return {}
    with numpy.load(file, allow_pickle=False) as arrays:
        return {name[len("input ") :]: _as_read(arrays[name]) for name in arrays.files}


def _as_read(array: Any) -> Any:
    return array.astype(object) if array.dtype.kind == "U" else array
