"""A compiled worklet: plain data that a release pins and the interpreter runs.

A plan holds everything that was decided when the worklet was compiled: order, skips, fusing. Expressions stay in their
source form and are parsed once per process, by `Plan.program`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tenfold_worklets.types import Json, PortType, parse_type

if TYPE_CHECKING:
    from tenfold_worklets.program import Program

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Port:
    """One named input or output of a worklet. An input with a default, or of a type `T?`, may be left out."""

    name: str
    type: PortType
    has_default: bool = False
    default: Json = None
    title: str = ""
    description: str = ""
    example: Json = None

    @property
    def required(self) -> bool:
        return not (self.type.optional or self.has_default)


RetryOn = Literal["timeout", "5xx", "429", "any"]


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `max` further attempts after the first, waiting `base`, 2 x `base`, 4 x `base` … up to `cap` seconds.

    Each wait is shortened by up to half at random, so that callers that failed together do not return together.
    """

    max: int
    on: tuple[RetryOn, ...] = ("timeout", "5xx", "429")
    base_seconds: float = 0.2
    cap_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Fallback:
    """A value (or expression) that stands in for the output of a node that failed."""

    value: Json


@dataclass(frozen=True, slots=True)
class Settings:
    """`concurrency` is how many runs of the worklet one gateway lets in at once; None leaves it to the gateway."""

    mode: Literal["sync"] = "sync"
    deadline_seconds: float = 60.0
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node, ready to run.

    `spec` is what its kind needs: a target, a model, the ports of a branch. `waits` are the nodes that must be settled
    before it is decided; `after`, `join` and `when` then decide whether it runs or is skipped.
    """

    name: str
    kind: str
    spec: Mapping[str, Json]
    environment: str | None = None
    inputs: Json = None
    when: Json = None
    after: tuple[str, ...] = ()
    join: str | None = None
    waits: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    retry: Retry | None = None
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A box to draw. `column` is its layer from the left, `row` its place from the top."""

    id: str
    kind: str
    title: str
    target: str
    column: int
    row: int
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A line to draw. `port` is the input it fills (data), or the branch port it leaves by (control; may be empty)."""

    source: str
    target: str
    port: str
    kind: Literal["data", "control"]


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "nodes": [
                {
                    "id": node.id,
                    "kind": node.kind,
                    "title": node.title,
                    "target": node.target,
                    "column": node.column,
                    "row": node.row,
                    "ports": list(node.ports),
                }
                for node in self.nodes
            ],
            "edges": [
                {"source": edge.source, "target": edge.target, "port": edge.port, "kind": edge.kind}
                for edge in self.edges
            ],
        }


@dataclass(frozen=True)
class Plan:
    """A worklet that can be run. Nodes stand in an order in which they can be settled; segments partition them."""

    name: str
    title: str
    description: str
    input: tuple[Port, ...]
    output: tuple[Port, ...] | None
    nodes: tuple[PlanNode, ...]
    segments: tuple[tuple[str, ...], ...]
    returns: Json
    settings: Settings
    edges: tuple[GraphEdge, ...] = ()
    http: bool = False

    @cached_property
    def program(self) -> Program:
        """The plan with its expressions parsed and its conditions prepared; made once, shared by all runs."""
        from tenfold_worklets.program import prepare  # program.py needs the classes above

        return prepare(self)

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments whose workers it calls."""
        return tuple(sorted({node.environment for node in self.nodes if node.environment}))

    @property
    def models(self) -> tuple[str, ...]:
        """The models it calls, as `name@alias or version`."""
        return tuple(sorted({str(node.spec["model"]) for node in self.nodes if node.kind == "model"}))

    @property
    def targets(self) -> tuple[tuple[str, str], ...]:
        """The functions it calls, as (environment, target)."""
        return tuple(
            sorted({(node.environment or "", str(node.spec["target"])) for node in self.nodes if "target" in node.spec})
        )

    def node(self, name: str) -> PlanNode:
        return next(node for node in self.nodes if node.name == name)

    def graph(self) -> Graph:
        """The plan as boxes and lines, laid out in columns."""
        from tenfold_worklets.layout import lay_out  # layout.py needs the classes above

        return lay_out(self)

    def to_json(self) -> dict[str, Json]:
        """The plan as JSON, for a release to pin."""
        return {
            "plan": PLAN_VERSION,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "input": [_port_to_json(port) for port in self.input],
            "output": None if self.output is None else [_port_to_json(port) for port in self.output],
            "nodes": [_node_to_json(node) for node in self.nodes],
            "segments": [list(segment) for segment in self.segments],
            "returns": self.returns,
            "settings": {
                "mode": self.settings.mode,
                "deadline_seconds": self.settings.deadline_seconds,
                "concurrency": self.settings.concurrency,
            },
            "edges": [[edge.source, edge.target, edge.port, edge.kind] for edge in self.edges],
            "http": self.http,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a pinned plan. Raises `PlanError` when it was made by a newer Tenfold or is damaged."""
        if data.get("plan") != PLAN_VERSION:
            raise PlanError(f"this plan has the version {data.get('plan')!r}, and this Tenfold reads {PLAN_VERSION}")
        try:
            plan = cls(
                name=data["name"],
                title=data["title"],
                description=data["description"],
                input=tuple(_port_from_json(port) for port in data["input"]),
                output=None if data["output"] is None else tuple(_port_from_json(port) for port in data["output"]),
                nodes=tuple(_node_from_json(node) for node in data["nodes"]),
                segments=tuple(tuple(segment) for segment in data["segments"]),
                returns=data["returns"],
                settings=Settings(**data["settings"]),
                edges=tuple(GraphEdge(*edge) for edge in data["edges"]),
                http=data["http"],
            )
            _ = plan.program
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"this plan is damaged: {type(error).__name__}: {error}") from error
        return plan


class PlanError(ValueError):
    """A pinned plan that cannot be read."""


def _port_to_json(port: Port) -> dict[str, Json]:
    data: dict[str, Json] = {"name": port.name, "type": str(port.type)}
    if port.has_default:
        data["default"] = port.default
    for key in ("title", "description", "example"):
        if getattr(port, key):
            data[key] = getattr(port, key)
    return data


def _port_from_json(data: Mapping[str, Any]) -> Port:
    return Port(
        name=data["name"],
        type=parse_type(data["type"]),
        has_default="default" in data,
        default=data.get("default"),
        title=data.get("title", ""),
        description=data.get("description", ""),
        example=data.get("example"),
    )


def _node_to_json(node: PlanNode) -> dict[str, Json]:
    data: dict[str, Json] = {"name": node.name, "kind": node.kind, "spec": dict(node.spec)}
    for key in ("environment", "inputs", "when", "join", "timeout_seconds"):
        if (value := getattr(node, key)) is not None:
            data[key] = value
    for key in ("after", "waits"):
        if value := getattr(node, key):
            data[key] = list(value)
    if node.retry:
        retry = node.retry
        data["retry"] = {
            "max": retry.max,
            "on": list(retry.on),
            "base_seconds": retry.base_seconds,
            "cap_seconds": retry.cap_seconds,
        }
    if node.fallback:
        data["fallback"] = {"value": node.fallback.value}
    return data


def _node_from_json(data: Mapping[str, Any]) -> PlanNode:
    retry: Mapping[str, Any] | None = data.get("retry")
    fallback: Mapping[str, Any] | None = data.get("fallback")
    return PlanNode(
        name=data["name"],
        kind=data["kind"],
        spec=data["spec"],
        environment=data.get("environment"),
        inputs=data.get("inputs"),
        when=data.get("when"),
        after=_names(data.get("after", ())),
        join=data.get("join"),
        waits=_names(data.get("waits", ())),
        timeout_seconds=data.get("timeout_seconds"),
        retry=Retry(**{**retry, "on": tuple(retry["on"])}) if retry else None,
        fallback=Fallback(fallback["value"]) if fallback else None,
    )


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names)
