"""A plan made ready to run: expressions parsed, conditions prepared, who waits for whom counted. Made once per plan."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

from tenfold_expressions import Binding, bind
from tenfold_worklets.join import prepare_join
from tenfold_worklets.nodes import KINDS
from tenfold_worklets.nodes.base import Runner
from tenfold_worklets.plan import Plan, PlanNode, Port, Retry
from tenfold_worklets.types import Json, accepts


@dataclass(frozen=True, slots=True)
class Unit:
    """A segment of a plan: what is decided, called and settled as one. Its conditions are those of its first node."""

    index: int
    nodes: tuple[PlanNode, ...]
    runner: Runner
    instant: bool
    waits: int
    dependents: tuple[int, ...]
    after: frozenset[str]
    join: Callable[[Set[str]], bool] | None
    when: Binding | None
    timeout_seconds: float | None
    retry: Retry | None
    fallback: Binding | None
    has_ports: bool


@dataclass(frozen=True, slots=True)
class PortCheck:
    port: Port
    accepts: Callable[[Json], bool]


@dataclass(frozen=True, slots=True)
class Program:
    """Everything about a plan that does not change from run to run."""

    plan: Plan
    units: tuple[Unit, ...]
    waits: tuple[int, ...]
    ready: tuple[int, ...]
    inputs: tuple[PortCheck, ...]
    input_names: frozenset[str]
    outputs: tuple[PortCheck, ...]
    returns: Binding | None


def prepare(plan: Plan) -> Program:
    """Raises `KeyError`, `BindingErrors` or `JoinError` for a plan that no compiler made."""
    nodes = {node.name: node for node in plan.nodes}
    home = {name: index for index, segment in enumerate(plan.segments) for name in segment}
    before = [
        {home[name] for member in segment for name in nodes[member].waits} - {index}
        for index, segment in enumerate(plan.segments)
    ]
    dependents = [
        tuple(other for other, waits in enumerate(before) if index in waits) for index in range(len(plan.segments))
    ]
    units = tuple(
        _unit(index, tuple(nodes[name] for name in segment), len(before[index]), dependents[index])
        for index, segment in enumerate(plan.segments)
    )
    return Program(
        plan=plan,
        units=units,
        waits=tuple(unit.waits for unit in units),
        ready=tuple(unit.index for unit in units if unit.waits == 0),
        inputs=tuple(PortCheck(port, accepts(port.type)) for port in plan.input),
        input_names=frozenset(port.name for port in plan.input),
        outputs=tuple(PortCheck(port, accepts(port.type)) for port in plan.output or ()),
        returns=None if plan.returns is None else bind(plan.returns),
    )


def _unit(index: int, nodes: tuple[PlanNode, ...], waits: int, dependents: tuple[int, ...]) -> Unit:
    head = nodes[0]
    kind = KINDS[head.kind]
    return Unit(
        index=index,
        nodes=nodes,
        runner=kind.prepare(nodes),
        instant=kind.instant,
        waits=waits,
        dependents=dependents,
        after=frozenset(head.after),
        join=None if head.join is None else prepare_join(head.join),
        when=None if head.when is None else bind(head.when),
        timeout_seconds=head.timeout_seconds,
        retry=head.retry,
        fallback=bind(head.fallback.value) if head.fallback else None,
        has_ports=bool(kind.ports(head.spec)),
    )
