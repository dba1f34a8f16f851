"""JSON in and out, with orjson and without it: the same answers, the same refusals."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections import OrderedDict, deque, namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_runtime import encoding
from tenfold_runtime.encoding import decode_body, decode_json, encode_json, plain
from tenfold_runtime.faults import Fault


@pytest.fixture(params=["orjson", "json"], autouse=True)
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoding.orjson is not None
    if request.param == "json":
        monkeypatch.setattr(encoding, "orjson", None)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Item(pydantic.BaseModel):
    name: str
    at: datetime.date


Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Box:
    width: float
    tags: set[str]


CASES = {
    "none": (None, None),
    "nested": ({"a": [1, 2.5, "x", True, None]}, {"a": [1, 2.5, "x", True, None]}),
    "huge integer": (2**80, 2**80),
    "tuple": ((1, (2,)), [1, [2]]),
    "named tuple": (Point(1, 2), [1, 2]),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "frozenset of mixed": (frozenset([1]), [1]),
    "deque": (deque([1, 2]), [1, 2]),
    "range": (range(3), [0, 1, 2]),
    "dict views": ([{"a": 1}.keys(), {"a": 1}.values()], [["a"], [1]]),
    "ordered dict": (OrderedDict(a=1), {"a": 1}),
    "enum": ([Colour.RED, Level.LOW], ["red", 1]),
    "str subclass": (Text("t"), "t"),
    "datetime": (datetime.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),  # noqa: DTZ001
    "aware datetime": (datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), "2024-01-02T00:00:00+00:00"),
    "date": (datetime.date(2024, 1, 2), "2024-01-02"),
    "time": (datetime.time(1, 2), "01:02:00"),
    "timedelta": (datetime.timedelta(minutes=1), 60.0),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "path": (pathlib.PurePosixPath("/a/b"), "/a/b"),
    "bytes": ([b"\x00\xff", bytearray(b"a"), memoryview(b"a")], ["AP8=", "YQ==", "YQ=="]),
    "dataclass": (Box(1.5, {"b", "a"}), {"width": 1.5, "tags": ["a", "b"]}),
    "pydantic": (Item(name="n", at=datetime.date(2024, 1, 2)), {"name": "n", "at": "2024-01-02"}),
    "pydantic inside": ([Item(name="n", at=datetime.date(2024, 1, 2))], [{"name": "n", "at": "2024-01-02"}]),
    "keys": ({2: "a", 2.5: "b", None: "c", True: "d"}, {"2": "a", "2.5": "b", "null": "c", "true": "d"}),
    "enum keys": ({Colour.RED: 1, Level.LOW: 2}, {"red": 1, "1": 2}),
    "numpy scalars": ([np.float32(0.5), np.int64(3), np.bool_(True), np.str_("s")], [0.5, 3, True, "s"]),
    "numpy array": (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
    "numpy fortran order": (np.asfortranarray(np.arange(4).reshape(2, 2)), [[0, 1], [2, 3]]),
    "numpy big endian": (np.array([1, 2], dtype=">i4"), [1, 2]),
    "numpy float16": (np.array([0.5], dtype=np.float16), [0.5]),
    "numpy zero-dimensional": (np.array(5), 5),
    "numpy strings": (np.array(["a", "b"]), ["a", "b"]),
    "numpy objects": (np.array([{"a": 1}, None], dtype=object), [{"a": 1}, None]),
    "numpy inside": ({"p": {"q": np.array([True, False])}}, {"p": {"q": [True, False]}}),
    "numpy dates": (np.array(["2024-01-02", "NaT"], dtype="datetime64[D]"), ["2024-01-02", None]),
    "numpy durations": (np.array([1500], dtype="timedelta64[ms]"), [1.5]),
    "numpy keys": ({np.int64(1): "a", np.str_("b"): "c"}, {"1": "a", "b": "c"}),
    "series": (pd.Series([1, 2]), [1, 2]),
    "frame": (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    "index": (pd.Index(["a", "b"]), ["a", "b"]),
    "timestamp": (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
    "categorical": (pd.Categorical(["a", "b"]), ["a", "b"]),
    "lone surrogate": ("a\ud800", "a\ud800"),
}


@pytest.mark.parametrize("name", CASES)
def test_values_of_many_kinds_become_json(name: str) -> None:
    value, expected = CASES[name]
    body, warnings = encode_json(value)
    assert json.loads(body) == expected
    assert warnings == []
    assert plain(value) == expected


@pytest.mark.parametrize(
    ("value", "expected", "places"),
    [
        (math.nan, None, "the result"),
        ({"a": [1.0, -math.inf]}, {"a": [1.0, None]}, "a[1]"),
        (np.array([1.0, math.nan]), [1.0, None], "[1]"),
        (pd.DataFrame({"a": [math.nan]}), [{"a": None}], "[0].a"),
        (pd.Timestamp("NaT"), None, "the result"),
        ({"x": np.float64("nan"), "y": None}, {"x": None, "y": None}, "x"),
    ],
    ids=["float", "nested", "array", "frame", "NaT", "beside an honest null"],
)
def test_nan_and_infinity_become_null_with_a_warning(value: Any, expected: Any, places: str) -> None:
    body, warnings = encode_json(value)
    assert json.loads(body) == expected
    assert warnings == [f"JSON has no NaN or Infinity; null was written at {places}"]


def test_an_honest_null_warns_of_nothing() -> None:
    assert encode_json({"a": None, "b": "null"}) == (b'{"a":null,"b":"null"}', [])


def test_a_warning_names_ten_places_and_counts_the_rest() -> None:
    _, warnings = encode_json([math.nan] * 12)
    assert warnings[0].endswith("[8], [9] and 2 more")


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1, Opaque()]}, r"holds a .*Opaque at a\[1\]"),
        (Opaque, "holds a type"),
        (1 + 2j, "holds a complex"),
        (np.array([1 + 2j]), "numpy.ndarray"),
        ({Opaque(): 1}, "Opaque as a key"),
        (lambda: 1, "holds a function"),
    ],
    ids=["nested object", "class", "complex", "complex array", "key", "function"],
)
def test_what_cannot_be_written_is_named_with_its_place(value: Any, says: str) -> None:
    with pytest.raises(Fault, match=says) as caught:
        encode_json(value)
    assert caught.value.code == "bad_output"
    assert caught.value.source == "user"


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append({"again": value})
    with pytest.raises(Fault, match="contains itself"):
        encode_json(value)


def test_an_object_that_raises_while_it_is_read_is_reported_with_its_own_words() -> None:
    class Bad:
        def tolist(self) -> Any:
            raise ZeroDivisionError("mine")

    with pytest.raises(Fault, match="ZeroDivisionError: mine") as caught:
        encode_json({"a": Bad()})
    assert caught.value.code == "bad_output"
    assert "tolist" in (caught.value.traceback or "")


@pytest.mark.parametrize(
    ("payload", "details"),
    [
        (b'{"a": 1,\n "b": }', {"line": 2, "column": 7}),
        (b"{'a': 1}", {"line": 1, "column": 2}),
        (b"[1, 2", None),
        (b"NaN", None),
        (b"\xff\xfe", None),
        (b"", None),
        (b"   ", None),
        (b"[" * 100_000, None),
    ],
    ids=["second line", "single quotes", "cut", "NaN", "not utf-8", "empty", "blank", "deep"],
)
def test_what_is_not_json_is_the_callers_fault_with_line_and_column(payload: bytes, details: Any) -> None:
    with pytest.raises(Fault) as caught:
        decode_json(payload)
    assert (caught.value.code, caught.value.status, caught.value.source) == ("bad_input", 400, "input")
    if details is not None:
        assert caught.value.details["line"] == details["line"]
        assert abs(caught.value.details["column"] - details["column"]) <= 1


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, "text", 1.5])
def test_any_json_value_is_legal_input(value: Any) -> None:
    assert decode_body(json.dumps(value).encode(), "application/json") == value


@pytest.mark.parametrize("content_type", ["image/png", "Application/Octet-Stream", "audio/wav"])
def test_binary_bodies_arrive_as_bytes(content_type: str) -> None:
    assert decode_body(b"\x00\x01", content_type) == b"\x00\x01"


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(plain_values)
def test_what_is_json_already_comes_out_unchanged(value: Any) -> None:
    body, warnings = encode_json(value)
    assert json.loads(body) == value
    assert warnings == []


def test_a_body_without_memory_for_it_is_that_callers_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: Any, **__: Any) -> Any:
        raise MemoryError

    if encoding.orjson is not None:
        monkeypatch.setattr(encoding, "orjson", SimpleNamespace(loads=loads))
    monkeypatch.setattr(json, "loads", loads)
    with pytest.raises(Fault) as refused:
        decode_json(b"[1]")
    assert (refused.value.status, refused.value.code, refused.value.source) == (413, "too_large", "input")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_numbers_of_an_array_are_told_exactly_whoever_writes_them(kind: str) -> None:
    array = np.array([[0.1, 1 / 3], [2.5, 1e-3]], kind)
    assert json.loads(encode_json(array)[0]) == array.tolist()
