"""What a kind of node is: how its document is read, what it refers to, how it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from tenfold_worklets.host import Caller, StepResult
from tenfold_worklets.plan import PlanNode
from tenfold_worklets.report import Report
from tenfold_worklets.signatures import Signature
from tenfold_worklets.types import Json

Spec = Mapping[str, Json]
Scope = Mapping[str, Json]

FLOW_KEYS = frozenset({"after", "join", "when"})
CALL_KEYS = FLOW_KEYS | {"in", "timeout", "retry", "fallback"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a segment, as a runner sees it."""

    caller: Caller
    number: int
    timeout_seconds: float | None
    run_id: str
    idempotency_key: str


class Runner(Protocol):
    """Runs one segment of a plan: one node, or several code nodes that were fused."""

    def inputs(self, scope: Scope, /) -> Mapping[str, Json]:
        """Evaluate everything the segment needs from outside. Raises `BindingErrors`."""
        ...

    def given(self, index: int, inputs: Mapping[str, Json], outputs: Mapping[str, Json], /) -> Json:
        """What the segment's node at `index` was given, for the journal."""
        ...

    async def call(self, inputs: Mapping[str, Json], attempt: Attempt, /) -> Sequence[StepResult]:
        """One result per node that ran; one with an error is the last. May raise `CallError` instead."""
        ...


@dataclass(frozen=True, slots=True)
class Signatures:
    """What is known about the functions and models that nodes name. None: nothing, so nothing is checked."""

    functions: Mapping[str, Signature] | None = None
    models: Mapping[str, Signature] | None = None


class NodeKind(Protocol):
    """A kind of node. `keys` are the keys it takes beside its own; `instant` kinds never leave the process."""

    name: ClassVar[str]
    keys: ClassVar[frozenset[str]]
    instant: ClassVar[bool]
    takes_any_input: ClassVar[bool]

    def load(self, value: Json, path: str, report: Report, /) -> Spec | None:
        """Read what stands after the kind's key. Reports problems and returns None if there are any."""
        ...

    def values(self, spec: Spec, /) -> Iterable[tuple[str, Json]]:
        """The values of the spec that may hold expressions, with their paths below the node."""
        ...

    def ports(self, spec: Spec, /) -> tuple[str, ...]:
        """The control ports, in order; empty for a kind that has none."""
        ...

    def always_fires(self, spec: Spec, /) -> bool:
        """Whether one of the ports fires whenever the node runs."""
        ...

    def target(self, spec: Spec, /) -> str:
        """What the node calls, in a few characters, for drawing."""
        ...

    def signature(self, spec: Spec, known: Signatures, path: str, report: Report, /) -> Signature | None:
        """The signature of what the node calls. Reports a target that is known not to exist."""
        ...

    def prepare(self, nodes: Sequence[PlanNode], /) -> Runner:
        """Make the runner of a segment. Only kinds whose nodes are fused are given more than one."""
        ...


class WithoutPorts:
    """What kinds have in common that have no control ports, and nothing in their spec that is computed."""

    def values(self, _spec: Spec, /) -> Iterable[tuple[str, Json]]:
        return ()

    def ports(self, _spec: Spec, /) -> tuple[str, ...]:
        return ()

    def always_fires(self, _spec: Spec, /) -> bool:
        return True
