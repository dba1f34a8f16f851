"""One view, read from its text: structure checked, everything wrong with it reported at once.

What the values mean (do names exist, do types fit, is there a cycle) is the lint's question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

from tenfold_expressions import Document, DocumentError, Problem, is_expression, load_yaml
from tenfold_expressions.errors import closest, join_path
from tenfold_expressions.parser import is_name
from tenfold_views.upgrades import CURRENT, upgrade

ROOT = "page"
RESERVED_NAMES = frozenset({"state", "params", "view", "app", "viewer", "event"})

QueryKind = Literal["worklet", "model"]
Run = Literal["auto", "manual", "load"]
Scope = Literal["url", "page"]
ValueType = Literal["str", "int", "float", "bool", "json"]

ACTIONS = ("run", "set", "toast", "navigate", "open", "close", "download", "copy", "reset")
WIDTHS = ("base", "sm", "md", "lg")

_ADDRESS = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MODEL = re.compile(r"[a-z][a-z0-9-]{0,62}(@[a-z0-9][a-z0-9-]{0,62})?")
_ORDER = re.compile(r"[0-9A-Za-z]{1,64}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000}
_MAX_NODES = 5000
_MAX_DEPTH = 64

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


@dataclass(frozen=True, slots=True)
class Param:
    """A value that the address gives the view: `?doc=17` is `params.doc`."""

    name: str
    type: ValueType
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class StateItem:
    """A value that the view keeps: `state.<name>`. With scope `url` it is in the address, with `page` in the tab."""

    name: str
    scope: Scope
    type: ValueType
    default: Any = None


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    kind: QueryKind
    target: str
    run: Run = "manual"
    inputs: Any = field(default_factory=dict)
    when: Any = None
    debounce_ms: int | None = None
    timeout_ms: int | None = None
    confirm: str | None = None


@dataclass(frozen=True, slots=True)
class ActionStep:
    kind: str
    value: Any
    condition: Any = None


@dataclass(frozen=True, slots=True)
class Node:
    """One component on the screen. The root has no parent."""

    name: str
    type: str
    parent: str | None
    slot: str
    order: str
    props: Mapping[str, Any] = field(default_factory=dict)
    span: Mapping[str, int] = field(default_factory=dict)
    when: Any = None
    on: Mapping[str, tuple[ActionStep, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    name: str
    title: str
    description: str
    params: Mapping[str, Param]
    state: Mapping[str, StateItem]
    queries: Mapping[str, Query]
    nodes: Mapping[str, Node]
    document: Mapping[str, Any]  # of the current version, as written
    filename: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    def children(self, parent: str, slot: str = "body") -> list[Node]:
        """In the order they are drawn."""
        inside = [node for node in self.nodes.values() if node.parent == parent and node.slot == slot]
        return sorted(inside, key=lambda node: (node.order, node.name))

    def with_lines(self, problems: Sequence[Problem]) -> list[Problem]:
        """The same problems, each with the line of the file where its path begins."""
        return [replace(problem, line=_line_of(self.lines, problem.path)) for problem in problems]


def load_view(text: str, *, filename: str) -> View:
    """Read a view of any known version. Raises `DocumentError` with every structural problem."""
    document = load_yaml(text, filename=filename)
    lines = _lines(document)
    return _read(document.data, filename, lines)


def load_views(files: Mapping[str, bytes]) -> tuple[dict[str, View], dict[str, list[Problem]]]:
    """The views of an app's files that can be read, and for the others why not.

    Views refer to each other, so all are read before one is checked.
    """
    views: dict[str, View] = {}
    problems: dict[str, list[Problem]] = {}
    for path, content in files.items():
        name = path.removeprefix("views/").removesuffix(".yaml")
        if path != f"views/{name}.yaml" or "/" in name:
            continue
        try:
            views[name] = load_view(content.decode(errors="replace"), filename=path)
        except DocumentError as error:
            problems[name] = list(error.problems)
    return views, problems


def view_of(data: Mapping[str, Any], *, filename: str = "") -> View:
    """The same for a document that is already parsed, such as one made by `ViewBuilder`."""
    return _read(dict(data), filename, {})


def duration_ms(text: object) -> int:
    """Milliseconds of `300ms`, `60s`, `2m`. Raises `ValueError` with what to write."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("Write a duration such as 300ms, 60s or 2m.")
    return round(float(match[1]) * _UNIT_MS[match[2]])


class _Reader:
    """Reads the parts of a document and remembers what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def current(self, data: Any) -> dict[str, Any] | None:
        if not isinstance(data, dict):
            self.wrong("", "a view is a mapping", "Begin with `view: 1`, then `name`, `title` and `nodes`.")
            return None
        version = data.get("view", 0 if _looks_unnumbered(data) else None)
        if isinstance(version, bool) or not isinstance(version, int) or version < 0:
            self.wrong("view", "the version of the format is missing", f"Begin the file with `view: {CURRENT}`.")
            return None
        if version > CURRENT:
            self.wrong("view", f"version {version} is newer than this server knows", "Upgrade Tenfold.")
            return None
        return upgrade(data, version)

    def view(self, data: dict[str, Any], filename: str, lines: Mapping[str, int]) -> View:
        self.known_keys("", data, ("view", "name", "title", "description", "params", "state", "queries", "nodes"))
        name = self.text("name", data.get("name", ""))
        if not _ADDRESS.fullmatch(name):
            self.wrong("name", f"{name!r} cannot name a view", "Use lower-case letters, digits and hyphens.")
        nodes = {
            key: self.node(f"nodes.{key}", key, value)
            for key, value in self.mapping("nodes", data.get("nodes")).items()
        }
        if len(nodes) > _MAX_NODES:
            self.wrong("nodes", f"{len(nodes)} nodes in one view", f"At most {_MAX_NODES}; make it two views.")
        queries = {
            key: self.query(f"queries.{key}", key, value)
            for key, value in self.mapping("queries", data.get("queries", {})).items()
        }
        for both in sorted(nodes.keys() & queries.keys()):
            self.wrong(f"queries.{both}", f"`{both}` is a node and a query", "Expressions could not tell them apart.")
        nodes.setdefault(ROOT, Node(ROOT, "page", None, "", ""))
        return View(
            name=name,
            title=self.text("title", data.get("title", name)),
            description=self.text("description", data.get("description", "")),
            params=self.params(data.get("params", {})),
            state=self.state(data.get("state", {})),
            queries=queries,
            nodes=nodes,
            document=data,
            filename=filename,
            lines=lines,
        )

    def params(self, value: Any) -> dict[str, Param]:
        params = {}
        for name, written in self.mapping("params", value).items():
            path = f"params.{name}"
            entry = self.mapping(path, written)
            self.known_keys(path, entry, ("type", "in", "default", "required"))
            self.one_of(f"{path}.in", entry.get("in", "url"), ("url",))
            type_, default = self.typed(path, entry, url=True)
            required = self.flag(f"{path}.required", entry.get("required", False))
            self.identifier(path, name)
            params[name] = Param(name, type_, default, required)
        return params

    def state(self, value: Any) -> dict[str, StateItem]:
        items: dict[str, StateItem] = {}
        for scope, entries in self.mapping("state", value).items():
            if not self.one_of(f"state.{scope}", scope, get_args(Scope)):
                continue
            for name, written in self.mapping(f"state.{scope}", entries).items():
                path = f"state.{scope}.{name}"
                entry = self.mapping(path, written)
                self.known_keys(path, entry, ("type", "default"))
                type_, default = self.typed(path, entry, url=scope == "url")
                self.identifier(path, name)
                if name in items:
                    self.wrong(path, f"`{name}` is in two scopes", "Both would be `state." + name + "`; rename one.")
                items[name] = StateItem(name, cast(Scope, scope), type_, default)
        return items

    def typed(self, path: str, entry: dict[str, Any], *, url: bool) -> tuple[ValueType, Any]:
        allowed = tuple(name for name in get_args(ValueType) if not (url and name == "json"))
        type_ = entry.get("type", "str")
        default = entry.get("default")
        if self.one_of(f"{path}.type", type_, allowed) and default is not None and not _fits(default, type_):
            self.wrong(f"{path}.default", f"{default!r} is not {_a(type_)}", "Give a default of the declared type.")
        return type_, default

    def query(self, path: str, name: str, value: Any) -> Query:
        entry = self.mapping(path, value)
        self.known_keys(path, entry, (*get_args(QueryKind), "run", "in", "when", "debounce", "timeout", "confirm"))
        self.identifier(path, name)
        kinds = [kind for kind in get_args(QueryKind) if kind in entry]
        if len(kinds) != 1:
            self.wrong(path, "a query names one worklet or one model", "Write `worklet: name` or `model: name`.")
        kind = kinds[0] if kinds else "worklet"
        target = entry.get(kind, "")
        pattern = _MODEL if kind == "model" else _ADDRESS
        if kinds and not (isinstance(target, str) and pattern.fullmatch(target)):
            self.wrong(f"{path}.{kind}", f"{target!r} cannot name a {kind}", "Use lower-case letters and hyphens.")
        run = entry.get("run", "manual")
        self.one_of(f"{path}.run", run, get_args(Run))
        inputs = entry.get("in", {})
        if not isinstance(inputs, dict) and not is_expression(inputs):
            self.wrong(f"{path}.in", "inputs are a mapping or one expression", "Write `in: {name: =value}`.")
        return Query(
            name=name,
            kind=cast(QueryKind, kind),
            target=target if isinstance(target, str) else "",
            run=run,
            inputs=inputs,
            when=entry.get("when"),
            debounce_ms=self.duration(f"{path}.debounce", entry.get("debounce")),
            timeout_ms=self.duration(f"{path}.timeout", entry.get("timeout")),
            confirm=self.text(f"{path}.confirm", entry["confirm"]) if "confirm" in entry else None,
        )

    def node(self, path: str, name: str, value: Any) -> Node:
        entry = self.mapping(path, value)
        self.known_keys(path, entry, ("type", "at", "props", "span", "when", "on"))
        self.identifier(path, name)
        type_ = self.text(f"{path}.type", entry.get("type", ""))
        if not type_:
            self.wrong(f"{path}.type", "a node has a type", "For example `type: button`.")
        parent, slot, order = self.place(path, name, entry)
        return Node(
            name=name,
            type=type_,
            parent=parent,
            slot=slot,
            order=order,
            props=self.mapping(f"{path}.props", entry.get("props", {})),
            span=self.span(f"{path}.span", entry.get("span", {})),
            when=entry.get("when"),
            on={
                event: self.actions(f"{path}.on.{event}", steps)
                for event, steps in self.mapping(f"{path}.on", entry.get("on", {})).items()
            },
        )

    def place(self, path: str, name: str, entry: dict[str, Any]) -> tuple[str | None, str, str]:
        if name == ROOT:
            if "at" in entry:
                self.wrong(f"{path}.at", "the root stands nowhere", "Leave `at` out of the node `page`.")
            return None, "", ""
        match entry.get("at"):
            case [str(parent), str(slot), str(order)] if _ORDER.fullmatch(order):
                return parent, slot, order
            case [str(), str(), _]:
                self.wrong(f"{path}.at[2]", "an order key is letters and digits", "For example a0, a1, a2.")
            case _:
                self.wrong(f"{path}.at", "a node says where it stands", "Write `at: [page, body, a0]`.")
        return ROOT, "body", "a0"

    def span(self, path: str, value: Any) -> dict[str, int]:
        if isinstance(value, int) and not isinstance(value, bool):
            value = {"base": 12, "md": value}
        spans = {}
        for width, columns in self.mapping(path, value).items():
            if self.one_of(f"{path}.{width}", width, WIDTHS):
                if isinstance(columns, bool) or not isinstance(columns, int) or not 1 <= columns <= 12:
                    self.wrong(f"{path}.{width}", f"{columns!r} is not a number of columns", "Write 1 to 12.")
                else:
                    spans[width] = columns
        return spans

    def actions(self, path: str, value: Any) -> tuple[ActionStep, ...]:
        if not isinstance(value, list):
            self.wrong(path, "an event has a list of actions", "Write `[{run: name}, {toast: Done}]`.")
            return ()
        return tuple(self.action(f"{path}[{index}]", entry) for index, entry in enumerate(value))

    def action(self, path: str, value: Any) -> ActionStep:
        entry = self.mapping(path, value)
        kinds = [key for key in entry if key != "if"]
        if len(kinds) != 1:
            self.wrong(path, "one action has one kind", f"One of {', '.join(ACTIONS)}, and `if` beside it.")
            return ActionStep("", None)
        kind = kinds[0]
        self.one_of(f"{path}.{kind}", kind, ACTIONS, what="action")
        return ActionStep(kind, entry[kind], entry.get("if"))

    def mapping(self, path: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(path, "this must be a mapping", "Write `key: value` pairs.")
            return {}
        for key in value:
            if not isinstance(key, str):
                self.wrong(path, f"the key {key!r} is not a text", "Put it in quotes.")
        return {key: entry for key, entry in value.items() if isinstance(key, str)}

    def text(self, path: str, value: Any) -> str:
        if isinstance(value, str):
            return value
        self.wrong(path, f"{value!r} is not a text", "Put it in quotes.")
        return ""

    def flag(self, path: str, value: Any) -> bool:
        if not isinstance(value, bool):
            self.wrong(path, f"{value!r} is neither true nor false")
        return bool(value)

    def duration(self, path: str, value: Any) -> int | None:
        if value is None:
            return None
        try:
            return duration_ms(value)
        except ValueError as error:
            self.wrong(path, f"{value!r} is not a duration", str(error))
            return None

    def identifier(self, path: str, name: str) -> None:
        if not is_name(name):
            self.wrong(path, f"{name!r} cannot be a name", "Expressions use it: letters, digits and _, no hyphens.")
        elif name in RESERVED_NAMES:
            self.wrong(
                path, f"`{name}` is taken", f"These have a meaning of their own: {', '.join(sorted(RESERVED_NAMES))}."
            )

    def one_of(self, path: str, value: Any, allowed: Sequence[str], what: str = "value") -> bool:
        if isinstance(value, str) and value in allowed:
            return True
        near = closest(value, allowed) if isinstance(value, str) else None
        hint = f"Did you mean `{near}`?" if near else f"One of {', '.join(allowed)}."
        self.wrong(path, f"unknown {what} {value!r}", hint)
        return False

    def known_keys(self, path: str, entry: Mapping[str, Any], allowed: Sequence[str]) -> None:
        for key in entry:
            if key not in allowed:
                self.one_of(f"{path}.{key}" if path else key, key, allowed, what="key")

    def wrong(self, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path, message, hint, code="structure"))


def _looks_unnumbered(data: dict[str, Any]) -> bool:
    """Version 0 had no number; it is told by the placement that only it used."""
    nodes = data.get("nodes")
    return isinstance(nodes, dict) and any(isinstance(node, dict) and "parent" in node for node in nodes.values())


def _fits(value: Any, type_: str) -> bool:
    if type_ == "json":
        return True
    if isinstance(value, bool):
        return type_ == "bool"
    return isinstance(value, _PYTHON_TYPES[type_])


def _a(type_: str) -> str:
    return {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}[type_]


def _read(data: Any, filename: str, lines: Mapping[str, int]) -> View:
    reader = _Reader()
    current = reader.current(data)
    view = reader.view(current, filename, lines) if current is not None else None
    if reader.problems or view is None:
        located = [replace(problem, line=_line_of(lines, problem.path)) for problem in reader.problems]
        raise DocumentError(located, filename=filename)
    return view


def _lines(document: Document) -> dict[str, int]:
    return {join_path(path): line for path, line in document.lines.items()}


def _line_of(lines: Mapping[str, int], path: str) -> int | None:
    """Of the path, or of the nearest thing that would hold it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)
