"""JSON in and out, for whatever a model takes and returns.

Uses orjson where the environment has it; never imports a framework itself.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from tenfold_runtime.faults import Fault, bad_input, bad_output, user_fault

orjson: Any
try:
    import orjson
except ImportError:
    orjson = None

_DEEPEST = 250
_WARNINGS_NAMED = 10
_BINARY_TYPES = ("application/octet-stream", "application/pdf", "application/zip", "image/", "audio/", "video/")


def decode_body(payload: bytes, content_type: str) -> Any:
    """A request's body as user code gets it.

    Bytes for binary content types, else the JSON value. Raises Fault `bad_input`.
    """
    if content_type.lower().startswith(_BINARY_TYPES):
        return payload
    return decode_json(payload)


def decode_json(payload: bytes) -> Any:
    """Reads JSON. Raises Fault `bad_input` with line and column."""
    if not payload.strip():
        raise bad_input("The body is empty.", hint="Send a JSON value, for example null or {}.")
    try:
        if orjson is not None:
            return orjson.loads(payload)
        return json.loads(payload, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:  # orjson's error is one of these
        where = {"line": error.lineno, "column": error.colno}
        message = f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        raise bad_input(message, hint=_single_quote_hint(payload), details=where) from None
    except RecursionError:
        raise bad_input("The body is JSON nested too deeply.") from None
    except MemoryError:
        raise out_of_memory() from None
    except ValueError as error:
        raise bad_input(f"The body is not valid JSON: {error}.") from None


def out_of_memory() -> Fault:
    """What to tell a caller whose body does not fit."""
    message = "The body needs more memory than the model has left."
    return Fault("too_large", message, status=413, source="input", hint="Send less of it at a time.")


def encode_json(value: Any) -> Tuple[bytes, List[str]]:
    """A result as JSON, and warnings about what JSON could not carry.

    Raises Fault `bad_output` naming the place and the type.
    """
    try:
        encoded = _fast(value)
        return encoded if encoded is not None else _slow(value)
    except Exception as error:  # the user's own objects may raise while they are read
        fault = user_fault(error)
        if fault is error:
            raise
        message = f"The result cannot be written as JSON: {fault.message}"
        raise Fault("bad_output", message, source="user", hint=fault.hint, traceback=fault.traceback) from None


def plain(value: Any) -> Any:
    """A result as JSON would carry it: only dict, list, str, int, float, bool and None."""
    return _simplify(value, "", 0, [])


def _fast(value: Any) -> Optional[Tuple[bytes, List[str]]]:
    """By orjson; None for what it refuses (huge integers, deep or odd values), which is then looked at one by one."""
    if orjson is None:
        return None
    try:
        encoded: bytes = orjson.dumps(value, default=_orjson_default, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError):
        return None
    if b"null" not in encoded:  # NaN is written as null without a word
        return encoded, []
    lost: List[str] = []
    _simplify(value, "", 0, lost)
    return encoded, _summary(lost)


def _slow(value: Any) -> Tuple[bytes, List[str]]:
    lost: List[str] = []
    simple = _simplify(value, "", 0, lost)
    try:
        text = json.dumps(simple, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8"), _summary(lost)
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can carry
        return json.dumps(simple, separators=(",", ":"), allow_nan=False).encode("ascii"), _summary(lost)


def step_towards_json(value: Any) -> Any:
    """One step from an object of a library towards what JSON can carry, or the value itself when there is none."""
    return _convert(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value; send null")


def _single_quote_hint(payload: bytes) -> Optional[str]:
    if payload.lstrip()[:2] in (b"{'", b"['"):
        return "JSON strings are written with double quotes."
    return None


def _summary(lost: List[str]) -> List[str]:
    if not lost:
        return []
    named = ", ".join(lost[:_WARNINGS_NAMED])
    more = f" and {len(lost) - _WARNINGS_NAMED} more" if len(lost) > _WARNINGS_NAMED else ""
    return [f"JSON has no NaN or Infinity; null was written at {named}{more}"]


def _orjson_default(value: Any) -> Any:
    if (
        _root(value) == "numpy"
        and hasattr(value, "dtype")
        and value.ndim
        and (value.dtype.kind in "iub" or value.dtype == "float64")  # smaller ones it rounds to their own digits
        and hasattr(orjson, "Fragment")
    ):
        try:
            return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
        except TypeError:  # not contiguous, or of another byte order
            return value.tolist()
    converted = _convert(value)
    if converted is value:
        raise TypeError(type(value).__name__)
    return converted


def _simplify(value: Any, path: str, depth: int, lost: List[str]) -> Any:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        lost.append(path or "the result")
        return None
    if depth > _DEEPEST:
        raise bad_output(f"The result is nested more than {_DEEPEST} deep at {path[:200]}, or contains itself.")
    if kind is dict:
        return {_key(key, path): _simplify(item, _join(path, key), depth + 1, lost) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_simplify(item, f"{path}[{index}]", depth + 1, lost) for index, item in enumerate(value)]
    converted = _convert(value)
    if converted is value:
        where = f" at {path}" if path else ""
        raise bad_output(
            f"The result holds a {_type_name(value)}{where}, which cannot be written as JSON.",
            hint="Return dicts, lists, strings, numbers, booleans, None, or arrays and tables of them.",
        )
    return _simplify(converted, path, depth + 1, lost)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return str(key.value) if isinstance(key, enum.Enum) else str(key)
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    if isinstance(key, enum.Enum):
        return _key(key.value, path)
    if _root(key) == "numpy" and hasattr(key, "item"):
        return _key(key.item(), path)
    if isinstance(key, (datetime.datetime, datetime.date, datetime.time)):
        return key.isoformat()
    if isinstance(key, (int, float, uuid.UUID, decimal.Decimal, pathlib.PurePath, tuple)):
        return str(key)
    where = f" at {path}" if path else ""
    raise bad_output(f"The result has a {_type_name(key)} as a key{where}; keys must be strings or numbers.")


def _convert(value: Any) -> Any:
    """One step towards JSON, or the value itself when there is none."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return _missing(value) or convert(value)
    special = _BY_LIBRARY.get(_root(value))
    if special is not None:
        return special(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, type):
        return value
    if callable(getattr(value, "model_dump", None)) and hasattr(type(value), "model_fields"):
        return _from_pydantic(value)
    if callable(getattr(value, "dict", None)) and hasattr(type(value), "__fields__"):
        return value.dict()
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    return value


def _from_pydantic(value: Any) -> Any:
    """As JSON, with the model's own serializers; as Python objects where one of its fields has no JSON form."""
    try:
        return value.model_dump(mode="json")
    except Exception:  # numpy arrays and the like, which are written below
        return value.model_dump()


def _missing(value: Any) -> Any:
    """NaN for pandas' NaT, which is a datetime that has no date."""
    return math.nan if type(value).__name__ == "NaTType" else None


def _from_numpy(value: Any) -> Any:
    kind = value.dtype.kind if hasattr(value, "dtype") else ""
    if kind == "M":
        texts = value.astype(str).tolist()
        return _without_nat(texts)
    if kind == "m":
        return (value / value.dtype.type(1, "s")).tolist()
    if kind == "c":
        return value
    return value.tolist() if hasattr(value, "tolist") else value


def _without_nat(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_without_nat(text) for text in texts]
    return None if texts == "NaT" else texts


def _from_pandas(value: Any) -> Any:
    name = type(value).__name__
    if name in ("NAType", "NaTType"):
        return math.nan
    if name == "DataFrame":
        return value.to_dict(orient="records")
    if name in ("Interval", "Period"):
        return str(value)
    return value.tolist() if callable(getattr(value, "tolist", None)) else value


def _from_torch(value: Any) -> Any:
    return value.detach().cpu().tolist() if hasattr(value, "detach") else value


def _from_tensorflow(value: Any) -> Any:
    return value.numpy() if hasattr(value, "numpy") else value


def _from_scipy(value: Any) -> Any:
    return value.toarray() if hasattr(value, "toarray") else value


def _from_polars(value: Any) -> Any:
    if hasattr(value, "to_dicts"):
        return value.to_dicts()
    return value.to_list() if hasattr(value, "to_list") else value


def _from_set(value: Any) -> List[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _root(value: Any) -> str:
    return str(getattr(type(value), "__module__", "")).partition(".")[0]


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


_CONVERSIONS: List[Tuple[Any, Callable[[Any], Any]]] = [
    (enum.Enum, lambda value: value.value),
    (bool, bool),
    (str, str),
    (int, int),
    (float, float),
    ((datetime.datetime, datetime.date, datetime.time), lambda value: value.isoformat()),
    (datetime.timedelta, lambda value: value.total_seconds()),
    ((uuid.UUID, pathlib.PurePath, decimal.Decimal), str),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode("ascii")),
    (Mapping, dict),
    ((list, tuple, collections.deque, range), list),
    ((set, frozenset), _from_set),
    ((type({}.keys()), type({}.values()), type({}.items())), list),
]

_BY_LIBRARY: Dict[str, Callable[[Any], Any]] = {
    "numpy": _from_numpy,
    "pandas": _from_pandas,
    "torch": _from_torch,
    "tensorflow": _from_tensorflow,
    "scipy": _from_scipy,
    "polars": _from_polars,
}
