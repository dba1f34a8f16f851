"""`pre`, `post` and `logic`: Python functions in the app's `code/` folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tenfold_expressions import Binding, bind, is_expression
from tenfold_worklets.host import CodeCall, CodeStep, StepResult
from tenfold_worklets.nodes.base import CALL_KEYS, Attempt, Scope, Signatures, Spec, WithoutPorts
from tenfold_worklets.plan import PlanNode
from tenfold_worklets.references import references
from tenfold_worklets.report import Report
from tenfold_worklets.signatures import Signature
from tenfold_worklets.suggest import listed
from tenfold_worklets.types import Json

_TARGET = re.compile(r"code/(?:[A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py:[A-Za-z_][A-Za-z0-9_]*\Z")


class CodeKind(WithoutPorts):
    keys: ClassVar[frozenset[str]] = CALL_KEYS | {"environment"}
    instant: ClassVar[bool] = False
    takes_any_input: ClassVar[bool] = False
    name: ClassVar[str]

    def load(self, value: Json, path: str, report: Report) -> Spec | None:
        if isinstance(value, str) and _TARGET.match(value):
            return {"target": value}
        hint = "Write code/FILE.py:FUNCTION, such as code/text.py:clean."
        if isinstance(value, str) and _TARGET.match(f"code/{value}"):
            hint = f"Did you mean `code/{value}`?"
        report.add(path, f"{value!r} does not name a function", hint, code="bad_target")
        return None

    def target(self, spec: Spec) -> str:
        return str(spec["target"])

    def signature(self, spec: Spec, known: Signatures, path: str, report: Report) -> Signature | None:
        target = self.target(spec)
        if known.functions is None or target in known.functions:
            return known.functions[target] if known.functions else None
        file, _, name = target.partition(":")
        functions = {other.partition(":")[2]: other for other in known.functions if other.partition(":")[0] == file}
        if functions:
            hint = report.suggest(name, functions) or f"{file} has {listed(functions)}."
            report.add(path, f"{file} has no function `{name}`", hint, code="unknown_target")
        else:
            files = sorted({other.partition(":")[0] for other in known.functions})
            hint = report.suggest(file, files) or f"Files with functions: {listed(files)}."
            report.add(path, f"there is no function `{name}` in {file}", hint, code="unknown_target")
        return None

    def prepare(self, nodes: Sequence[PlanNode]) -> CodeRunner:
        return CodeRunner(nodes)


class Pre(CodeKind):
    """Gets a model's input ready. Pure."""

    name = "pre"


class Post(CodeKind):
    """Turns a model's output into an answer. Pure."""

    name = "post"


class Logic(CodeKind):
    """Anything else that Python does; may have effects."""

    name = "logic"


class CodeRunner:
    """Calls the functions of a segment in one go.

    The values of a call are keyed by the expression they came from, so that one that several arguments use travels
    once. Such a key begins with `=`, and a literal's holds a dot, so neither can be taken for the name of a step.
    """

    def __init__(self, nodes: Sequence[PlanNode]) -> None:
        self.environment = nodes[0].environment or ""
        self.bindings: dict[str, Binding] = {}
        self.members = frozenset(node.name for node in nodes)
        self.steps = tuple(
            CodeStep(node.name, str(node.spec["target"]), {name: self._ref(node, name) for name in node.inputs or {}})
            for node in nodes
        )

    def _ref(self, node: PlanNode, argument: str) -> str:
        value = node.inputs[argument]
        found = list(references(value, ""))
        if len(found) == 1 and found[0].whole and not found[0].keys and found[0].root in self.members:
            return found[0].root
        key = str(value) if is_expression(value) else f"{node.name}.{argument}"
        self.bindings[key] = bind(value)
        return key

    def inputs(self, scope: Scope) -> Mapping[str, Json]:
        return {key: binding.evaluate(scope) for key, binding in self.bindings.items()}

    def given(self, index: int, inputs: Mapping[str, Json], outputs: Mapping[str, Json]) -> Json:
        step = self.steps[index]
        return {name: outputs[ref] if ref in self.members else inputs[ref] for name, ref in step.arguments.items()}

    async def call(self, inputs: Mapping[str, Json], attempt: Attempt) -> Sequence[StepResult]:
        return await attempt.caller.call_code(
            CodeCall(
                environment=self.environment,
                steps=self.steps,
                values=inputs,
                timeout_seconds=attempt.timeout_seconds,
                attempt=attempt.number,
                run_id=attempt.run_id,
                idempotency_key=attempt.idempotency_key,
            )
        )
