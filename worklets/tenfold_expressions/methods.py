"""What each method and function does. Null in, null out: a method with a missing argument gives null.

All take the frame and their place, whether they need them or not, so that one table can hold them.
"""

# ruff: noqa: ARG001, ARG005

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tenfold_expressions import dates, decimals
from tenfold_expressions.dates import Date
from tenfold_expressions.decimals import SPACE
from tenfold_expressions.values import (
    MAX_ITEMS,
    MAX_TEXT,
    SAFE,
    Frame,
    Place,
    allow_key,
    check_depth,
    check_items,
    check_text,
    compare,
    equal,
    kind,
    number,
    number_text,
    ordered_keys,
    sorted_by,
    to_json,
    to_text,
    too_large,
    truthy,
    type_name,
    well_formed,
)


@dataclass(frozen=True, slots=True)
class Function:
    """An arrow function that was passed as an argument."""

    call: Callable[..., object]
    parameters: int


Implementation = Callable[[Frame, Place, object, Sequence[object]], object]
Items = list[object]


def _typed(run: Callable[..., object], *wanted: str) -> Implementation:
    """Check the arguments' kinds; any null among them gives null."""

    def method(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> object:
        checked = []
        for argument, want in zip(arguments, wanted, strict=False):
            value = _argument(place, argument, want)
            if value is None:
                return None
            checked.append(value)
        return run(frame, place, receiver, *checked)

    return method


def _argument(place: Place, value: object, want: str) -> object:
    of = kind(value)
    if of == "null":
        return None
    if want == "whole":
        whole = number(value) if of == "number" else None  # type: ignore[arg-type]
        if type(whole) is not int:
            raise place.error(f"needs a whole number, not {_shown(of, whole)}")
        return whole
    if of != want:
        hint = {"text": "Use text().", "date": "Use date().", "number": "Use num()."}.get(want, "")
        raise place.error(f"needs {type_name[want]}, not {type_name[of]}", hint)
    return well_formed(value) if of == "text" else number(value) if of == "number" else value  # type: ignore[arg-type]


def _shown(of: str, value: int | float | None) -> str:
    return type_name[of] if value is None else number_text(value)


# Text


def _text(run: Callable[..., object], *wanted: str) -> Implementation:
    typed = _typed(run, *wanted)

    def method(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> object:
        assert isinstance(receiver, str)
        frame.spend(len(receiver) // 256)
        return typed(frame, place, well_formed(receiver), arguments)

    return method


def _split(frame: Frame, place: Place, text: str, separator: str) -> Items:
    count = text.count(separator) + 1 if separator else len(text)
    check_items(frame, count)
    return list(text.split(separator)) if separator else list(text)


def _replace(frame: Frame, place: Place, text: str, old: str, new: str) -> str:
    return check_text(frame, text.replace(old, new, 1))


def _replace_all(frame: Frame, place: Place, text: str, old: str, new: str) -> str:
    count = text.count(old)
    if len(text) + count * (len(new) - len(old)) > MAX_TEXT:
        raise too_large(f"this text would have more than {MAX_TEXT} characters")
    return check_text(frame, text.replace(old, new))


def _pad(text: str, length: int, fill: str) -> str:
    missing = length - len(text)
    if missing <= 0 or not fill:
        return ""
    if length > MAX_TEXT:
        raise too_large(f"this text would have more than {MAX_TEXT} characters")
    return (fill * (missing // len(fill) + 1))[:missing]


def _pad_start(frame: Frame, place: Place, text: str, length: int, fill: str = " ") -> str:
    return check_text(frame, _pad(text, length, fill) + text)


def _pad_end(frame: Frame, place: Place, text: str, length: int, fill: str = " ") -> str:
    return check_text(frame, text + _pad(text, length, fill))


def _repeat(frame: Frame, place: Place, text: str, count: int) -> str:
    if count < 0:
        raise place.error("needs a count of 0 or more")
    if len(text) * count > MAX_TEXT:
        raise too_large(f"this text would have more than {MAX_TEXT} characters")
    return check_text(frame, text * count)


def _concat_text(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> str:
    text = to_text(frame, receiver)
    for argument in arguments:
        text = check_text(frame, text + to_text(frame, argument))
    return text


def _slice(frame: Frame, place: Place, items: str | Items, start: int = 0, end: int | None = None) -> str | Items:
    return items[start:end]


def _at(frame: Frame, place: Place, items: str | Items, index: int) -> object:
    return items[index] if -len(items) <= index < len(items) else None


def _text_of(frame: Frame, place: Place, value: object) -> str:
    return to_text(frame, value)


# Lists


def _list(run: Callable[..., object], *wanted: str) -> Implementation:
    typed = _typed(run, *wanted)

    def method(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> object:
        assert isinstance(receiver, list)
        frame.spend(len(receiver) // 8)
        return typed(frame, place, receiver, arguments)

    return method


def _each(run: Callable[[Frame, Items, Callable[..., object]], object]) -> Implementation:
    def method(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> object:
        assert isinstance(receiver, list)
        function = arguments[0]
        assert isinstance(function, Function)
        return run(frame, receiver, function.call)

    return method


def _map(frame: Frame, items: Items, call: Callable[..., object]) -> Items:
    check_items(frame, len(items))
    return [call(item, index) for index, item in enumerate(items)]


def _filter(frame: Frame, items: Items, call: Callable[..., object]) -> Items:
    return [item for index, item in enumerate(items) if truthy(call(item, index))]


def _find(frame: Frame, items: Items, call: Callable[..., object]) -> object:
    return next((item for index, item in enumerate(items) if truthy(call(item, index))), None)


def _find_index(frame: Frame, items: Items, call: Callable[..., object]) -> int:
    return next((index for index, item in enumerate(items) if truthy(call(item, index))), -1)


def _some(frame: Frame, items: Items, call: Callable[..., object]) -> bool:
    return any(truthy(call(item, index)) for index, item in enumerate(items))


def _every(frame: Frame, items: Items, call: Callable[..., object]) -> bool:
    return all(truthy(call(item, index)) for index, item in enumerate(items))


def _flat_map(frame: Frame, items: Items, call: Callable[..., object]) -> Items:
    result: Items = []
    for index, item in enumerate(items):
        part = call(item, index)
        result.extend(part if isinstance(part, list) else [part])
        check_items(frame, len(result) if len(result) > MAX_ITEMS else len(part) if isinstance(part, list) else 1)
    return result


def _reduce(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> object:
    assert isinstance(receiver, list)
    function, *first = arguments
    assert isinstance(function, Function)
    if not first and not receiver:
        return None
    start = 0 if first else 1
    total = first[0] if first else receiver[0]
    for index in range(start, len(receiver)):
        total = function.call(total, receiver[index], index)
    return total


def _sort(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> Items:
    assert isinstance(receiver, list)
    if not arguments:
        return sorted_by(frame, receiver, receiver)
    function = arguments[0]
    assert isinstance(function, Function)
    if function.parameters < 2:
        return sorted_by(frame, receiver, [function.call(item) for item in receiver])

    def after(left: object, right: object) -> bool:
        order = function.call(left, right)
        of = kind(order)
        if of not in ("number", "null"):
            raise place.error(
                f"needs a function that gives a number, not {type_name[of]}", "Write (a, b) => a - b, or item => key."
            )
        return of == "number" and order > 0  # type: ignore[operator]

    frame.spend(len(receiver))
    return _merge_sort(receiver, after)


def _merge_sort(items: Items, after: Callable[[object, object], bool]) -> Items:
    """Our own, so that both halves ask the same questions in the same order, even of a function that lies."""
    if len(items) < 2:
        return list(items)
    middle = len(items) // 2
    left, right = _merge_sort(items[:middle], after), _merge_sort(items[middle:], after)
    merged: Items = []
    i = j = 0
    while i < len(left) and j < len(right):
        if after(left[i], right[j]):
            merged.append(right[j])
            j += 1
        else:
            merged.append(left[i])
            i += 1
    return merged + left[i:] + right[j:]


def _concat_list(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> Items:
    assert isinstance(receiver, list)
    result = list(receiver)
    for argument in arguments:
        result.extend(argument if isinstance(argument, list) else [argument])
        check_items(frame, len(result))
    return result


def _includes(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> bool:
    return _position(frame, receiver, arguments[0]) >= 0


def _index_of(frame: Frame, place: Place, receiver: object, arguments: Sequence[object]) -> int:
    return _position(frame, receiver, arguments[0])


def _position(frame: Frame, receiver: object, wanted: object) -> int:
    assert isinstance(receiver, list)
    frame.spend(len(receiver))
    return next((index for index, item in enumerate(receiver) if equal(frame, item, wanted)), -1)


def _join(frame: Frame, place: Place, items: Items, separator: str = ",") -> str:
    frame.spend(len(items))
    texts = []
    length = len(separator) * max(len(items) - 1, 0)
    for item in items:
        texts.append(to_text(frame, item))
        length += len(texts[-1])
        if length > MAX_TEXT:
            raise too_large(f"this text would have more than {MAX_TEXT} characters")
    return check_text(frame, separator.join(texts))


def _flat(frame: Frame, place: Place, items: Items, depth: int = 1) -> Items:
    result: Items = []
    _flatten(frame, items, max(min(depth, 100), 0), result)
    return result


def _flatten(frame: Frame, items: Items, depth: int, result: Items) -> None:
    frame.spend(len(items))
    for item in items:
        if depth and isinstance(item, list):
            _flatten(frame, item, depth - 1, result)
        else:
            result.append(item)
    if len(result) > MAX_ITEMS:
        check_items(frame, len(result))


def _reverse(frame: Frame, place: Place, items: Items) -> Items:
    return items[::-1]


# Numbers


def _to_fixed(frame: Frame, place: Place, value: int | float, places: int = 0) -> str:
    return decimals.fixed(number(value) or 0, _places(place, places))


def _places(place: Place, places: int) -> int:
    if not 0 <= places <= decimals.MAX_PLACES:
        raise place.error(f"takes 0 to {decimals.MAX_PLACES} digits, not {places}")
    return places


# Dates


def _add(frame: Frame, place: Place, date: Date, count: int | float, unit: str) -> Date | None:
    return date.add(count, _unit(place, unit, (*dates.UNITS, *dates.CALENDAR_UNITS)))


def _diff(frame: Frame, place: Place, date: Date, other: Date, unit: str) -> int | float | None:
    return number((date.milliseconds - other.milliseconds) / dates.UNITS[_unit(place, unit, tuple(dates.UNITS))])


def _start_of(frame: Frame, place: Place, date: Date, unit: str) -> Date:
    if unit not in dates.STARTS:
        raise place.error(f"does not know the unit '{unit}'", f"Use one of {', '.join(dates.STARTS)}.")
    return date.start_of(unit)


def _unit(place: Place, unit: str, known: Sequence[str]) -> str:
    for name in (unit, f"{unit}s"):
        if name in known:
            return name
    raise place.error(f"does not know the unit '{unit}'", f"Use one of {', '.join(known)}.")


def _field(index: int) -> Implementation:
    return _typed(lambda frame, place, date: date.fields[index])


METHODS: Mapping[str, Mapping[str, Implementation]] = {
    "text": {
        "trim": _text(lambda frame, place, text: text.strip(SPACE)),
        "toUpperCase": _text(lambda frame, place, text: check_text(frame, text.upper())),
        "toLowerCase": _text(lambda frame, place, text: check_text(frame, text.lower())),
        "startsWith": _text(lambda frame, place, text, part: text.startswith(part), "text"),
        "endsWith": _text(lambda frame, place, text, part: text.endswith(part), "text"),
        "includes": _text(lambda frame, place, text, part: part in text, "text"),
        "indexOf": _text(lambda frame, place, text, part: text.find(part), "text"),
        "split": _text(_split, "text"),
        "replace": _text(_replace, "text", "text"),
        "replaceAll": _text(_replace_all, "text", "text"),
        "padStart": _text(_pad_start, "whole", "text"),
        "padEnd": _text(_pad_end, "whole", "text"),
        "repeat": _text(_repeat, "whole"),
        "slice": _text(_slice, "whole", "whole"),
        "at": _text(_at, "whole"),
        "charAt": _text(lambda frame, place, text, index: text[index] if 0 <= index < len(text) else "", "whole"),
        "concat": _concat_text,
        "toString": _text(_text_of),
    },
    "list": {
        "map": _each(_map),
        "filter": _each(_filter),
        "find": _each(_find),
        "findIndex": _each(_find_index),
        "some": _each(_some),
        "every": _each(_every),
        "flatMap": _each(_flat_map),
        "reduce": _reduce,
        "sort": _sort,
        "reverse": _list(_reverse),
        "slice": _list(_slice, "whole", "whole"),
        "at": _list(_at, "whole"),
        "concat": _concat_list,
        "includes": _includes,
        "indexOf": _index_of,
        "join": _list(_join, "text"),
        "flat": _list(_flat, "whole"),
    },
    "number": {
        "toFixed": _typed(_to_fixed, "whole"),
        "toString": _typed(_text_of),
    },
    "boolean": {"toString": _typed(_text_of)},
    "date": {
        "year": _field(0),
        "month": _field(1),
        "day": _field(2),
        "hour": _field(3),
        "minute": _field(4),
        "second": _field(5),
        "weekday": _typed(lambda frame, place, date: date.weekday()),
        "iso": _typed(_text_of),
        "toString": _typed(_text_of),
        "add": _typed(_add, "number", "text"),
        "diff": _typed(_diff, "date", "text"),
        "startOf": _typed(_start_of, "text"),
    },
}


# Functions


def _len(frame: Frame, place: Place, value: object) -> int:
    match value:
        case str():
            frame.spend(len(value) // 256)
            return len(well_formed(value))
        case list() | dict():
            return len(value)
        case None:
            return 0
    raise place.error(f"needs text, a list or an object, not {type_name[kind(value)]}")


def _sum(frame: Frame, place: Place, value: object) -> object:
    items = _argument(place, value, "list")
    if items is None:
        return None
    assert isinstance(items, list)
    frame.spend(len(items))
    total: int | float | None = 0
    for item in items:
        part = _argument(place, item, "number")
        if part is not None and total is not None:
            assert isinstance(part, int | float)
            total = number(total + part)
    return total


def _extreme(wanted: int) -> Callable[..., object]:
    def pick(frame: Frame, place: Place, *values: object) -> object:
        items = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        frame.spend(len(items))
        best: object = None
        for item in items:
            of = kind(item)
            if of == "null":
                continue
            if of not in ("number", "text", "date"):
                raise place.error(f"needs numbers, texts or dates, not {type_name[of]}")
            if best is not None and kind(best) != of:
                raise place.error(f"cannot compare {type_name[kind(best)]} with {type_name[of]}")
            if best is None or compare(frame, item, best) == wanted:
                best = item
        return best

    return pick


def _round(frame: Frame, place: Place, value: object, places: object = 0) -> object:
    checked, digits = _argument(place, value, "number"), _argument(place, places, "whole")
    if checked is None or digits is None:
        return None
    assert isinstance(digits, int)
    return decimals.rounded(checked, _places(place, digits))  # type: ignore[arg-type]


def _on_number(run: Callable[[int | float], int | float]) -> Callable[..., object]:
    def function(frame: Frame, place: Place, value: object) -> object:
        checked = _argument(place, value, "number")
        return None if checked is None else number(run(checked))  # type: ignore[arg-type]

    return function


def _num(frame: Frame, place: Place, value: object) -> object:
    match kind(value):
        case "number":
            return number(value)  # type: ignore[arg-type]
        case "boolean":
            return 1 if value else 0
        case "text":
            assert isinstance(value, str)
            frame.spend(len(value) // 256)
            return decimals.read_number(well_formed(value))
        case "date":
            assert isinstance(value, Date)
            return value.milliseconds
    return None


def _date(frame: Frame, place: Place, value: object) -> object:
    match kind(value):
        case "date":
            return value
        case "text":
            return dates.read(str(value).strip(SPACE))
        case "number":
            whole = number(value)  # type: ignore[arg-type]
            return dates.make(math.trunc(whole)) if whole is not None else None
    return None


def _fmt(frame: Frame, place: Place, value: object, pattern: object) -> object:
    written = _argument(place, pattern, "text")
    if written is None or kind(value) == "null":
        return None if written is None else ""
    assert isinstance(written, str)
    frame.spend(len(written) // 64)
    if isinstance(value, Date):
        return check_text(frame, value.format(written))
    text = decimals.formatted(_argument(place, value, "number"), written)  # type: ignore[arg-type]
    if text is None:
        raise place.error(
            f"does not know the pattern '{written[:40]}'", "Write '0.00', '#,##0', '0.0%' or 'YYYY-MM-DD'."
        )
    return check_text(frame, text)


def _keys(frame: Frame, place: Place, value: object) -> Items | None:
    found = _argument(place, value, "object")
    if not isinstance(found, dict):
        return []
    check_items(frame, len(found))
    return list(ordered_keys(found))


def _values(frame: Frame, place: Place, value: object) -> Items | None:
    found = _argument(place, value, "object")
    if not isinstance(found, dict):
        return []
    check_items(frame, len(found))
    return [found[key] for key in ordered_keys(found)]


def _group_by(frame: Frame, place: Place, value: object, function: object) -> object:
    items = _argument(place, value, "list")
    assert isinstance(function, Function)
    if not isinstance(items, list):
        return None
    groups: dict[str, Items] = {}
    for index, item in enumerate(items):
        key = function.call(item, index)
        of = kind(key)
        if of not in ("text", "number", "boolean", "null"):
            raise place.error(f"needs a key that is text or a number, not {type_name[of]}")
        groups.setdefault(allow_key(to_text(frame, key)), []).append(item)
    return groups


def _unique(frame: Frame, place: Place, value: object, function: object = None) -> object:
    items = _argument(place, value, "list")
    if not isinstance(items, list):
        return None
    frame.spend(len(items))
    seen: dict[str, object] = {}
    for index, item in enumerate(items):
        key = function.call(item, index) if isinstance(function, Function) else item
        seen.setdefault(_identity(frame, key, 0), item)
    return list(seen.values())


def _identity(frame: Frame, value: object, depth: int) -> str:
    """A text that two values share exactly when they are equal."""
    check_depth(depth)
    match kind(value):
        case "list":
            assert isinstance(value, list)
            frame.spend(len(value))
            return f"[{','.join(_identity(frame, item, depth + 1) for item in value)}]"
        case "object":
            assert isinstance(value, dict)
            frame.spend(len(value))
            keys = sorted(value)
            return f"{{{','.join(f'{key!r}:{_identity(frame, value[key], depth + 1)}' for key in keys)}}}"
        case "text":
            frame.spend(len(str(value)) // 256)
            return repr(value)
        case "date":
            assert isinstance(value, Date)
            return f"@{value.milliseconds}"
    return to_text(frame, value) or "null"


def _range(frame: Frame, place: Place, *limits: object) -> object:
    checked = [_argument(place, limit, "whole") for limit in limits]
    if None in checked:
        return None
    whole = [limit for limit in checked if isinstance(limit, int)]
    start, end = (0, whole[0]) if len(whole) == 1 else (whole[0], whole[1])
    step = whole[2] if len(whole) == 3 else 1
    if step == 0:
        raise place.error("needs a step that is not 0")
    numbers = range(start, end, step)
    if max(abs(start), abs(end)) <= SAFE:
        check_items(frame, len(numbers))
    return list(numbers)


def _has(frame: Frame, place: Place, value: object, key: object) -> bool:
    of = kind(key)
    if of == "text":
        allow_key(str(key))
    if isinstance(value, dict):
        return (key if of == "text" else number_text(key) if of == "number" else None) in value  # type: ignore[arg-type]
    if isinstance(value, list) and of == "number":
        whole = number(key)  # type: ignore[arg-type]
        return type(whole) is int and 0 <= whole < len(value)
    return False


FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "len": _len,
    "sum": _sum,
    "min": _extreme(-1),
    "max": _extreme(1),
    "round": _round,
    "floor": _on_number(math.floor),
    "ceil": _on_number(math.ceil),
    "abs": _on_number(abs),
    "num": _num,
    "text": lambda frame, place, value: to_text(frame, value),
    "date": _date,
    "fmt": _fmt,
    "json": lambda frame, place, value: to_json(frame, value),
    "keys": _keys,
    "values": _values,
    "groupBy": _group_by,
    "unique": _unique,
    "range": _range,
    "has": _has,
}
