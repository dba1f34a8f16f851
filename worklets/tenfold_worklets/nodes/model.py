"""`model`: one prediction by a deployed model, named with an alias or a version: `zero-shot@production`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tenfold_expressions import bind
from tenfold_worklets.host import ModelCall, StepResult
from tenfold_worklets.nodes.base import CALL_KEYS, Attempt, Scope, Signatures, Spec, WithoutPorts
from tenfold_worklets.plan import PlanNode
from tenfold_worklets.report import Report
from tenfold_worklets.signatures import Signature
from tenfold_worklets.suggest import listed
from tenfold_worklets.types import Json

DEFAULT_ALIAS = "production"
_REF = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,62})(?:@(?P<alias>[a-z][a-z0-9-]{0,62}|[1-9][0-9]{0,8}))?\Z")


def parse_model_ref(text: object) -> str | None:
    """`name@alias or version`, with the default alias filled in; None if it is not one."""
    match = _REF.match(text) if isinstance(text, str) else None
    return f"{match['name']}@{match['alias'] or DEFAULT_ALIAS}" if match else None


class Model(WithoutPorts):
    name: ClassVar[str] = "model"
    keys: ClassVar[frozenset[str]] = CALL_KEYS
    instant: ClassVar[bool] = False
    takes_any_input: ClassVar[bool] = True

    def load(self, value: Json, path: str, report: Report) -> Spec | None:
        if ref := parse_model_ref(value):
            return {"model": ref}
        hint = "Write a model's name, or name@alias, or name@version, such as churn@production or churn@3."
        report.add(path, f"{value!r} does not name a model", hint, code="bad_model")
        return None

    def target(self, spec: Spec) -> str:
        return str(spec["model"])

    def signature(self, spec: Spec, known: Signatures, path: str, report: Report) -> Signature | None:
        if known.models is None:
            return None
        ref = self.target(spec)
        name = ref.partition("@")[0]
        for key in (ref, name):
            if key in known.models:
                return known.models[key]
        names = sorted({key.partition("@")[0] for key in known.models})
        if name in names:
            aliases = sorted(key.partition("@")[2] for key in known.models if key.startswith(f"{name}@"))
            hint = report.suggest(ref.partition("@")[2], aliases) or f"{name} has {listed(aliases)}."
            report.add(
                path, f"the model {name} has no alias or version `{ref.partition('@')[2]}`", hint, code="unknown_model"
            )
        else:
            hint = report.suggest(name, names) or f"Models here: {listed(names)}."
            report.add(path, f"there is no model named `{name}`", hint, code="unknown_model")
        return None

    def prepare(self, nodes: Sequence[PlanNode]) -> ModelRunner:
        return ModelRunner(nodes[0])


class ModelRunner:
    def __init__(self, node: PlanNode) -> None:
        self.name = node.name
        self.ref = str(node.spec["model"])
        self.body = bind({} if node.inputs is None else node.inputs)

    def inputs(self, scope: Scope) -> Mapping[str, Json]:
        return {"body": self.body.evaluate(scope)}

    def given(self, _index: int, inputs: Mapping[str, Json], _outputs: Mapping[str, Json], /) -> Json:
        return inputs["body"]

    async def call(self, inputs: Mapping[str, Json], attempt: Attempt) -> Sequence[StepResult]:
        call = ModelCall(
            ref=self.ref,
            inputs=inputs["body"],
            timeout_seconds=attempt.timeout_seconds,
            attempt=attempt.number,
            run_id=attempt.run_id,
            idempotency_key=attempt.idempotency_key,
        )
        return (StepResult(self.name, await attempt.caller.call_model(call)),)
