"""msgpack with numpy arrays, checked against the msgpack package and against the form that msgpack-numpy writes."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import uuid
from dataclasses import dataclass
from typing import Any

import msgpack as reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tenfold_runtime import msgpack
from tenfold_runtime.faults import Fault

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=10) | st.integers(0, 9), inner),
    max_leaves=30,
)


@given(VALUES)
def test_it_writes_what_msgpack_reads_and_reads_what_it_writes(value: Any) -> None:
    assert reference.unpackb(msgpack.encode(value), strict_map_key=False) == value
    assert msgpack.decode(reference.packb(value)) == value


@given(st.binary(max_size=60))
def test_noise_is_the_callers_fault_or_a_value(noise: bytes) -> None:
    with contextlib.suppress(Fault):
        msgpack.decode(noise)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65535, 65536])
def test_every_length_has_its_form(size: int) -> None:
    for value in ("x" * size, b"x" * size, [0] * size, {str(number): 0 for number in range(size)}):
        assert reference.unpackb(msgpack.encode(value)) == value
        assert msgpack.decode(reference.packb(value)) == value


ARRAYS = [
    np.arange(6, dtype="float32").reshape(2, 3),
    np.arange(6).reshape(2, 3).T,
    np.zeros((0, 4)),
    np.array(3.5),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array(["a", "bc"]),
    np.array(["2024-01-02"], dtype="datetime64[D]"),
    np.arange(3, dtype=">i2"),
    np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")]),
]


def as_msgpack_numpy(array: np.ndarray) -> dict[bytes, Any]:
    """The map that msgpack-numpy 0.4.8 makes of an array."""
    is_record = array.dtype.kind == "V"
    return {
        b"nd": True,
        b"type": array.dtype.descr if is_record else array.dtype.str,
        b"kind": b"V" if is_record else b"",
        b"shape": array.shape,
        b"data": array.tobytes(),
    }


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_arrays_are_written_and_read_as_msgpack_numpy_does(array: np.ndarray) -> None:
    found = msgpack.decode(reference.packb({"x": as_msgpack_numpy(array)}))["x"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tolist() == array.tolist()
    written = reference.unpackb(msgpack.encode(array))
    expected = as_msgpack_numpy(array)
    assert written[b"data"] == expected[b"data"]
    assert tuple(written[b"shape"]) == array.shape
    assert written[b"kind"] == expected[b"kind"]
    again = msgpack.decode(msgpack.encode([array]))[0]
    assert again.dtype == array.dtype
    assert again.tolist() == array.tolist()


@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int64(-3), np.bool_(True), np.float64(math.pi), np.uint8(255)])
def test_scalars_keep_their_type(scalar: Any) -> None:
    written = reference.unpackb(msgpack.encode(scalar))
    assert written == {b"nd": False, b"type": scalar.dtype.str, b"data": scalar.tobytes()}
    found = msgpack.decode(msgpack.encode(scalar))
    assert (type(found), found) == (type(scalar), scalar)


MOMENT = datetime.datetime(2024, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
SPECIAL = [
    MOMENT,
    datetime.datetime(2024, 2, 3, 4, 5, 6, 7),  # noqa: DTZ001 (a naive one must stay naive)
    datetime.date(2024, 2, 3),
    datetime.time(4, 5, 6),
    datetime.timedelta(days=-1, seconds=3),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    1 + 2j,
]


@pytest.mark.parametrize("value", SPECIAL, ids=repr)
def test_dates_decimals_and_ids_travel_as_in_truss(value: Any) -> None:
    found = msgpack.decode(msgpack.encode({"x": [value]}))
    assert found == {"x": [value]}
    assert type(found["x"][0]) is type(value)


def test_the_marks_are_those_of_truss() -> None:
    assert reference.unpackb(msgpack.encode(MOMENT)) == {b"__dt_datetime_iso__": True, b"data": "2024-02-03T04:05:06Z"}
    assert reference.unpackb(msgpack.encode(decimal.Decimal("1"))) == {b"__decimal__": True, b"data": "1"}
    assert reference.unpackb(msgpack.encode(datetime.timedelta(1, 2, 3))) == {
        b"__dt_timedelta__": True,
        b"data": [1, 2, 3],
    }


def test_a_map_that_only_looks_like_an_array_is_a_map() -> None:
    assert msgpack.decode(reference.packb({b"nd": True, b"data": b""})) == {b"nd": True, b"data": b""}


def test_models_and_dataclasses_are_maps() -> None:
    class Out(BaseModel):
        when: datetime.date
        n: int

    @dataclass
    class Box:
        x: Any

    assert msgpack.decode(msgpack.encode(Out(when=datetime.date(2024, 1, 1), n=1))) == {
        "when": datetime.date(2024, 1, 1),
        "n": 1,
    }
    assert msgpack.decode(msgpack.encode(Box({1, 2}))) == {"x": [1, 2]}


REFUSED = {
    "array of objects": np.array([object()]),
    "huge integer": 2**64,
    "an object": object(),
    "itself": None,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_carry_is_named(what: str) -> None:
    value = REFUSED[what]
    if what == "itself":
        value = []
        value.append(value)
    with pytest.raises(Fault) as caught:
        msgpack.encode({"deep": [value]})
    assert caught.value.code == "bad_output"
    assert "deep[0]" in caught.value.message


PICKLED = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": (1,), b"data": b"cos\nsystem\n(S'true'\ntR."}


@pytest.mark.parametrize(
    "body",
    [
        reference.packb(PICKLED),
        reference.packb({**PICKLED, b"kind": b""}),
        reference.packb({b"nd": True, b"type": "<f8", b"kind": b"", b"shape": (1 << 40,), b"data": b"1234"}),
        reference.packb({b"nd": True, b"type": "nonsense", b"kind": b"", b"shape": (1,), b"data": b"1"}),
        reference.packb({b"nd": True, b"type": 5, b"data": b"", b"shape": b"x"}),
        reference.packb({b"nd": True, b"type": "f4,(", b"kind": b"", b"shape": (1,), b"data": b"1"}),
        reference.packb({b"__decimal__": True, b"data": "x"}),
        reference.packb({b"__dt_datetime_iso__": True, b"data": 5}),
        reference.packb({b"__uuid__": True, b"data": 5}),
        reference.packb({b"__dt_timedelta__": True, b"data": [1]}),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 300,
        b"\xc1",
        b"\x01\x02",
        b"\x81\x90\x01",
        b"",
    ],
)
def test_bad_bodies_are_refused_and_never_unpickled(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        msgpack.decode(body)
    assert (caught.value.code, caught.value.status) == ("bad_input", 400)


def test_a_model_takes_and_gives_arrays(workers) -> None:
    source = """
        import numpy as np
        class Model:
            def predict(self, inputs):
                if inputs == "raw": return b"as it is"
                return {"doubled": inputs["x"] * 2, "dtype": str(inputs["x"].dtype)}
    """
    client = workers.truss(source).ready()
    body = msgpack.encode({"x": np.arange(4, dtype="float32")})
    binary = {"content_type": "application/msgpack", "accept": "application/msgpack"}
    answer = client.request("predict", body, **binary)
    assert answer.header["content_type"] == "application/msgpack"
    found = msgpack.decode(answer.payload)
    assert found["dtype"] == "float32"
    assert found["doubled"].tolist() == [0, 2, 4, 6]
    assert client.request("predict", body, content_type="application/msgpack").json()["doubled"] == [0, 2, 4, 6]
    assert client.request("predict", msgpack.encode("raw"), **binary).payload == b"as it is"
    refused = client.request("predict", b"\xc1", **binary).header
    assert (refused["status"], refused["code"]) == (400, "bad_input")


def test_an_environment_without_numpy_says_so(workers) -> None:
    source = "class Model:\n    def predict(self, x): return x"
    client = workers.truss(source, files={"packages/numpy.py": "raise ImportError"}).ready()
    assert client.request("predict", msgpack.encode([1]), content_type="application/msgpack").json() == [1]
    refused = client.request("predict", msgpack.encode(np.ones(2)), content_type="application/msgpack").header
    assert refused["code"] == "bad_input"
    assert "has no numpy" in refused["message"]
