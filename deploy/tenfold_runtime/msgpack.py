"""msgpack with numpy arrays, as Truss speaks it: msgpack-numpy's arrays, and dates, times, decimals and UUIDs.

A codec of our own, for environments that have neither package. Arrays of objects are refused both ways: elsewhere
they travel as pickles, and a caller's bytes must never be unpickled.
"""

from __future__ import annotations

import datetime
import decimal
import importlib
import struct
import uuid
from typing import Any, Callable, Dict, List, Tuple

from tenfold_runtime.encoding import step_towards_json
from tenfold_runtime.faults import Fault, bad_input, bad_output, user_fault

CONTENT_TYPE = "application/msgpack"
_DEEPEST = 250


def encode(value: Any) -> bytes:
    """A result as msgpack. Raises Fault `bad_output` naming the place and the type."""
    parts: List[bytes] = []
    try:
        _pack(value, parts, "", 0)
    except Exception as error:  # the user's own objects may raise while they are read
        fault = user_fault(error)
        if fault is error:
            raise
        message = f"The result cannot be written as msgpack: {fault.message}"
        raise Fault("bad_output", message, source="user", hint=fault.hint, traceback=fault.traceback) from None
    return b"".join(parts)


def decode(payload: bytes) -> Any:
    """A request's body. Raises Fault `bad_input`."""
    if not payload:
        raise bad_input("The body is empty.", hint="Send a value as msgpack.")
    reader = _Reader(payload)
    try:
        value = reader.value(0)
    except (struct.error, IndexError):
        raise bad_input("The body is not valid msgpack: it ends too early.") from None
    except (UnicodeDecodeError, ValueError, TypeError, OverflowError, decimal.InvalidOperation) as error:
        raise bad_input(f"The body is not valid msgpack: {error}.") from None
    if reader.at != len(payload):
        raise bad_input(f"The body is not valid msgpack: it goes on after its value, at byte {reader.at}.")
    return value


# --- writing ---


def _pack(value: Any, parts: List[bytes], path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise bad_output(f"The result is nested more than {_DEEPEST} deep at {path[:200]}, or contains itself.")
    if value is None:
        parts.append(b"\xc0")
    elif isinstance(value, bool):
        parts.append(b"\xc3" if value else b"\xc2")
    elif type(value) is int:
        parts.append(_packed_int(value, path))
    elif type(value) is float:
        parts.append(struct.pack(">Bd", 0xCB, value))
    elif type(value) is str:
        data = value.encode("utf-8", "surrogatepass")
        parts += (_head(len(data), 0xA0, 31, (0xD9, 0xDA, 0xDB)), data)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        parts += (_head(len(data), None, -1, (0xC4, 0xC5, 0xC6)), data)
    elif type(value) in (list, tuple):
        parts.append(_head(len(value), 0x90, 15, (None, 0xDC, 0xDD)))
        for index, item in enumerate(value):
            _pack(item, parts, f"{path}[{index}]", depth + 1)
    elif type(value) is dict:
        _pack_map(value, parts, path, depth)
    else:
        _pack_special(value, parts, path, depth)


def _pack_map(value: Dict[Any, Any], parts: List[bytes], path: str, depth: int) -> None:
    parts.append(_head(len(value), 0x80, 15, (None, 0xDE, 0xDF)))
    for key, item in value.items():
        _pack(key, parts, path, depth + 1)
        _pack(item, parts, f"{path}.{key}" if path else str(key), depth + 1)


def _pack_special(value: Any, parts: List[bytes], path: str, depth: int) -> None:
    marked = _marked_array(value, path) if type(value).__module__ == "numpy" else None
    if marked is None:
        marked = next((mark(value) for kind, mark in _MARKS if isinstance(value, kind)), None)
    if marked is not None:
        _pack_map(marked, parts, path, depth)
        return
    is_pydantic = callable(getattr(value, "model_dump", None)) and hasattr(type(value), "model_fields")
    simpler = value.model_dump() if is_pydantic else step_towards_json(value)
    if simpler is value:
        kind = type(value)
        where = f" at {path}" if path else ""
        raise bad_output(f"The result holds a {kind.__module__}.{kind.__name__}{where}, which msgpack cannot carry.")
    _pack(simpler, parts, path, depth + 1)


def _marked_array(value: Any, path: str) -> Any:
    """msgpack-numpy's form of an array or a scalar; None for anything else of numpy."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not hasattr(value, "tobytes"):
        return None
    if dtype.hasobject:
        raise bad_output(
            f"The result holds an array of objects{f' at {path}' if path else ''}.",
            hint="Give it a dtype (`.astype(...)`), or return a list (`.tolist()`).",
        )
    if not hasattr(value, "__array_interface__") or not hasattr(value, "flags"):
        return None
    if value.ndim == 0 and type(value).__name__ != "ndarray":
        return {b"nd": False, b"type": dtype.str, b"data": value.tobytes()}
    kind = b"V" if dtype.kind == "V" else b""
    described = [list(field) for field in dtype.descr] if kind else dtype.str
    return {b"nd": True, b"type": described, b"kind": kind, b"shape": list(value.shape), b"data": value.tobytes()}


def _iso(value: datetime.datetime) -> str:
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


_MARKS: Tuple[Tuple[Any, Callable[[Any], Dict[bytes, Any]]], ...] = (
    (datetime.datetime, lambda value: {b"__dt_datetime_iso__": True, b"data": _iso(value)}),
    (datetime.date, lambda value: {b"__dt_date_iso__": True, b"data": value.isoformat()}),
    (datetime.time, lambda value: {b"__dt_time_iso__": True, b"data": value.isoformat()}),
    (
        datetime.timedelta,
        lambda value: {b"__dt_timedelta__": True, b"data": [value.days, value.seconds, value.microseconds]},
    ),
    (decimal.Decimal, lambda value: {b"__decimal__": True, b"data": str(value)}),
    (uuid.UUID, lambda value: {b"__uuid__": True, b"data": str(value)}),
    (complex, lambda value: {b"complex": True, b"data": repr(value)}),
)


def _packed_int(value: int, path: str) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return struct.pack("b", value)
    for code, form in _INTEGERS:
        try:
            return bytes([code]) + struct.pack(form, value)
        except struct.error:
            continue
    where = f" at {path}" if path else ""
    raise bad_output(f"The result holds an integer of more than 64 bits{where}, which msgpack cannot carry.")


_INTEGERS = (
    (0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"), (0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"),
)  # fmt: skip


def _head(length: int, fixed: Any, most_fixed: int, codes: Tuple[Any, Any, Any]) -> bytes:
    if length <= most_fixed:
        return bytes([fixed | length])
    if codes[0] is not None and length < 1 << 8:
        return struct.pack(">BB", codes[0], length)
    if length < 1 << 16:
        return struct.pack(">BH", codes[1], length)
    return struct.pack(">BI", codes[2], length)


# --- reading ---


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        code = self._data[self.at]
        self.at += 1
        if code < 0x80:
            return code
        if code < 0x90:
            return self._map(code & 0x0F, depth)
        if code < 0xA0:
            return self._list(code & 0x0F, depth)
        if code < 0xC0:
            return self._text(code & 0x1F)
        if code >= 0xE0:
            return code - 256
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return self._unpack(_NUMBERS[code])
        if code in _SIZED:
            form, read = _SIZED[code]
            return read(self, self._unpack(form), depth)
        raise ValueError(f"byte {code:#04x} at {self.at - 1} begins nothing that is known here")

    def _unpack(self, form: str) -> Any:
        size = struct.calcsize(form)
        (value,) = struct.unpack_from(form, self._data, self.at)
        self.at += size
        return value

    def _bytes(self, length: int, _depth: int = 0) -> bytes:
        end = self.at + length
        if end > len(self._data):
            raise IndexError
        found = self._data[self.at : end]
        self.at = end
        return found

    def _text(self, length: int, _depth: int = 0) -> str:
        return self._bytes(length).decode("utf-8", "surrogatepass")

    def _list(self, length: int, depth: int) -> List[Any]:
        if length > len(self._data) - self.at:
            raise IndexError
        return [self.value(depth + 1) for _ in range(length)]

    def _map(self, length: int, depth: int) -> Any:
        if length > len(self._data) - self.at:
            raise IndexError
        found: Dict[Any, Any] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if isinstance(key, (list, dict)):
                raise ValueError("a key is a list or a map")
            found[key] = self.value(depth + 1)
        return _restored(found) if b"data" in found else found


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED: Dict[int, Tuple[str, Callable[[_Reader, int, int], Any]]] = {
    0xC4: (">B", _Reader._bytes), 0xC5: (">H", _Reader._bytes), 0xC6: (">I", _Reader._bytes),
    0xD9: (">B", _Reader._text), 0xDA: (">H", _Reader._text), 0xDB: (">I", _Reader._text),
    0xDC: (">H", _Reader._list), 0xDD: (">I", _Reader._list),
    0xDE: (">H", _Reader._map), 0xDF: (">I", _Reader._map),
}  # fmt: skip


def _restored(found: Dict[Any, Any]) -> Any:
    """What a marked map stands for, or the map itself."""
    for mark, restore in _RESTORE.items():
        if mark in found:
            try:
                return restore(found)
            except Fault:
                raise
            except KeyError:  # a map of the caller's own that looks like one
                return found
            except Exception as error:  # numpy reads a dtype's text as Python, and fails in as many ways
                raise ValueError(str(error) or type(error).__name__) from None
    return found


def _restored_array(found: Dict[Any, Any]) -> Any:
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise bad_input(
            "The body holds a numpy array, and the model's environment has no numpy.",
            hint="Send lists, or add numpy to the model's requirements.",
        ) from None
    if found.get(b"kind") == b"O":
        raise ValueError("an array of objects would have to be unpickled; send one with a numeric dtype")
    dtype = numpy.dtype(_description(found[b"type"]))
    if dtype.hasobject:
        raise ValueError("an array of objects would have to be unpickled; send one with a numeric dtype")
    if found[b"nd"] is not True:
        return numpy.frombuffer(found[b"data"], dtype)[0]
    return numpy.ndarray(tuple(found[b"shape"]), dtype, found[b"data"])


def _description(given: Any) -> Any:
    """A dtype as numpy takes it: text, or for records a list of tuples."""
    if isinstance(given, bytes):
        return given.decode("ascii")
    if not isinstance(given, list):
        return given
    return [tuple(tuple(part) if isinstance(part, list) else _description(part) for part in field) for field in given]


_RESTORE: Dict[bytes, Callable[[Dict[Any, Any]], Any]] = {
    b"nd": _restored_array,
    b"complex": lambda found: complex(_description(found[b"data"])),
    b"__dt_datetime_iso__": lambda found: datetime.datetime.fromisoformat(found[b"data"].replace("Z", "+00:00")),
    b"__dt_date_iso__": lambda found: datetime.date.fromisoformat(found[b"data"]),
    b"__dt_time_iso__": lambda found: datetime.time.fromisoformat(found[b"data"]),
    b"__dt_timedelta__": lambda found: datetime.timedelta(
        days=found[b"data"][0], seconds=found[b"data"][1], microseconds=found[b"data"][2]
    ),
    b"__decimal__": lambda found: decimal.Decimal(found[b"data"]),
    b"__uuid__": lambda found: uuid.UUID(found[b"data"]),
}
