"""When two answers say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenfold_platform.gateway.differences import Said, first_difference


def said(value: Any, status: int = 200, kind: str = "application/json") -> Said:
    return Said(status, kind, value if isinstance(value, bytes) else json.dumps(value).encode())


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (1, 1.0, None),
        (1e-30, 1.0000001e-30, None),
        (1.0, 1.00001, "$"),
        (0, 1e-12, "$"),
        (2**70, 2**70 + 1, None),
        (True, 1, "$"),
        (None, False, "$"),
        ("1", 1, "$"),
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, None),
        ({"predictions": [{"label": "a"}, {"label": "b"}]}, {"predictions": [{"label": "a"}, {"label": "c"}]},
         "predictions[1].label"),
        ([1, 2], [1, 2, 3], "[2]"),
        ([1, 2, 3], [1, 2], "[2]"),
        ({"a": 1}, {"a": 1, "b": 2}, "b"),
        ({"a": 1, "b": 2}, {"a": 1}, "b"),
        ({"a": {"b c": [[0]]}}, {"a": {"b c": [[1]]}}, 'a["b c"][0][0]'),
        ({"a": {}}, {"a": []}, "a"),
        ([1, {"x": 1}, {"y": 1}], [1, {"x": 2}, {"y": 2}], "[1].x"),
        (b"1 ", b"1", None),
        (b"no json", b"no json!", "$"),
    ],
)  # fmt: skip
def test_json_by_its_structure(one: Any, other: Any, path: str | None) -> None:
    assert first_difference(said(one), said(other), tolerance=1e-6) == path


def test_the_tolerance_is_a_share_of_the_larger_number() -> None:
    for tolerance, path in ((0.2, None), (0.1, None), (0.09, "$"), (0.0, "$")):
        assert first_difference(said(-9), said(-10), tolerance=tolerance) == path


def test_status_type_bytes_and_errors() -> None:
    assert first_difference(said(1), said(1, 201), tolerance=0) == "status"
    assert first_difference(said(1), said(2, kind="text/plain"), tolerance=0) == "content-type"
    assert first_difference(said(b"a", kind="image/png"), said(b"b", kind="image/png"), tolerance=0) == "$"
    assert first_difference(said(b"a", kind="image/png"), said(b"a", kind="image/png"), tolerance=0) is None
    errors = [
        Said(422, "application/json", words, code=code) for words, code in ((b"x", "a"), (b"y", "a"), (b"x", "b"))
    ]
    assert first_difference(errors[0], errors[1], tolerance=0) is None
    assert first_difference(errors[0], errors[2], tolerance=0) == "error.code"


def test_binary_tensors_behind_the_json() -> None:
    def answer(value: Any, tail: bytes) -> Said:
        head = json.dumps(value).encode()
        return Said(200, "application/octet-stream", head + tail, len(head))

    ignored = {"model_version"}
    one = answer({"model_version": "1", "id": "a"}, b"\x00\x01")
    assert (
        first_difference(one, answer({"model_version": "22", "id": "a"}, b"\x00\x01"), tolerance=0, ignored=ignored)
        is None
    )
    assert first_difference(one, answer({"model_version": "1", "id": "b"}, b"\x00\x01"), tolerance=0) == "id"
    assert first_difference(one, answer({"model_version": "1", "id": "a"}, b"\x00\x02"), tolerance=0) == "binary"


def test_nesting_deeper_than_python_calls() -> None:
    deep = [b"[" * 1000 + inner + b"]" * 1000 for inner in (b"1", b"1.0", b"2")]
    assert first_difference(said(deep[0]), said(deep[1]), tolerance=0) is None
    assert str(first_difference(said(deep[0]), said(deep[2]), tolerance=0)).startswith("[0][0]")
