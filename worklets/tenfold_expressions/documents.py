"""YAML files as people write them: JSON values only, no surprises from YAML 1.1, and a line for every problem."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import yaml

from tenfold_expressions.errors import DocumentError, Problem, join_path
from tenfold_expressions.expression import Json

MAX_BYTES = 2_000_000
MAX_DEPTH = 64
MAX_VALUES = 200_000
MAX_DIGITS = 400

Path: TypeAlias = "tuple[str | int, ...]"

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_COLON_HINT = "Check indentation, and quote text that holds a colon and a space: '=a ? b : c'."
_YAML_HINTS = {
    "mapping values are not allowed here": _COLON_HINT,
    "mapping values are not allowed in this context": _COLON_HINT,
}
_STRING_TAGS = ("tag:yaml.org,2002:str", "!")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and where."""

    data: Json
    filename: str = ""
    lines: dict[Path, int] = field(default_factory=dict, repr=False)

    def line_of(self, path: Path) -> int | None:
        """The 1-based line where `path` begins; for a path that is not there, the line of what would hold it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def load_yaml(text: str, *, filename: str = "") -> Document:
    """Read one YAML document of JSON values. Raises DocumentError with every problem found, each with its line."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise DocumentError(
            [Problem("", "the file is larger than 2 MB", "Keep data in files of their own.", "too_large")],
            filename=filename,
        )
    reader = _Reader()
    try:
        data = reader.read(text)
    except _StopReading:
        data = None
    except yaml.YAMLError as error:
        reader.problems.append(_yaml_problem(error))
    if reader.problems:
        raise DocumentError(reader.problems, filename=filename)
    return Document(data, filename, reader.lines)


def dump_yaml(data: Json) -> str:
    """Write JSON values as YAML that load_yaml reads back: block style, keys in their order, few quotes."""
    problems = list(_not_json(data, ()))
    if problems:
        raise DocumentError(problems)
    return str(
        yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf, default_flow_style=False)
    )


class _StopReading(Exception):
    """What follows cannot be read."""


class _Reader:
    """Builds JSON values from YAML's events, so that nothing is ever constructed from a tag."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[Path, int] = {}
        self.anchors: dict[str, tuple[Json, int] | None] = {}
        self.count = 0

    def read(self, text: str) -> Json:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=loader))
        data: Json = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.stop(event, (), "a file holds one document, and here a second one begins", "Remove the ---.")
            elif not isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentEndEvent):
                data = self.value(event, ())
        return data

    def value(self, event: Any, path: Path) -> Json:
        self.lines[path] = self.lines.get(path, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        self.count_values(event, path, 1)
        if len(path) >= MAX_DEPTH and not isinstance(event, yaml.ScalarEvent):
            self.stop(event, path, f"this is nested more than {MAX_DEPTH} deep", "Flatten it.", "too_large")
        if event.anchor:
            self.anchors[event.anchor] = None
        before = self.count
        match event:
            case yaml.ScalarEvent():
                value = self.scalar(event, path)
            case yaml.SequenceStartEvent():
                value = self.sequence(event, path)
            case _:
                value = self.mapping(event, path)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.count - before + 1)
        return value

    def alias(self, event: Any, path: Path) -> Json:
        if event.anchor not in self.anchors:
            self.stop(event, path, f"there is no anchor &{event.anchor}", "Define it above.")
        anchored = self.anchors[event.anchor]
        if anchored is None:
            self.stop(event, path, f"*{event.anchor} would hold itself", "Remove it.")
        value, size = anchored
        self.count_values(event, path, size)
        return deepcopy(value)

    def sequence(self, event: Any, path: Path) -> list[Json]:
        self.check_tag(event, path, ("tag:yaml.org,2002:seq", "!"))
        items: list[Json] = []
        for item in self.events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            items.append(self.value(item, (*path, len(items))))
        return items

    def mapping(self, event: Any, path: Path) -> dict[str, Json]:
        self.check_tag(event, path, ("tag:yaml.org,2002:map", "!"))
        entries: dict[str, Json] = {}
        for key_event in self.events:
            if isinstance(key_event, yaml.MappingEndEvent):
                break
            key = self.key(key_event, path)
            if key in entries:
                first = self.lines[(*path, key)]
                self.note(key_event, (*path, key), f"`{key}` is written twice, first on line {first}", "Keep one.")
            self.lines[(*path, key)] = key_event.start_mark.line + 1
            entries[key] = self.value(next(self.events), (*path, key))
        return entries

    def key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self.stop(event, path, "a key is plain text, not a list, an object or an alias", "Quote it.")
        key = self.scalar(event, path)
        if event.value == "<<" and event.implicit[0]:
            self.note(event, path, "merge keys (<<) are not supported", "Write the keys out.")
        elif not isinstance(key, str):
            shown = event.value or "an empty key"
            self.note(event, path, f"a key is text, and `{shown}` is not", f'Quote it: "{event.value}".')
        return str(event.value)

    def scalar(self, event: Any, path: Path) -> Json:
        text = str(event.value)
        plain, quoted = event.implicit
        if not plain or event.tag == "!":
            if not quoted and event.tag not in _STRING_TAGS:
                self.note(event, path, f"the tag {event.tag} is not supported", "Write the value without it.")
            return text
        if _NULL.fullmatch(text):
            return None
        if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
            return text.lower() == "true"
        if _NOT_FINITE.fullmatch(text):
            self.note(event, path, f"{text} is not a number that JSON can hold", "Write null, or quote it.")
        elif _FLOAT.fullmatch(text):
            return self.number(event, path, text)
        return text

    def number(self, event: Any, path: Path, text: str) -> Json:
        value = float(text)
        if not math.isfinite(value) or len(text) > MAX_DIGITS:
            self.note(event, path, "this number is too large", "Quote it if it is text.")
            return None
        return int(text) if _INT.fullmatch(text) else value

    def check_tag(self, event: Any, path: Path, known: tuple[str, ...]) -> None:
        if event.tag is not None and event.tag not in known:
            self.note(event, path, f"the tag {event.tag} is not supported", "Write the value without it.")

    def count_values(self, event: Any, path: Path, values: int) -> None:
        self.count += values
        if self.count > MAX_VALUES:
            message = f"the file holds more than {MAX_VALUES} values, counting every alias in full"
            self.stop(event, path, message, "Remove aliases, or keep data in files of their own.", "too_large")

    def note(self, event: Any, path: Path, message: str, hint: str, code: str = "yaml") -> None:
        self.problems.append(Problem(join_path(path), message, hint, code, line=event.start_mark.line + 1))

    def stop(self, event: Any, path: Path, message: str, hint: str, code: str = "yaml") -> NoReturn:
        self.note(event, path, message, hint, code)
        raise _StopReading


def _yaml_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    message = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = None if mark is None else mark.line + 1
    column = None if mark is None else mark.column
    hint = _YAML_HINTS.get(message, "Check indentation and quotes.")
    return Problem("", f"this is not YAML: {message}", hint, "yaml", column, line)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[Any, Any] = {}

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 (lists are always indented)
        super().increase_indent(flow, False)


_RARE_LINE_BREAKS = frozenset("\r\x85\u2028\u2029")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.rstrip("\n") or text.endswith("\n") else None
    if not _RARE_LINE_BREAKS.isdisjoint(text):
        style = '"'  # only there does PyYAML escape them; elsewhere they come back as a space
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(value))


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)
for _tag, _pattern, _first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", re.compile(f"{_TRUE.pattern}|{_FALSE.pattern}"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", re.compile(f"{_FLOAT.pattern}|{_NOT_FINITE.pattern}"), list("-+.0123456789")),
    ("merge", re.compile("<<"), ["<"]),
):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern.pattern})$"), _first)


def _not_json(value: object, path: Path) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield Problem(join_path(path), f"a key is text, and {key!r} is not", "Use text.", "bad_value")
            yield from _not_json(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_json(item, (*path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(join_path(path), f"{value} is not a number that JSON can hold", "Use null.", "bad_value")
    elif not (value is None or isinstance(value, bool | int | float | str)):
        yield Problem(
            join_path(path), f"a value of type {type(value).__name__} is not JSON", "Use JSON values.", "bad_value"
        )
