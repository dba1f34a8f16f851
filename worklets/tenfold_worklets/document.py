"""The worklet document: YAML text to checked, frozen data. What nodes refer to is checked in compile.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from tenfold_expressions import BindingErrors, bind, load_yaml
from tenfold_expressions.parser import is_name
from tenfold_worklets.durations import parse_duration
from tenfold_worklets.join import JoinError, parse_join
from tenfold_worklets.names import ADDRESS_HINT, IDENTIFIER_HINT, is_address, is_identifier
from tenfold_worklets.nodes import KINDS
from tenfold_worklets.nodes.base import NodeKind, Spec
from tenfold_worklets.plan import Fallback, Port, Retry, RetryOn, Settings
from tenfold_worklets.report import LineOf, Report, below, lines_of
from tenfold_worklets.suggest import listed
from tenfold_worklets.types import Json, PortType, PortTypeError, check, parse_type
from tenfold_worklets.upgrades import UpgradeError, upgrade

RESERVED_NODE_NAMES = frozenset({"input", "return", "output", "and", "or"})
MAX_NODES = 500
MAX_DEADLINE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Node:
    """One node as written. `spec` is its kind's own part, checked and normalised."""

    name: str
    kind: str
    spec: Spec
    environment: str | None = None
    inputs: Json = None
    after: tuple[str, ...] = ()
    join: str | None = None
    when: Json = None
    timeout_seconds: float | None = None
    retry: Retry | None = None
    fallback: Fallback | None = None

    @property
    def handler(self) -> NodeKind:
        return KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class Worklet:
    """A worklet document. `returns` is None where nothing is returned; `output` is None where it is not declared."""

    name: str
    title: str = ""
    description: str = ""
    input: tuple[Port, ...] = ()
    output: tuple[Port, ...] | None = None
    environment: str | None = None
    settings: Settings = field(default_factory=Settings)
    nodes: tuple[Node, ...] = ()
    returns: Json = None
    http: bool = False
    filename: str = field(default="", compare=False)
    line_of: LineOf = field(default=lambda _path: None, compare=False, repr=False)


def load_worklet(text: str, *, filename: str = "") -> Worklet:
    """Read a worklet. Raises `DocumentError` with everything that is wrong with it."""
    document = load_yaml(text, filename=filename)
    line_of = lines_of(document)
    report = Report(line_of, filename=filename)
    worklet = _read(document.data, report, filename, line_of)
    report.raise_if_any()
    return worklet


def _read(data: Json, report: Report, filename: str, line_of: LineOf) -> Worklet:
    if not isinstance(data, dict):
        report.add("", "a worklet is a mapping of keys and values", "Begin with `worklet: 1` and `name: …`.")
        return Worklet("")
    try:
        upgraded = upgrade(data)
    except UpgradeError as error:
        report.add("worklet", error.message, error.hint, code="bad_version")
        return Worklet("")
    return _Loader(report).worklet(upgraded, filename, line_of)


_KEYS = (
    "worklet", "name", "title", "description", "input", "output", "environment", "settings", "nodes", "return",
    "triggers",
)  # fmt: skip
_PORT_KEYS = ("type", "default", "title", "description", "example")
_SETTINGS_KEYS = ("mode", "deadline", "concurrency")
_DEFAULTS = Settings()
_RETRY_DEFAULTS = Retry(max=1)
_RETRY_KEYS = ("max", "on", "base", "cap")


class _Loader:
    """Reads each part of a document, reporting what is wrong and going on."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.add = report.add

    def worklet(self, data: Mapping[str, Json], filename: str, line_of: LineOf) -> Worklet:
        self.report.unknown_keys(data, _KEYS, "", "a worklet")
        name = data.get("name")
        if not is_address(name):
            message = "the worklet has no name" if name is None else f"{name!r} is not a name for a worklet"
            self.add("name", message, ADDRESS_HINT, code="bad_name")
        if "return" in data:
            self.binding(data["return"], "return")
        return Worklet(
            name=str(name),
            title=self.text(data, "title", ""),
            description=self.text(data, "description", ""),
            input=self.ports(data.get("input"), "input"),
            output=self.ports(data["output"], "output") if data.get("output") is not None else None,
            settings=self.settings(data.get("settings")),
            environment=self.environment(data.get("environment"), "environment"),
            nodes=self.nodes(data.get("nodes")),
            returns=data.get("return"),
            http=self.triggers(data.get("triggers")),
            filename=filename,
            line_of=line_of,
        )

    def text(self, data: Mapping[str, Json], key: str, path: str) -> str:
        value = data.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.add(below(path, key), "must be a text", "Put it in quotes.", code="bad_type")
        return ""

    def mapping(self, value: Json, path: str, what: str) -> dict[str, Json]:
        """The value if it is a mapping, an empty one if it is absent or wrong."""
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self.add(path, f"{what} is a mapping of keys and values", code="bad_type")
        return {}

    def binding(self, value: Json, path: str) -> None:
        try:
            bind(value)
        except BindingErrors as errors:
            for problem in errors.problems:
                inner = problem.under(path)
                self.add(inner.path, inner.message, inner.hint, code=inner.code, column=inner.column)

    def ports(self, value: Json, path: str) -> tuple[Port, ...]:
        ports = self.mapping(value, path, f"`{path}`").items()
        return tuple(port for name, declared in ports if (port := self.port(name, declared, path)))

    def port(self, name: object, declared: Json, parent: str) -> Port | None:
        path = below(parent, str(name))
        if not is_identifier(name):
            self.add(path, f"{name!r} is not a name for an {parent}", IDENTIFIER_HINT, code="bad_name")
            return None
        long: dict[str, Json] = declared if isinstance(declared, dict) else {"type": declared}
        self.report.unknown_keys(
            long, _PORT_KEYS if parent == "input" else _PORT_KEYS[:1] + _PORT_KEYS[2:], path, "a port"
        )
        type = self.port_type(long.get("type"), path)
        if type is None:
            return None
        for key in ("default", "example"):
            if key in long:
                for problem in check(long[key], type, below(path, key)):
                    self.add(problem.path, f"{problem.message}", problem.hint, code="bad_type")
        return Port(
            name=name,
            type=type,
            has_default="default" in long,
            default=long.get("default"),
            title=self.text(long, "title", path),
            description=self.text(long, "description", path),
            example=long.get("example"),
        )

    def port_type(self, text: Json, path: str) -> PortType | None:
        try:
            return parse_type(text)
        except PortTypeError as error:
            self.add(path, error.message, error.hint, code="bad_port_type")
            return None

    def settings(self, value: Json) -> Settings:
        settings = self.mapping(value, "settings", "`settings`")
        self.report.unknown_keys(settings, _SETTINGS_KEYS, "settings", "`settings`")
        if settings.get("mode", "sync") != "sync":
            hint = "Write `mode: sync`, or leave it out."
            self.add("settings.mode", f"there is no mode {settings['mode']!r}", hint, code="bad_value")
        deadline = self.duration(settings.get("deadline"), "settings.deadline")
        if deadline is not None and deadline > MAX_DEADLINE_SECONDS:
            self.add("settings.deadline", "is longer than an hour", "A caller waits at most 1h.", code="bad_value")
        concurrency = settings.get("concurrency")
        if concurrency is not None and not _is_count(concurrency, 1, 10_000):
            self.add("settings.concurrency", "must be a whole number from 1 to 10000", code="bad_value")
            concurrency = None
        return Settings("sync", _DEFAULTS.deadline_seconds if deadline is None else deadline, concurrency)

    def duration(self, value: Json, path: str) -> float | None:
        if value is None:
            return None
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.add(path, f"{value!r} is not a duration", str(error), code="bad_duration")
            return None
        if seconds <= 0:
            self.add(path, "must be longer than nothing", "Write 500ms, 20s or 2m.", code="bad_duration")
            return None
        return seconds

    def environment(self, value: Json, path: str) -> str | None:
        if value is None or is_address(value):
            return value
        self.add(path, f"{value!r} is not a name for an environment", ADDRESS_HINT, code="bad_name")
        return None

    def triggers(self, value: Json) -> bool:
        triggers = self.mapping(value, "triggers", "`triggers`")
        http = False
        for name, trigger in triggers.items():
            path = below("triggers", str(name))
            if not is_identifier(name):
                self.add(path, f"{name!r} is not a name for a trigger", IDENTIFIER_HINT, code="bad_name")
            if not isinstance(trigger, dict) or not trigger:
                self.add(path, "a trigger is a mapping such as {http: true}", code="bad_type")
                continue
            self.report.unknown_keys(trigger, ("http",), path, "a trigger")
            if "http" in trigger and not isinstance(trigger["http"], bool):
                self.add(below(path, "http"), "must be true or false", code="bad_type")
            http = http or trigger.get("http") is True
        return http

    def nodes(self, value: Json) -> tuple[Node, ...]:
        nodes = self.mapping(value, "nodes", "`nodes`")
        if len(nodes) > MAX_NODES:
            self.add(
                "nodes", f"there are {len(nodes)} nodes, and a worklet has at most {MAX_NODES}", "Split it in two."
            )
            return ()
        return tuple(node for name, data in nodes.items() if (node := self.node(name, data)))

    def node(self, name: object, data: Json) -> Node | None:
        path = below("nodes", str(name))
        if not is_identifier(name) or not is_name(name) or name in RESERVED_NODE_NAMES:
            hint = "The word means something else; choose another." if is_identifier(name) else IDENTIFIER_HINT
            self.add(path, f"{name!r} is not a name for a node", hint, code="bad_name")
        if not isinstance(data, dict) or not data:
            self.add(path, "a node is a mapping that begins with its kind", f"Kinds: {listed(KINDS)}.", code="bad_type")
            return None
        kind = self.kind(data, path)
        if kind is None:
            return None
        self.report.unknown_keys(data, (kind.name, *_in_order(kind.keys)), path, f"a {kind.name} node")
        spec = kind.load(data[kind.name], below(path, kind.name), self.report)
        for at, value in kind.values(spec) if spec is not None else ():
            self.binding(value, below(path, at))
        node = Node(
            name=str(name),
            kind=kind.name,
            spec=spec or {},
            environment=self.environment(data.get("environment"), below(path, "environment")),
            inputs=self.inputs(data.get("in"), below(path, "in"), kind) if "in" in kind.keys else None,
            after=self.after(data.get("after"), below(path, "after")),
            join=self.join(data.get("join"), below(path, "join")),
            when=self.when(data.get("when"), below(path, "when")),
            timeout_seconds=self.duration(data.get("timeout"), below(path, "timeout")),
            retry=self.retry(data.get("retry"), below(path, "retry")),
            fallback=Fallback(data["fallback"]) if "fallback" in data else None,
        )
        if node.fallback:
            self.binding(node.fallback.value, below(path, "fallback"))
        return node if spec is not None else None

    def kind(self, data: dict[str, Json], path: str) -> NodeKind | None:
        named = [key for key in data if key in KINDS]
        if len(named) == 1:
            return KINDS[named[0]]
        if named:
            self.add(path, f"the node has two kinds: {listed(named)}", "Make it two nodes.", code="two_kinds")
            return None
        first = str(next(iter(data)))
        hint = self.report.suggest(first, KINDS) or f"Kinds: {listed(KINDS)}."
        self.add(below(path, first), f"there is no kind of node {first!r}", hint, code="unknown_kind")
        return None

    def inputs(self, value: Json, path: str, kind: NodeKind) -> Json:
        if value is None:
            return {}
        if isinstance(value, dict):
            for name in value:
                if not kind.takes_any_input and not is_identifier(name):
                    self.add(
                        below(path, str(name)), f"{name!r} is not a name for an input", IDENTIFIER_HINT, code="bad_name"
                    )
        elif not kind.takes_any_input:
            hint = "Write {text: =input.text}: the names are the function's parameters."
            self.add(path, "`in` is a mapping of inputs and their values", hint, code="bad_type")
            return {}
        self.binding(value, path)
        return value

    def after(self, value: Json, path: str) -> tuple[str, ...]:
        if value is None:
            return ()
        names = value if isinstance(value, list) else [value]
        found: list[str] = []
        for index, name in enumerate(names):
            parts = name.split(".") if isinstance(name, str) else []
            if not 1 <= len(parts) <= 2 or not all(is_identifier(part) for part in parts):
                at = f"{path}[{index}]" if isinstance(value, list) else path
                self.add(
                    at,
                    f"{name!r} is not a node or a port",
                    "Write node or node.port, or a list of them.",
                    code="bad_after",
                )
            elif name not in found:
                found.append(name)
        return tuple(found)

    def join(self, value: Json, path: str) -> str | None:
        if value is None:
            return None
        hint = "Write names of nodes and ports with and, or and parentheses: (gate.auto or approve) and scan."
        if not isinstance(value, str):
            self.add(path, "`join` is a text", hint, code="bad_join")
            return None
        try:
            parse_join(value)
        except JoinError as error:
            self.add(path, error.message, hint, code="bad_join", column=error.column)
            return None
        return value

    def when(self, value: Json, path: str) -> Json:
        if value is None:
            return None
        if not isinstance(value, str | bool):
            self.add(path, "`when` is an expression", "Write =rank.score > 0.5.", code="bad_type")
            return None
        if isinstance(value, str) and not value.startswith("="):
            self.add(path, "`when` is an expression, and begins with `=`", f"Write ={value}.", code="bad_type")
            return None
        self.binding(value, path)
        return value

    def retry(self, value: Json, path: str) -> Retry | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            hint = "Write {max: 3, on: [timeout, 5xx], base: 200ms, cap: 5s}."
            self.add(path, "`retry` is a mapping", hint, code="bad_type")
            return None
        self.report.unknown_keys(value, _RETRY_KEYS, path, "`retry`")
        max: Json = value.get("max")
        if not _is_count(max, 1, 20):
            self.add(
                below(path, "max"),
                "must be a whole number from 1 to 20",
                "It is how often to try again.",
                code="bad_value",
            )
            max = 1
        base = self.duration(value.get("base"), below(path, "base"))
        cap = self.duration(value.get("cap"), below(path, "cap"))
        return Retry(
            max=max,
            on=self.retry_on(value.get("on"), below(path, "on")),
            base_seconds=_RETRY_DEFAULTS.base_seconds if base is None else base,
            cap_seconds=_RETRY_DEFAULTS.cap_seconds if cap is None else cap,
        )

    def retry_on(self, value: Json, path: str) -> tuple[RetryOn, ...]:
        if value is None:
            return _RETRY_DEFAULTS.on
        known = get_args(RetryOn)
        reasons = [str(reason) for reason in (value if isinstance(value, list) else [value])]
        for reason in reasons:
            if reason not in known:
                hint = self.report.suggest(reason, known) or f"Known: {listed(known)}."
                self.add(path, f"{reason!r} is not a reason to try again", hint, code="bad_value")
        return tuple(reason for reason in known if reason in reasons)


def _in_order(keys: frozenset[str]) -> list[str]:
    order = ("in", "after", "join", "when", "timeout", "retry", "fallback", "environment")
    return sorted(keys, key=lambda key: order.index(key) if key in order else len(order))


def _is_count(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
