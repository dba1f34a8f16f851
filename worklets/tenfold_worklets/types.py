"""Port types: `str int float bool json bytes file image table tensor list[T] T?`.

Values are JSON. The types that JSON lacks have one form each:

- `bytes`: a string in base64.
- `file`, `image`: `{"name": str, "type": MIME type, "size": int, "data": base64}`; an image's type is `image/…`.
- `table`: a list of objects, one per row, or an object of equally long lists, one per column.
- `tensor`: a number, or lists of numbers nested to one shape.

An int is accepted where a float is wanted. Nothing else is converted: "3" is not an int, and 3 is not a str.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from tenfold_expressions import Problem
from tenfold_worklets.suggest import did_you_mean

# A JSON value as the standard library decodes it. A recursive alias would make every reader cast.
Json: TypeAlias = Any

BaseType = Literal["str", "int", "float", "bool", "json", "bytes", "file", "image", "table", "tensor"]
BASE_TYPES: tuple[str, ...] = get_args(BaseType)
MAX_TYPE_DEPTH = 16
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class PortType:
    """A parsed port type. `name` is a base type or "list", which alone has an `item`."""

    name: BaseType | Literal["list"]
    item: PortType | None = None
    optional: bool = False

    def __str__(self) -> str:
        text = f"list[{self.item}]" if self.item is not None else self.name
        return f"{text}?" if self.optional else text

    @property
    def required(self) -> PortType:
        """The same type without its `?`."""
        return PortType(self.name, self.item) if self.optional else self


JSON = PortType("json")


class PortTypeError(ValueError):
    """A text that is not a port type."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parse_type(text: object) -> PortType:
    """Read a type such as `list[file]?`. Raises `PortTypeError` with a suggestion."""
    if not isinstance(text, str):
        raise PortTypeError(f"a type is a text, not {_kind_of(text)}", f"Write one of {', '.join(BASE_TYPES)}.")
    return _parse(text.strip(), text, 0)


def _parse(text: str, whole: str, depth: int) -> PortType:
    if depth > MAX_TYPE_DEPTH:
        raise PortTypeError(f"the type {whole[:40]!r}… is nested too deep", f"Nest at most {MAX_TYPE_DEPTH} lists.")
    optional = text.endswith("?")
    core = text[:-1].rstrip() if optional else text
    if core.startswith("list[") and core.endswith("]"):
        return PortType("list", _parse(core[5:-1].strip(), whole, depth + 1), optional)
    if core in BASE_TYPES:
        return PortType(core, None, optional)  # type: ignore[arg-type]  # narrowed by the line above
    hint = did_you_mean(core, (*BASE_TYPES, "list[str]"), aliases=_ALIASES)
    raise PortTypeError(f"unknown type {whole!r}", hint or f"Write one of {', '.join(BASE_TYPES)}, list[T] or T?.")


_ALIASES = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "dict": "json",
    "object": "json",
    "any": "json",
    "array": "list[json]",
    "list": "list[json]",
    "dataframe": "table",
    "ndarray": "tensor",
    "picture": "image",
    "blob": "bytes",
}


def check(value: Json, type: PortType, path: str = "") -> list[Problem]:
    """Everything about a value that does not fit its type, each with the path to it; an empty list if it fits."""
    problems: list[Problem] = []
    _check(value, type, path, problems)
    return problems


def accepts(type: PortType) -> Callable[[Json], bool]:
    """A quick yes or no for the same rules as `check`, prepared once and called often."""
    if type.optional:
        inner = accepts(type.required)
        return lambda value: value is None or inner(value)
    if quick := _QUICK.get(type.name):
        return quick
    return lambda value: not check(value, type)


_QUICK: Mapping[str, Callable[[Json], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: (
        (isinstance(value, float) and math.isfinite(value)) or (isinstance(value, int) and not isinstance(value, bool))
    ),
    "bool": lambda value: isinstance(value, bool),
    "json": lambda _value: True,
}


def _check(value: Json, type: PortType, path: str, problems: list[Problem]) -> None:
    if len(problems) >= MAX_PROBLEMS:
        return
    if value is None and type.optional:
        return
    match type.name:
        case "json":
            return
        case "list":
            _check_list(value, type, path, problems)
        case "file" | "image":
            _check_file(value, type, path, problems)
        case "bytes":
            _check_base64(value, type, path, problems)
        case "table":
            _check_table(value, type, path, problems)
        case "tensor":
            _check_tensor(value, path, problems)
        case _:
            if not _QUICK[type.name](value):
                problems.append(_mismatch(value, type, path))


def _check_list(value: Json, type: PortType, path: str, problems: list[Problem]) -> None:
    if not isinstance(value, list):
        problems.append(_mismatch(value, type, path))
        return
    item = type.item or JSON
    quick = accepts(item) if item.name in _QUICK else None
    for index, element in enumerate(value):
        if quick is None or not quick(element):
            _check(element, item, f"{path}[{index}]", problems)


_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")


def _check_base64(value: Json, type: PortType, path: str, problems: list[Problem]) -> None:
    if not isinstance(value, str):
        problems.append(_mismatch(value, type, path))
    elif not _BASE64.match(value):
        problems.append(Problem(path=path, message="is not base64", hint="Encode the bytes as base64 with padding."))


_FILE_KEYS: Mapping[str, tuple[PortType, bool]] = {
    "name": (PortType("str"), True),
    "type": (PortType("str"), True),
    "size": (PortType("int"), True),
    "data": (PortType("bytes"), True),
}


def _check_file(value: Json, type: PortType, path: str, problems: list[Problem]) -> None:
    if not isinstance(value, dict):
        problems.append(_mismatch(value, type, path))
        return
    before = len(problems)
    for key, (key_type, _required) in _FILE_KEYS.items():
        if key not in value:
            problems.append(Problem(path=_join(path, key), message="is missing", hint=_FILE_HINT))
        else:
            _check(value[key], key_type, _join(path, key), problems)
    if len(problems) > before:
        return
    data: str = value["data"]
    size = len(data) // 4 * 3 - data[-2:].count("=")
    if value["size"] != size:
        message = f"is {value['size']}, but the data holds {size} bytes"
        problems.append(Problem(path=_join(path, "size"), message=message, hint="Send the size of the decoded data."))
    if type.name == "image" and not value["type"].startswith("image/"):
        message = f"is {value['type']!r}, which is not an image"
        problems.append(Problem(path=_join(path, "type"), message=message, hint="Send a type such as image/png."))


_FILE_HINT = 'A file is {"name": text, "type": MIME type, "size": bytes, "data": base64}.'


def _check_table(value: Json, type: PortType, path: str, problems: list[Problem]) -> None:
    if isinstance(value, list):
        row_type = "A row is an object of column names and values."
        for index, row in enumerate(value):
            if not isinstance(row, dict) and len(problems) < MAX_PROBLEMS:
                message = f"must be an object, not {_kind_of(row)}"
                problems.append(Problem(path=f"{path}[{index}]", message=message, hint=row_type))
        return
    if not isinstance(value, dict) or not all(isinstance(column, list) for column in value.values()):
        problems.append(_mismatch(value, type, path))
        return
    lengths = {name: len(column) for name, column in value.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in list(lengths.items())[:6])
        problems.append(Problem(path=path, message=f"has columns of unlike length ({listed})"))


def _check_tensor(value: Json, path: str, problems: list[Problem]) -> None:
    shape: list[int] = []
    probe = value
    while isinstance(probe, list):
        shape.append(len(probe))
        if len(shape) > MAX_TYPE_DEPTH:
            message = f"has more than {MAX_TYPE_DEPTH} dimensions"
            problems.append(Problem(path=path, message=message))
            return
        if not probe:
            break
        probe = probe[0]
    _check_shape(value, shape, 0, path, problems)


def _check_shape(value: Json, shape: list[int], depth: int, path: str, problems: list[Problem]) -> None:
    if len(problems) >= MAX_PROBLEMS:
        return
    if depth == len(shape):
        if isinstance(value, bool) or not _QUICK["float"](value):
            message = f"must be a number, not {_kind_of(value)}"
            problems.append(Problem(path=path, message=message, hint="A tensor is numbers in evenly nested lists."))
        return
    if not isinstance(value, list) or len(value) != shape[depth]:
        found = f"{len(value)} items" if isinstance(value, list) else _kind_of(value)
        message = f"must be a list of {shape[depth]} items like its neighbours, not {found}"
        problems.append(Problem(path=path, message=message, hint="A tensor is numbers in evenly nested lists."))
        return
    for index, element in enumerate(value):
        _check_shape(element, shape, depth + 1, f"{path}[{index}]", problems)


def _mismatch(value: Json, type: PortType, path: str) -> Problem:
    return Problem(
        path=path, message=f"must be {_DESCRIPTIONS[type.name]}, not {_kind_of(value)}", hint=_hint(value, type)
    )


def _hint(value: Json, type: PortType) -> str:
    if value is None:
        return f"The type is {type}; a value that may be missing has the type {type.required}?"
    if isinstance(value, str) and type.name in ("int", "float", "bool"):
        return "Send it without quotes."
    if type.name in ("file", "image"):
        return _FILE_HINT
    if type.name == "list" and type.item is not None:
        return f"Wrap it in a list: the type is {type}."
    return ""


_DESCRIPTIONS: Mapping[str, str] = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "json": "a JSON value",
    "bytes": "a text in base64",
    "file": "a file",
    "image": "an image",
    "table": "a table (a list of objects, or an object of lists)",
    "tensor": "a tensor",
    "list": "a list",
}


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction" if math.isfinite(value) else "a number that JSON cannot carry"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {value.__class__.__name__}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def to_json_schema(type: PortType) -> dict[str, Json]:
    """The type as JSON Schema 2020-12, as OpenAPI 3.1 uses it."""
    if type.optional:
        schema = to_json_schema(type.required)
        if not schema:
            return schema
        if isinstance(schema.get("type"), str):
            return schema | {"type": [schema["type"], "null"]}
        return {"anyOf": [schema, {"type": "null"}]}
    match type.name:
        case "str":
            return {"type": "string"}
        case "int":
            return {"type": "integer"}
        case "float":
            return {"type": "number"}
        case "bool":
            return {"type": "boolean"}
        case "json":
            return {}
        case "bytes":
            return {"type": "string", "contentEncoding": "base64"}
        case "file" | "image":
            return _file_schema(type.name)
        case "table":
            row = {"type": "array", "items": {"type": "object"}}
            return {"anyOf": [row, {"type": "object", "additionalProperties": {"type": "array"}}]}
        case "tensor":
            return {"type": ["number", "array"], "description": "Numbers in evenly nested lists"}
        case "list":
            return {"type": "array", "items": to_json_schema(type.item or JSON)}


def _file_schema(name: Literal["file", "image"]) -> dict[str, Json]:
    mime: dict[str, Json] = {"type": "string", "description": "MIME type"}
    if name == "image":
        mime["pattern"] = "^image/"
    return {
        "type": "object",
        "required": list(_FILE_KEYS),
        "properties": {
            "name": {"type": "string"},
            "type": mime,
            "size": {"type": "integer", "minimum": 0, "description": "Bytes, once decoded"},
            "data": {"type": "string", "contentEncoding": "base64"},
        },
    }


def misfit(given: PortType, wanted: PortType) -> str | None:
    """Why values of one type cannot travel into a port of another; None if they can, or if only the value can tell."""
    if wanted.name == "json" or given.name == "json":
        return None
    if given.optional and not wanted.optional:
        return f"{given} may be null, and {wanted} may not"
    if given.name == "list" and wanted.name == "list":
        reason = misfit(given.item or JSON, wanted.item or JSON)
        return f"{given} does not fit {wanted}: {reason}" if reason else None
    if given.name == wanted.name or (given.name, wanted.name) in _WIDENINGS:
        return None
    return f"{given} does not fit {wanted}"


_WIDENINGS = {
    ("int", "float"),
    ("image", "file"),
    ("int", "tensor"),
    ("float", "tensor"),
    ("list", "tensor"),
    ("list", "table"),
    ("tensor", "list"),
    ("table", "list"),
    ("tensor", "float"),
    ("bytes", "str"),
}
