"""Tensors as the Open Inference Protocol carries them: their datatypes, in JSON and as raw little-endian bytes.

A tensor's values are a numpy array where the environment has numpy, else lists in lists.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import struct
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, NamedTuple, NoReturn, Optional, Sequence

from tenfold_runtime.encoding import encode_json
from tenfold_runtime.faults import bad_input, bad_output

BYTES = "BYTES"
BF16 = "BF16"


class Datatype(NamedTuple):
    code: str  # of the module struct
    size: int  # of a value, in bytes
    dtype: str  # numpy's name; of BF16, which numpy has not, what carries its bits


DATATYPES: Dict[str, Datatype] = {
    "BOOL": Datatype("?", 1, "bool"),
    "UINT8": Datatype("B", 1, "uint8"),
    "UINT16": Datatype("H", 2, "uint16"),
    "UINT32": Datatype("I", 4, "uint32"),
    "UINT64": Datatype("Q", 8, "uint64"),
    "INT8": Datatype("b", 1, "int8"),
    "INT16": Datatype("h", 2, "int16"),
    "INT32": Datatype("i", 4, "int32"),
    "INT64": Datatype("q", 8, "int64"),
    "FP16": Datatype("e", 2, "float16"),
    BF16: Datatype("H", 2, "uint16"),
    "FP32": Datatype("f", 4, "float32"),
    "FP64": Datatype("d", 8, "float64"),
}
BY_DTYPE = {one.dtype: name for name, one in DATATYPES.items() if name != BF16} | {"bfloat16": BF16, "str": BYTES}
"""Datatypes by numpy's names; `str` is what a model's schema calls texts."""

_DEEPEST = 32
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Tensor:
    """`values` has the shape that is said: an array, or lists in lists. Of BF16 they are numbers of float32."""

    name: str
    datatype: str
    shape: List[int]
    values: Any


@functools.lru_cache(maxsize=None)
def numpy() -> Any:
    """The environment's numpy, or None."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


# --- what callers send


def from_bytes(name: str, datatype: str, shape: List[int], raw: memoryview) -> Tensor:
    """A tensor of a request's binary part. Its array is a copy, which the model may write to.

    Raises Fault `bad_input` when they are not as many as the shape needs.
    """
    if datatype == BYTES:
        return Tensor(name, datatype, shape, _nested(_texts(_cut(name, raw, math.prod(shape))), shape))
    kind, count = DATATYPES[datatype], math.prod(shape)
    if len(raw) != count * kind.size:
        expected = f"{count * kind.size} of {datatype} with the shape {shape}"
        refuse(f"The input {name!r} has {len(raw)} bytes of binary data, and needs {expected}.")
    found = numpy()
    if found is None:
        numbers = struct.unpack(f"<{count}{kind.code}", raw)
        return Tensor(name, datatype, shape, _nested(_widened(numbers) if datatype == BF16 else numbers, shape))
    dtype = found.dtype(kind.dtype).newbyteorder("<")
    array = found.frombuffer(raw, dtype=dtype) if count else found.empty(0)
    if datatype == BF16:
        widened = (array.astype("uint32") << 16).view("float32")
        return Tensor(name, datatype, shape, widened.reshape(shape))
    if datatype == "BOOL":  # a byte may be neither 0 nor 1, of which numpy makes odd truths
        return Tensor(name, datatype, shape, (array.view("uint8") != 0).reshape(shape))
    return Tensor(name, datatype, shape, array.astype(kind.dtype).reshape(shape))


def from_json(name: str, datatype: str, shape: List[int], data: Any) -> Tensor:
    """A tensor of a request's JSON part, flat or nested. Raises Fault `bad_input`."""
    if not isinstance(data, list):
        refuse(f"The data of the input {name!r} is not a list.")
    found = numpy()
    if found is None or datatype == BYTES:
        return Tensor(name, datatype, shape, _nested(_each_checked(data, datatype, shape, name), shape))
    array = _array_of_numbers(found, data, name)
    if array is not None:
        _check_count(name, array.size, shape)
        array = _converted(found, array, datatype, name)
    if array is None:  # with null in it, numbers beyond 63 bits, or nonsense
        array = found.array(_each_checked(data, datatype, shape, name), dtype=_dtype(found, datatype))
    return Tensor(name, datatype, shape, array.reshape(shape))


def refuse(message: str, hint: Optional[str] = None) -> NoReturn:
    raise bad_input(message, hint=hint)


def shown(value: Any) -> str:
    """A caller's value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _each_checked(data: List[Any], datatype: str, shape: List[int], name: str) -> List[Any]:
    flat = _flat(data, name)
    _check_count(name, len(flat), shape)
    return [_checked(one, datatype, name) for one in flat]


def _array_of_numbers(found: Any, data: List[Any], name: str) -> Any:
    """Lists in lists of numbers, or of true and false, as numpy takes them; None where there is something else in them.

    Adding up is the quickest way to look at each. Of one long text among them numpy would make texts of all, each as
    long as the longest.
    """
    first: Any = data
    leaves: Iterable[Any] = data
    while isinstance(first, list) and first:
        leaves = data if first is data else itertools.chain.from_iterable(leaves)
        first = first[0]
    try:
        sum(leaves)
    except (TypeError, OverflowError):  # the latter of a whole number too large for a float
        return None
    try:
        return found.asarray(data)
    except ValueError:
        refuse(f"The data of the input {name!r} has rows of different lengths.")


def _dtype(found: Any, datatype: str) -> Any:
    return found.dtype("float32" if datatype == BF16 else DATATYPES[datatype].dtype)


def _converted(found: Any, array: Any, datatype: str, name: str) -> Any:
    """JSON's numbers as an array of the datatype, if that holds each of them; None: each is to be looked at."""
    wanted = _dtype(found, datatype)
    if not array.size:
        return array.astype(wanted)
    if array.dtype.kind not in _MAY_BE[wanted.kind]:
        return None
    if wanted.kind in "iu":
        limits = found.iinfo(wanted)
        low, high = array.min(), array.max()
        if low < limits.min or high > limits.max:
            refuse(f"The input {name!r} holds {low if low < limits.min else high}, which is no {datatype}.")
    with found.errstate(over="ignore"):
        made = array.astype(wanted)
    if wanted.kind == "f" and found.isinf(made).any():
        refuse(f"The input {name!r} holds a number that is too large for {datatype}.")
    return made


_MAY_BE = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def _checked(value: Any, datatype: str, name: str) -> Any:
    """One value of JSON, if the datatype can hold it. Null is NaN, which JSON has not."""
    kind = type(value)
    if datatype == BYTES:
        if kind is str:
            return value
    elif datatype == "BOOL":
        if kind is bool or (kind is int and value in (0, 1)):
            return bool(value)
    elif datatype in _FLOATS:
        if value is None:
            return math.nan
        if kind in (int, float):
            return _as_float(value, datatype, name)
    elif kind is int and _fits(value, datatype):
        return value
    if kind is list:
        refuse(f"The data of the input {name!r} has rows of different lengths.")
    refuse(f"The input {name!r} holds {shown(value)}, which is no {datatype}.")


_FLOATS = ("FP16", BF16, "FP32", "FP64")


def _as_float(value: Any, datatype: str, name: str) -> float:
    try:
        number = float(value)
        struct.pack("<f" if datatype == BF16 else "<" + DATATYPES[datatype].code, number)
    except OverflowError:
        refuse(f"The input {name!r} holds a number that is too large for {datatype}.")
    return number


def _fits(value: int, datatype: str) -> bool:
    try:
        struct.pack("<" + DATATYPES[datatype].code, value)
    except struct.error:
        return False
    return True


def _check_count(name: str, count: int, shape: List[int]) -> None:
    if count != math.prod(shape):
        refuse(f"The data of the input {name!r} has {count} values, and its shape {shape} needs {math.prod(shape)}.")


def _cut(name: str, raw: memoryview, count: int) -> List[bytes]:
    """The elements of BYTES: before each its length."""
    items: List[bytes] = []
    position, end = 0, len(raw)
    while position < end and len(items) <= count:
        if end - position < _LENGTH.size:
            break
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size
        if length > end - position:
            refuse(f"The binary data of the input {name!r} ends within element {len(items)}.")
        items.append(bytes(raw[position : position + length]))
        position += length
    if position != end or len(items) != count:
        refuse(
            f"The binary data of the input {name!r} does not hold {count} elements of BYTES.",
            "Each is its length as four bytes, little-endian, and then its bytes.",
        )
    return items


def _texts(items: List[bytes]) -> List[Any]:
    """Texts where all of them are UTF-8, else bytes."""
    try:
        return [item.decode("utf-8") for item in items]
    except UnicodeDecodeError:
        return list(items)


def _widened(halves: Iterable[int]) -> List[float]:
    return [float(struct.unpack("<f", struct.pack("<I", half << 16))[0]) for half in halves]


def _flat(data: Any, name: str) -> List[Any]:
    """The values of lists in lists, in row-major order. A list among values of another kind stays in."""
    items: List[Any] = data
    for _ in range(_DEEPEST):
        if not items or type(items[0]) is not list:
            return items
        if set(map(type, items)) != {list} or len(set(map(len, items))) > 1:
            break
        items = list(itertools.chain.from_iterable(items))
    refuse(f"The data of the input {name!r} has rows of different lengths.")


def _nested(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    """The values in the shape: as an array of objects or of what they are where there is numpy, else as lists."""
    found = numpy()
    if found is not None:
        array = found.empty(len(flat), dtype=object)
        array[:] = flat
        return array.reshape(shape)
    return lists(list(flat), shape)


def lists(flat: List[Any], shape: Sequence[int]) -> Any:
    """Flat values as lists in lists of that shape; a single value where it has no dimension."""
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = math.prod(shape[1:])
    return [lists(flat[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]


def as_lists(values: Any) -> Any:
    """A tensor's values as Python has them."""
    return values.tolist() if hasattr(values, "tolist") else values


# --- what models give


def of_result(name: str, value: Any) -> Tensor:
    """A part of a model's result. What is no array of numbers, booleans or texts goes as JSON in the elements of BYTES.

    `values` are an array or a flat list. Raises Fault `bad_output`.
    """
    value = _unwrapped(value)
    if isinstance(value, (list, tuple)) and value and all(map(_is_array, value)):
        value = _stacked(value)
    if _is_array(value):
        return _of_array(name, value)
    if not isinstance(value, (list, tuple)):
        return _of_items(name, [value], [1])
    shape = _shape_of(value)
    flat: Sequence[Any] = value
    for _ in shape[1:]:
        flat = [one for item in flat for one in item]
    return _of_items(name, list(flat), shape)


def to_bytes(tensor: Tensor) -> "bytes | memoryview":
    """The tensor's values as a binary part of an answer."""
    values = tensor.values
    if tensor.datatype == BYTES:
        return b"".join(_LENGTH.pack(len(one)) + one for one in map(_as_bytes, values))
    if isinstance(values, list):
        return struct.pack(f"<{len(values)}{DATATYPES[tensor.datatype].code}", *values)
    if tensor.datatype == BF16:
        values = values.view("uint16")
    return memoryview(values).cast("B") if values.size else b""


def to_json(tensor: Tensor) -> Any:
    """The tensor's values as the flat list, or array, that JSON is made of. Raises Fault `bad_input` for raw bytes."""
    if tensor.datatype == BYTES:
        try:
            return [one if isinstance(one, str) else bytes(one).decode("utf-8") for one in tensor.values]
        except UnicodeDecodeError:
            refuse(
                f"The output {tensor.name!r} holds bytes that are no text, which JSON cannot carry.",
                "Ask for it as binary data.",
            )
    if isinstance(tensor.values, list):
        return tensor.values
    return (tensor.values.astype("float32") if tensor.datatype == BF16 else tensor.values).reshape(-1)


def _unwrapped(value: Any) -> Any:
    """An array out of what frameworks wrap it in."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # torch
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    for convert in ("toarray", "to_numpy", "numpy"):
        if callable(getattr(value, convert, None)) and not isinstance(value, type):
            return getattr(value, convert)()
    return value


def _stacked(values: Sequence[Any]) -> Any:
    """Arrays, or numpy's single values, as one array where they are of one shape."""
    return numpy().asarray(values) if len({one.shape for one in values}) == 1 else [one.tolist() for one in values]


def _is_array(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "dtype")


def _of_array(name: str, array: Any) -> Tensor:
    found = numpy()
    array = found.asarray(array)
    shape = list(array.shape) or [1]
    if array.dtype.kind == "M":
        array = array.astype(str)
    if array.dtype.kind in "OSU":
        return _of_items(name, array.ravel().tolist(), shape)
    datatype = BY_DTYPE.get(array.dtype.name)
    if datatype is None:
        raise bad_output(f"The output {name!r} is an array of {array.dtype}, for which the protocol has no datatype.")
    native = array if datatype == BF16 else array.astype(DATATYPES[datatype].dtype, copy=False)
    return Tensor(name, datatype, shape, found.ascontiguousarray(native))


def _of_items(name: str, flat: List[Any], shape: List[int]) -> Tensor:
    kinds = {type(one) for one in flat}
    if not kinds - {str, bytes}:
        return Tensor(name, BYTES if flat else "FP64", shape, flat)
    if kinds == {bool}:
        return Tensor(name, "BOOL", shape, _packed(flat, "BOOL"))
    if kinds == {int} and all(_fits(one, "INT64") for one in flat):
        return Tensor(name, "INT64", shape, _packed(flat, "INT64"))
    if kinds & {int, float} and not kinds - {int, float, type(None)}:
        with contextlib.suppress(OverflowError):  # whole numbers that are too large are told as JSON tells them
            numbers = [math.nan if one is None else float(one) for one in flat]
            return Tensor(name, "FP64", shape, _packed(numbers, "FP64"))
    return Tensor(name, BYTES, shape, [one if isinstance(one, (str, bytes)) else _text_of(one) for one in flat])


def _packed(flat: List[Any], datatype: str) -> Any:
    found = numpy()
    return flat if found is None else found.array(flat, dtype=DATATYPES[datatype].dtype)


def _text_of(value: Any) -> str:
    return encode_json(value)[0].decode("utf-8")


def _as_bytes(value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)


def _shape_of(value: Sequence[Any]) -> List[int]:
    """As deep as all lists of one depth have the same length; what lies deeper is looked at as it is."""
    shape = [len(value)]
    items: Sequence[Any] = value
    while items and all(isinstance(one, (list, tuple)) for one in items) and len({len(one) for one in items}) == 1:
        shape.append(len(items[0]))
        items = [inner for one in items for inner in one]
    return shape
