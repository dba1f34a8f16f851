"""`branch`: ordered ports, each with a condition; the first that is true fires.

Its output is `{"port": name}`, or `{"port": null}` when no port fired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from tenfold_expressions import bind, is_expression
from tenfold_expressions.values import truthy
from tenfold_worklets.host import StepResult
from tenfold_worklets.names import is_identifier
from tenfold_worklets.nodes.base import FLOW_KEYS, Attempt, Scope, Signatures, Spec
from tenfold_worklets.plan import PlanNode
from tenfold_worklets.report import Report, below
from tenfold_worklets.signatures import Signature
from tenfold_worklets.types import Json

ELSE = "else"


class Branch:
    name: ClassVar[str] = "branch"
    keys: ClassVar[frozenset[str]] = FLOW_KEYS
    instant: ClassVar[bool] = True
    takes_any_input: ClassVar[bool] = False

    def load(self, value: Json, path: str, report: Report) -> Spec | None:
        before = report.count
        if not isinstance(value, dict) or not value:
            hint = "Write {big: =rank.score > 0.7, small: else}."
            report.add(path, "a branch is a mapping of ports and their conditions", hint, code="bad_branch")
            return None
        for index, (port, condition) in enumerate(value.items()):
            at = below(path, str(port))
            if not is_identifier(port):
                hint = "Use letters, digits and underscores, beginning with a letter."
                report.add(at, f"{port!r} is not a name for a port", hint, code="bad_name")
            if condition == ELSE:
                if index < len(value) - 1:
                    hint = "Put `else` on the last port."
                    report.add(at, "the ports after this one can never fire", hint, code="bad_branch")
            elif not is_expression(condition):
                hint = "Write an expression such as =rank.score < 0.7, or else."
                report.add(at, "a port's condition is an expression", hint, code="bad_branch")
        if report.count > before:
            return None
        # A list of pairs: the order matters, and a database's JSON type keeps no order of keys.
        return {"ports": [[port, condition] for port, condition in value.items()]}

    def values(self, spec: Spec) -> Iterable[tuple[str, Json]]:
        return [(f"branch.{port}", condition) for port, condition in spec["ports"] if condition != ELSE]

    def ports(self, spec: Spec) -> tuple[str, ...]:
        return tuple(port for port, _ in spec["ports"])

    def always_fires(self, spec: Spec) -> bool:
        return bool(spec["ports"][-1][1] == ELSE)

    def target(self, _spec: Spec, /) -> str:
        return ""

    def signature(self, _spec: Spec, _known: Signatures, _path: str, _report: Report, /) -> Signature | None:
        return None

    def prepare(self, nodes: Sequence[PlanNode]) -> BranchRunner:
        return BranchRunner(nodes[0])


class BranchRunner:
    def __init__(self, node: PlanNode) -> None:
        self.name = node.name
        self.ports = [(port, None if condition == ELSE else bind(condition)) for port, condition in node.spec["ports"]]

    def inputs(self, scope: Scope) -> Mapping[str, Json]:
        """The conditions up to the first that is true: those after it do not matter, and may not be computable."""
        conditions: dict[str, Json] = {}
        for port, condition in self.ports:
            conditions[port] = True if condition is None else condition.evaluate(scope)
            if truthy(conditions[port]):
                break
        return conditions

    def given(self, _index: int, inputs: Mapping[str, Json], _outputs: Mapping[str, Json], /) -> Json:
        return dict(inputs)

    async def call(self, inputs: Mapping[str, Json], _attempt: Attempt, /) -> Sequence[StepResult]:
        fired = next((port for port, value in inputs.items() if truthy(value)), None)
        return (StepResult(self.name, {"port": fired}),)
