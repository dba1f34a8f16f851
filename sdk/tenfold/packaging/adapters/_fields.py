"""Reads what callers send against what the model takes. Standard library only; Python 3.9 and later."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable
from typing import Any, NoReturn


class HTTPException(Exception):
    """What the worker answers with its own status: the caller's mistake, not the model's."""

    def __init__(self, detail: str, status_code: int = 400) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


def refuse(message: str) -> NoReturn:
    raise HTTPException(message)


EXPECTED = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "file": "a file {name, type, data: base64}",
    "image": "an image {name, type, data: base64}",
}


def read_value(value: Any, field: dict[str, Any], where: str) -> Any:
    """One value as Python has it, or a refusal that names the field. `where` is how a message calls it.

    Files are (name, media type, bytes).
    """
    kind = field["type"]
    if value is None:
        if field.get("nullable") or kind == "json":
            return None
        refuse(f"{where} is null, and must be {EXPECTED[kind]}.")
    value = _of_type(value, kind, where)
    choices = field.get("choices")
    if choices is not None and value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices[:20]) + (", ..." if len(choices) > 20 else "")
        refuse(f"{where} is {shown(value)}, and must be one of {allowed}.")
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and value < low:
        refuse(f"{where} is {shown(value)}, and must be at least {low:g}.")
    if high is not None and value > high:
        refuse(f"{where} is {shown(value)}, and must be at most {high:g}.")
    return value


def _of_type(value: Any, kind: str, where: str) -> Any:
    if kind == "json":
        return value
    if kind == "bool":
        if isinstance(value, bool):
            return value
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
    elif kind == "str":
        if isinstance(value, str):
            return value
    elif kind in ("file", "image"):
        return read_file(value, kind, where)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if kind == "float":
            return float(value)
        if isinstance(value, int):
            return value
        if math.isfinite(value) and value == int(value):
            return int(value)
    refuse(f"{where} is {shown(value)}, and must be {EXPECTED[kind]}.")


def read_file(value: Any, kind: str, where: str) -> tuple[str, str, bytes]:
    """A file as (name, media type, bytes): from {name, type, data}, base64 text, a data: address, or bytes."""
    name, media, data = "upload", "application/octet-stream", value
    if isinstance(value, dict):
        name, media, data = str(value.get("name") or name), str(value.get("type") or media), value.get("data")
    if isinstance(data, (bytes, bytearray)):
        return name, media, bytes(data)
    if not isinstance(data, str):
        refuse(f"{where} is {shown(value)}, and must be {EXPECTED[kind]}.")
    if data.startswith("data:"):
        head, _, data = data.partition(",")
        media = head[5:].partition(";")[0] or media
    try:
        return name, media, base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        refuse(f"{where} holds data that is not base64.")


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
