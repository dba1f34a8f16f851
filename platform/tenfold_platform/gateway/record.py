"""What a run leaves behind: collected while it runs, one JSON record when it ends, values cut to a bearable size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from tenfold_platform.gateway.http import write_json
from tenfold_platform.gateway.spool import no_nul
from tenfold_worklets.host import Outcome, RunError, StepState
from tenfold_worklets.plan import Plan
from tenfold_worklets.types import Json

STEP_VALUE_BYTES = 64 * 1024
RUN_VALUE_BYTES = 1024 * 1024
MAX_STEPS = 10_000
_PREVIEW_BYTES = 2000
_LOG_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True)
class RunHead:
    """What is known of a run before it begins."""

    id: UUID
    workspace_id: UUID
    app_id: UUID
    release_id: UUID
    worklet: str
    trigger: str
    caller: str
    request_id: str
    started_at: float


@dataclass(slots=True)
class _Step:
    path: str
    attempt: int
    kind: str
    input: Json = None
    started_at: float | None = None
    state: StepState | None = None
    output: Json = None
    error: RunError | None = None
    seconds: float = 0.0
    logs: str = ""


@dataclass(slots=True)
class RunJournal:
    """The interpreter's journal: remembers every attempt, and drops those beyond a number no screen could show."""

    plan: Plan
    steps: dict[tuple[str, int], _Step] = field(default_factory=dict)

    def step_started(self, path: str, attempt: int, kind: str, input: Json, at: float) -> None:
        if len(self.steps) < MAX_STEPS:
            self.steps[path, attempt] = _Step(path, attempt, kind, input, at)

    def step_finished(
        self,
        path: str,
        attempt: int,
        state: StepState,
        output: Json,
        error: RunError | None,
        at: float,  # noqa: ARG002  the protocol's; how long it took says the same
        seconds: float,
        logs: str,
    ) -> None:
        step = self.steps.get((path, attempt))
        if step is None:  # skipped: it never started
            if len(self.steps) >= MAX_STEPS:
                return
            step = self.steps[path, attempt] = _Step(path, attempt, self.plan.node(path).kind)
        step.state, step.output, step.error, step.seconds, step.logs = state, output, error, seconds, logs


def encode_record(head: RunHead, journal: RunJournal, input: Json, outcome: Outcome, finished_at: float) -> bytes:
    """The run as one line of JSON, as `queries.INSERT_RUNS` and `INSERT_STEPS` take it."""
    record = {
        "run": {
            "id": head.id,
            "workspace_id": head.workspace_id,
            "app_id": head.app_id,
            "release_id": head.release_id,
            "worklet": head.worklet,
            "state": outcome.state,
            "trigger": head.trigger,
            "caller": head.caller,
            "request_id": head.request_id,
            "input": _bounded(input, RUN_VALUE_BYTES),
            "output": _bounded(outcome.output, RUN_VALUE_BYTES),
            "error": _error(outcome.error),
            "started_at": head.started_at,
            "finished_at": finished_at,
            "duration_ms": round(outcome.seconds * 1000, 3),
        },
        "steps": [_step(step) for step in journal.steps.values()],
    }
    line = orjson.dumps(record)
    return line if b"\\u0000" not in line else orjson.dumps(no_nul(orjson.loads(line)))


def _step(step: _Step) -> dict[str, Any]:
    return {
        "path": step.path,
        "attempt": step.attempt,
        "kind": step.kind,
        "state": step.state or "cancelled",
        "input": _bounded(step.input, STEP_VALUE_BYTES),
        "output": _bounded(step.output, STEP_VALUE_BYTES),
        "error": _error(step.error),
        "logs": step.logs[:_LOG_CHARACTERS],
        "started_at": step.started_at,
        "duration_ms": round(step.seconds * 1000, 3),
    }


def _bounded(value: Json, limit: int) -> Any:
    """The value as it is, or a note of how large it was and how it began."""
    if value is None:
        return None
    encoded = write_json(value)
    if len(encoded) <= limit:
        return orjson.Fragment(encoded)
    preview = encoded[:_PREVIEW_BYTES].decode("utf-8", "ignore")
    return {"$truncated": True, "size": len(encoded), "preview": preview}


def _error(error: RunError | None) -> Any:
    return None if error is None else orjson.Fragment(write_json(error.to_json()))
