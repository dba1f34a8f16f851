"""Which functions and methods exist, and what may be passed to them. Checked when an expression is parsed."""

from __future__ import annotations

from dataclasses import dataclass

MANY = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """How many arguments, and which one (if any) is an arrow function with how many parameters."""

    least: int
    most: int
    usage: str
    arrow: int | None = None
    parameters: int = 0
    needs_arrow: bool = False


METHODS: dict[str, Signature] = {
    # text
    "trim": Signature(0, 0, "text.trim()"),
    "toUpperCase": Signature(0, 0, "text.toUpperCase()"),
    "toLowerCase": Signature(0, 0, "text.toLowerCase()"),
    "startsWith": Signature(1, 1, "text.startsWith(prefix)"),
    "endsWith": Signature(1, 1, "text.endsWith(suffix)"),
    "split": Signature(1, 1, "text.split(separator)"),
    "replace": Signature(2, 2, "text.replace(old, new)"),
    "replaceAll": Signature(2, 2, "text.replaceAll(old, new)"),
    "padStart": Signature(1, 2, "text.padStart(length, fill)"),
    "padEnd": Signature(1, 2, "text.padEnd(length, fill)"),
    "charAt": Signature(1, 1, "text.charAt(index)"),
    "repeat": Signature(1, 1, "text.repeat(count)"),
    # text and array
    "includes": Signature(1, 1, "text.includes(part) or list.includes(item)"),
    "indexOf": Signature(1, 1, "text.indexOf(part) or list.indexOf(item)"),
    "slice": Signature(0, 2, "text.slice(start, end) or list.slice(start, end)"),
    "at": Signature(1, 1, "text.at(index) or list.at(index)"),
    "concat": Signature(0, MANY, "text.concat(other, …) or list.concat(other, …)"),
    # array
    "map": Signature(1, 1, "list.map(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "filter": Signature(1, 1, "list.filter(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "find": Signature(1, 1, "list.find(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "findIndex": Signature(1, 1, "list.findIndex(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "some": Signature(1, 1, "list.some(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "every": Signature(1, 1, "list.every(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "flatMap": Signature(1, 1, "list.flatMap(item => …)", arrow=0, parameters=2, needs_arrow=True),
    "reduce": Signature(1, 2, "list.reduce((total, item) => …, first)", arrow=0, parameters=3, needs_arrow=True),
    "sort": Signature(0, 1, "list.sort(), list.sort(item => key) or list.sort((a, b) => …)", arrow=0, parameters=2),
    "reverse": Signature(0, 0, "list.reverse()"),
    "join": Signature(0, 1, "list.join(separator)"),
    "flat": Signature(0, 1, "list.flat(depth)"),
    # number
    "toFixed": Signature(0, 1, "number.toFixed(digits)"),
    "toString": Signature(0, 0, "value.toString()"),
    # date
    "year": Signature(0, 0, "date(x).year()"),
    "month": Signature(0, 0, "date(x).month()"),
    "day": Signature(0, 0, "date(x).day()"),
    "hour": Signature(0, 0, "date(x).hour()"),
    "minute": Signature(0, 0, "date(x).minute()"),
    "second": Signature(0, 0, "date(x).second()"),
    "weekday": Signature(0, 0, "date(x).weekday()"),
    "iso": Signature(0, 0, "date(x).iso()"),
    "add": Signature(2, 2, "date(x).add(3, 'days')"),
    "diff": Signature(2, 2, "date(x).diff(date(y), 'hours')"),
    "startOf": Signature(1, 1, "date(x).startOf('month')"),
}

FUNCTIONS: dict[str, Signature] = {
    "len": Signature(1, 1, "len(list)"),
    "sum": Signature(1, 1, "sum(list)"),
    "min": Signature(1, MANY, "min(list) or min(a, b, …)"),
    "max": Signature(1, MANY, "max(list) or max(a, b, …)"),
    "round": Signature(1, 2, "round(number, digits)"),
    "floor": Signature(1, 1, "floor(number)"),
    "ceil": Signature(1, 1, "ceil(number)"),
    "abs": Signature(1, 1, "abs(number)"),
    "num": Signature(1, 1, "num(text)"),
    "text": Signature(1, 1, "text(value)"),
    "date": Signature(1, 1, "date(text)"),
    "fmt": Signature(2, 2, "fmt(number, '#,##0.00') or fmt(date, 'YYYY-MM-DD')"),
    "json": Signature(1, 1, "json(value)"),
    "keys": Signature(1, 1, "keys(object)"),
    "values": Signature(1, 1, "values(object)"),
    "groupBy": Signature(2, 2, "groupBy(list, item => key)", arrow=1, parameters=2, needs_arrow=True),
    "unique": Signature(1, 2, "unique(list) or unique(list, item => key)", arrow=1, parameters=2),
    "range": Signature(1, 3, "range(end), range(start, end) or range(start, end, step)"),
    "has": Signature(2, 2, "has(object, key)"),
}

INSTEAD: dict[str, str] = {
    "length": "Write x.length or len(x)",
    "size": "Write len(x)",
    "substring": "Use slice",
    "substr": "Use slice",
    "push": "Lists do not change; write [...list, item]",
    "forEach": "Use map",
    "has": "Write has(object, key)",
    "toISOString": "Use iso",
    "getFullYear": "Use year",
    "trimStart": "Use trim",
    "trimEnd": "Use trim",
    "match": "There are no regular expressions; use includes, startsWith or split",
    "parseInt": "Use num",
    "parseFloat": "Use num",
    "Number": "Use num",
    "String": "Use text",
    "Date": "Use date",
    "isNaN": "num(x) gives null where x is not a number; write num(x) == null",
    "str": "Use text",
    "int": "Use num",
    "float": "Use num",
}
