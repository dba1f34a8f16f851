"""Values and what may be asked of any of them: kind, truth, equality, order, text form, JSON text.

Numbers are IEEE doubles, as in JavaScript; here a whole number below 2**53 is an int. What is not finite is null.
Text is a sequence of code points. A lone surrogate is replaced by U+FFFD before text is worked on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cmp_to_key
from typing import NamedTuple

from tenfold_expressions.dates import Date
from tenfold_expressions.errors import ExpressionError
from tenfold_expressions.syntax import FORBIDDEN

type_name = {
    "null": "null", "boolean": "true or false", "number": "a number",
    "text": "text", "list": "a list", "object": "an object", "date": "a date",
}  # fmt: skip

SAFE = 2**53 - 1
MAX_TEXT = 1_000_000
MAX_ITEMS = 100_000
MAX_VALUES = 250_000
MAX_VALUE_DEPTH = 100
FUEL = 200_000
TEXT_STEP = 256
LIST_STEP = 8

_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_INDEX = re.compile("0|[1-9][0-9]{0,9}")

_KINDS: dict[type, str] = {
    type(None): "null", bool: "boolean", int: "number", float: "number",
    str: "text", list: "list", dict: "object", Date: "date",
}  # fmt: skip
_BASES: tuple[tuple[type, str], ...] = (
    (str, "text"), (int, "number"), (float, "number"), (dict, "object"), (list, "list"),
)  # fmt: skip
_ORDER = {"boolean": 0, "number": 1, "date": 2, "text": 3, "list": 4, "object": 5, "null": 6}


class Place(NamedTuple):
    """Where an operation is written, for its errors."""

    position: int
    called: str

    def error(self, message: str, hint: str = "") -> ExpressionError:
        return ExpressionError("bad_argument", f"`{self.called}` {message}", self.position, hint)


class Frame:
    """One evaluation: the scope, the arrow functions' parameters, and the fuel that is left."""

    __slots__ = ("fuel", "scope", "slots")

    def __init__(self, scope: Mapping[str, object], slots: int, fuel: int) -> None:
        self.scope = scope
        self.slots: list[object] = [None] * slots
        self.fuel = fuel

    def spend(self, steps: int) -> None:
        self.fuel -= steps
        if self.fuel < 0:
            raise ExpressionError(
                "fuel", "this expression takes too many steps", 0, "Work on fewer items, or use code."
            )


def kind(value: object) -> str:
    known = _KINDS.get(type(value))
    if known is not None:
        return "null" if type(value) is float and not math.isfinite(value) else known
    for base, name in _BASES:
        if isinstance(value, base):
            return name
    raise ExpressionError(
        "bad_value", f"a value of type {type(value).__name__} is not JSON", 0, "Give the expression JSON values only."
    )


def truthy(value: object) -> bool:
    """As in JavaScript: null, false, 0 and empty text are false; empty lists and objects are true."""
    if value is True or value is False:
        return value
    if isinstance(value, list | dict):
        return True
    return bool(value) and value == value  # noqa: PLR0124 (NaN is false)


def number(value: int | float) -> int | float | None:
    """The number in its one form: an int where it is whole and below 2**53; None where it is not finite."""
    if type(value) is int and -SAFE <= value <= SAFE:
        return value
    try:
        double = float(value)
    except OverflowError:
        return None
    if double.is_integer() and -SAFE <= double <= SAFE:
        return int(double)
    return double if math.isfinite(double) else None


def well_formed(text: str) -> str:
    if text.isascii() or not _SURROGATE.search(text):
        return text
    joined = _PAIR.sub(lambda pair: pair.group().encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _SURROGATE.sub("\ufffd", joined)


def own(value: object, key: str) -> object:
    """Read a key of an object, or the length of text and lists. What is not there is null."""
    if isinstance(value, dict):
        found = value.get(key)
        return found if type(found) is not float or math.isfinite(found) else None
    if key == "length":
        if isinstance(value, list):
            return len(value)
        if isinstance(value, str):
            return len(well_formed(value))
    return None


def at_index(value: object, index: object) -> object:
    """Read `value[index]`. Forbidden keys are an error, whatever the value is."""
    if isinstance(index, str):
        allow_key(index)
        return own(value, index)
    if kind(index) != "number":
        return None
    whole = number(index)  # type: ignore[arg-type]
    if isinstance(value, dict):
        return own(value, number_text(index))  # type: ignore[arg-type]
    if not isinstance(value, list | str) or type(whole) is not int or whole < 0:
        return None
    items = well_formed(value) if isinstance(value, str) else value
    found = items[whole] if whole < len(items) else None
    return found if type(found) is not float or math.isfinite(found) else None


def allow_key(key: str) -> str:
    if key in FORBIDDEN:
        raise ExpressionError("forbidden_name", f"`{key}` may not be used", 0, "Choose another key.")
    return key


def equal(frame: Frame, left: object, right: object, depth: int = 0) -> bool:
    """Strict and deep: unlike kinds are never equal; lists and objects are equal when all they hold is."""
    of = kind(left)
    if of != kind(right):
        return False
    if of == "number":
        return number(left) == number(right)  # type: ignore[arg-type]
    if of not in ("list", "object"):
        return of == "null" or left == right
    check_depth(depth)
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        frame.spend(len(left))
        return all(equal(frame, mine, theirs, depth + 1) for mine, theirs in zip(left, right, strict=True))
    return _equal_objects(frame, left, right, depth)  # type: ignore[arg-type]


def _equal_objects(frame: Frame, left: dict[str, object], right: dict[str, object], depth: int) -> bool:
    if len(left) != len(right):
        return False
    frame.spend(len(left))
    return all(key in right and equal(frame, item, right[key], depth + 1) for key, item in left.items())


def compare(frame: Frame, left: object, right: object, depth: int = 0) -> int:
    """The total order that sorting uses: false, true, numbers, dates, text, lists, objects, null."""
    of, other = kind(left), kind(right)
    if of != other:
        return _sign(_ORDER[of], _ORDER[other])
    match of:
        case "null":
            return 0
        case "number":
            return _sign(number(left), number(right))  # type: ignore[arg-type]
        case "boolean" | "date" | "text":
            return _sign(left, right)
    check_depth(depth)
    if isinstance(left, list) and isinstance(right, list):
        frame.spend(min(len(left), len(right)))
        for mine, theirs in zip(left, right, strict=False):
            if order := compare(frame, mine, theirs, depth + 1):
                return order
        return _sign(len(left), len(right))
    return _sign(to_json(frame, left), to_json(frame, right))


def _sign(left: object, right: object) -> int:
    return bool(left > right) - bool(left < right)  # type: ignore[operator]


def sorted_by(frame: Frame, items: list[object], keys: list[object]) -> list[object]:
    frame.spend(len(items) * max(1, len(items).bit_length()))

    def by_key(a: int, b: int) -> int:
        return compare(frame, keys[a], keys[b])

    return [items[index] for index in sorted(range(len(items)), key=cmp_to_key(by_key))]


def number_text(value: int | float) -> str:
    """Write a number as JavaScript does."""
    whole = number(value)
    if type(whole) is int:
        return str(whole)
    if whole is None:
        return ""
    sign, digits, point = decimal_digits(whole)
    if 0 < point <= 21:
        text = digits.ljust(point, "0")
        text = text[:point] + (f".{text[point:]}" if len(text) > point else "")
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        exponent = point - 1
        text = (
            digits[0]
            + (f".{digits[1:]}" if len(digits) > 1 else "")
            + f"e{'+' if exponent >= 0 else '-'}{abs(exponent)}"
        )
    return sign + text


def decimal_digits(value: int | float) -> tuple[str, str, int]:
    """The sign, the shortest digits that read back as this number, and where the point stands: 12.5 is '125', 2."""
    text = repr(float(value))
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return sign, digits.rstrip("0") or "0", point if digits.strip("0") else 1


def to_text(frame: Frame, value: object) -> str:
    """The text form: null is empty, dates are ISO, lists and objects are JSON."""
    match kind(value):
        case "text":
            return well_formed(value)  # type: ignore[arg-type]
        case "null":
            return ""
        case "boolean":
            return "true" if value else "false"
        case "number":
            return number_text(value)  # type: ignore[arg-type]
        case "date":
            assert isinstance(value, Date)
            return value.iso()
    return to_json(frame, value)


def to_json(frame: Frame, value: object) -> str:
    """Compact JSON, keys in JavaScript's order: whole numbers first, then as they were written."""
    parts: list[str] = []
    _write_json(frame, value, parts, 0)
    return check_text(frame, "".join(parts))


def _write_json(frame: Frame, value: object, parts: list[str], depth: int) -> None:
    check_depth(depth)
    if isinstance(value, list):
        frame.spend(len(value))
        for number_, item in enumerate(value):
            parts.append("," if number_ else "[")
            _write_json(frame, item, parts, depth + 1)
        parts.append("]" if value else "[]")
    elif isinstance(value, dict):
        frame.spend(len(value))
        for number_, key in enumerate(ordered_keys(value)):
            parts.append(("," if number_ else "{") + _quoted(frame, key) + ":")
            _write_json(frame, value[key], parts, depth + 1)
        parts.append("}" if value else "{}")
    elif isinstance(value, str):
        parts.append(_quoted(frame, value))
    elif isinstance(value, Date):
        parts.append(f'"{value.iso()}"')
    else:
        parts.append(to_text(frame, value) or "null")


_UNSAFE = re.compile(r'["\\\x00-\x1f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(frame: Frame, text: str) -> str:
    frame.spend(len(text) // TEXT_STEP)
    escaped = _UNSAFE.sub(lambda c: _SHORT.get(c.group()) or f"\\u{ord(c.group()):04x}", well_formed(text))
    return f'"{escaped}"'


def ordered_keys(value: dict[str, object]) -> list[str]:
    """Keys in the order that JavaScript keeps them in, so that both halves show the same."""
    indexes = [key for key in value if _INDEX.fullmatch(key) and int(key) < 2**32 - 1]
    if not indexes:
        return list(value)
    return sorted(indexes, key=int) + [key for key in value if key not in set(indexes)]


def check_text(frame: Frame, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise too_large(f"this text would have more than {MAX_TEXT} characters")
    frame.spend(len(text) // TEXT_STEP)
    return text


def check_items(frame: Frame, count: int) -> None:
    if count > MAX_ITEMS:
        raise too_large(f"this list would have more than {MAX_ITEMS} items")
    frame.spend(count // LIST_STEP)


def check_depth(depth: int) -> None:
    if depth > MAX_VALUE_DEPTH:
        raise too_large(f"this value is nested more than {MAX_VALUE_DEPTH} deep")


def too_large(message: str) -> ExpressionError:
    return ExpressionError("too_large", message, 0, "Work on less at once, or use code.")


def finished(value: object, *, computed: bool) -> object:
    """The value as it leaves: dates as ISO text; what was put together here within its size."""
    if isinstance(value, Date):
        return value.iso()
    return _Finish().copy(value, 0) if computed and isinstance(value, list | dict) else value


class _Finish:
    def __init__(self) -> None:
        self.left = MAX_VALUES

    def copy(self, value: object, depth: int) -> object:
        check_depth(depth)
        if isinstance(value, list):
            self.count(len(value))
            return [self.copy(item, depth + 1) for item in value]
        if isinstance(value, dict):
            self.count(len(value))
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        return value.iso() if isinstance(value, Date) else value

    def count(self, values: int) -> None:
        self.left -= values
        if self.left < 0:
            raise too_large(f"this value would hold more than {MAX_VALUES} values")
