"""Whether two answers say the same: JSON by its structure, numbers within a tolerance, everything else byte by byte."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

from tenfold_platform.gateway.calls import is_json, media_type

WHOLE = "$"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MAX_PATH = 500

Place = tuple["Place", str | int] | None  # where in a document: the place above, and a key or an index


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as its caller gets it.

    `json_length`: where binary tensors begin. None: there are none. `code`: of what a worker or the gateway refused or
    failed to do. None: it is a model's own answer.
    """

    status: int
    content_type: str
    payload: bytes
    json_length: int | None = None
    code: str | None = None


def first_difference(one: Said, other: Said, *, tolerance: float, ignored: Collection[str] = frozenset()) -> str | None:
    """The path of the first difference, such as `predictions[3].label`. None: there is none.

    `status`, `content-type` and `error.code` stand for themselves: the words of two errors may differ. `$` stands for
    an answer as a whole, `binary` for what follows the JSON of an Open Inference answer. Numbers are equal when they
    differ by at most `tolerance` times the larger one; true and false are no numbers. `ignored`: fields of the
    outermost object that may differ.
    """
    if one.status != other.status:
        return "status"
    if one.code is not None and other.code is not None:
        return None if one.code == other.code else "error.code"
    if one.payload == other.payload and one.json_length == other.json_length:
        return None
    if media_type(one.content_type) != media_type(other.content_type):
        return "content-type"
    if one.json_length is None and not is_json(one.content_type):
        return WHOLE
    heads = [said.payload[: said.json_length] for said in (one, other)]
    try:
        values = [orjson.loads(head) for head in heads]
    except orjson.JSONDecodeError:
        return None if one.payload == other.payload else WHOLE
    mine, theirs = (_without(value, ignored) for value in values)
    path = _first_in(mine, theirs, tolerance)
    if path is not None:
        return path
    tails = [said.payload[len(head) :] for said, head in zip((one, other), heads, strict=True)]
    return None if tails[0] == tails[1] else "binary"


def _without(value: Any, ignored: Collection[str]) -> Any:
    return {key: item for key, item in value.items() if key not in ignored} if isinstance(value, dict) else value


def _first_in(one: Any, other: Any, tolerance: float) -> str | None:
    """In the order of the document. Not by recursion: JSON may be nested deeper than Python calls."""
    waiting: list[tuple[Place, Any, Any]] = [(None, one, other)]
    while waiting:
        place, mine, theirs = waiting.pop()
        if isinstance(mine, dict) and isinstance(theirs, dict):
            if mine.keys() != theirs.keys():
                key = next(key for key in (*mine, *theirs) if key not in mine or key not in theirs)
                return _path((place, key))
            waiting += [((place, key), mine[key], theirs[key]) for key in reversed(mine)]
        elif isinstance(mine, list) and isinstance(theirs, list):
            if len(mine) != len(theirs):
                return _path((place, min(len(mine), len(theirs))))
            waiting += [((place, index), mine[index], theirs[index]) for index in reversed(range(len(mine)))]
        elif not _same(mine, theirs, tolerance):
            return _path(place)
    return None


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=tolerance)
    return type(one) is type(other) and one == other


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _path(place: Place) -> str:
    parts: list[str] = []
    while place is not None:
        place, key = place
        if isinstance(key, int):
            parts.append(f"[{key}]")
        else:
            parts.append(f".{key}" if _PLAIN.match(key) else f"[{orjson.dumps(key).decode()}]")
    return "".join(reversed(parts)).removeprefix(".")[:_MAX_PATH] or WHOLE
