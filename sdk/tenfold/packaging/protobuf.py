"""Reads protocol buffers field by field, without the library: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterator

Value = int | memoryview
"""Numbers as they are written; texts, messages and packed numbers as their bytes, which are not copied."""


def fields(content: Value) -> Iterator[tuple[int, Value]]:
    """Numbers and values of a message. Raises ValueError for what is not one."""
    if isinstance(content, int):
        raise ValueError("a number where a message belongs")
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(content, place)
            yield number, value
            continue
        if kind in (1, 5):
            size = 8 if kind == 1 else 4
        elif kind == 2:
            size, place = _varint(content, place)
        else:
            raise ValueError(f"a field of the kind {kind}")
        if not number or size > len(content) - place:
            raise ValueError("it ends too early")
        yield number, content[place : place + size]
        place += size


def messages(content: Value, wanted: int) -> Iterator[memoryview]:
    """The messages (or bytes) of one repeated field."""
    for number, value in fields(content):
        if number == wanted and not isinstance(value, int):
            yield value


def text(content: Value, wanted: int) -> str:
    """The last text of a field, "" when there is none."""
    found = b""
    for value in messages(content, wanted):
        found = bytes(value)
    return found.decode("utf-8")


def integers(content: Value, wanted: int) -> Iterator[int]:
    """The signed numbers of a repeated field, packed or not."""
    for number, value in fields(content):
        if number != wanted:
            continue
        if isinstance(value, int):
            yield _signed(value)
            continue
        place = 0
        while place < len(value):
            one, place = _varint(value, place)
            yield _signed(one)


def integer(content: Value, wanted: int) -> int | None:
    """The last number of a field."""
    found: int | None = None
    for value in integers(content, wanted):
        found = value
    return found


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(content) or shift > 63:
            raise ValueError("it ends too early")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
