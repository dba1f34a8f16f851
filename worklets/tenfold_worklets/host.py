"""What a host gives the interpreter: a caller, a journal, a clock and a context.

The gateway's journal writes behind, the engine's before, a test's into a list. The interpreter knows none of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tenfold_worklets.types import Json

StepState = Literal["succeeded", "failed", "cancelled", "skipped"]
RunState = Literal["succeeded", "failed", "cancelled"]


class CallError(Exception):
    """A call to a worker that did not answer with a value.

    `source` says whose fault it is: "user" (their code raised), "input" (their code refused what it was given),
    "worker" (the process died, ran out of memory, was not ready), "timeout", or "platform".
    `retryable` says that no user code has run, so that trying again cannot double anything.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        source: str = "worker",
        status: int = 500,
        traceback: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.source = source
        self.status = status
        self.traceback = traceback
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class CodeStep:
    """One function in a code call. Each argument names a key of the call's values or an earlier step's output."""

    name: str
    target: str
    arguments: Mapping[str, str]

    def to_frame(self) -> dict[str, Json]:
        """The step as the worker's `call` frame wants it (see docs/reference/frames.md)."""
        arguments: dict[str, Json] = {name: {"$ref": ref} for name, ref in self.arguments.items()}
        return {"name": self.name, "target": self.target, "arguments": arguments}


@dataclass(frozen=True, slots=True)
class CodeCall:
    """Functions of one environment, to run in order in one worker."""

    environment: str
    steps: Sequence[CodeStep]
    values: Mapping[str, Json]
    timeout_seconds: float | None
    attempt: int
    run_id: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step of a code call came to. `started_at` is seconds since the epoch, or None if nobody measured it."""

    name: str
    output: Json = None
    error: CallError | None = None
    started_at: float | None = None
    seconds: float = 0.0
    logs: str = ""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One prediction. `ref` is `name@alias or version`; `inputs` is the body."""

    ref: str
    inputs: Json
    timeout_seconds: float | None
    attempt: int
    run_id: str
    idempotency_key: str


class Caller(Protocol):
    """Reaches workers. Raises `CallError`, and nothing else, for whatever goes wrong.

    Both methods are cancelled when the run is, or when a timeout passes; the caller then cancels the work it started.
    """

    async def call_code(self, call: CodeCall) -> Sequence[StepResult]:
        """Run the steps in order. Returns one result per step that ran; a result with an error is the last one."""
        ...

    async def call_model(self, call: ModelCall) -> Json:
        """Return the prediction's JSON body."""
        ...


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a step or a run failed, in a form that can be stored and shown."""

    code: str
    message: str
    hint: str | None = None
    node: str | None = None
    source: str = "worker"
    status: int = 500
    traceback: str | None = None

    def to_json(self) -> dict[str, Json]:
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "node": self.node,
            "source": self.source,
            "status": self.status,
            "traceback": self.traceback,
        }


class Journal(Protocol):
    """Keeps what happened, in order. Called on the event loop, so it must not block.

    Every started attempt is finished exactly once. A node that never started is finished once, as "skipped", with
    attempt 0. A node's last event is its final state; a "failed" one may be followed by another attempt. A
    "succeeded" event that carries an error fell back: its output is the node's `fallback`.
    """

    def step_started(self, *, path: str, attempt: int, kind: str, input: Json, at: float) -> None: ...

    def step_finished(
        self,
        *,
        path: str,
        attempt: int,
        state: StepState,
        output: Json,
        error: RunError | None,
        at: float,
        seconds: float,
        logs: str,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One line of a `MemoryJournal`."""

    path: str
    attempt: int
    state: Literal["running"] | StepState
    at: float
    kind: str = ""
    input: Json = None
    output: Json = None
    error: RunError | None = None
    seconds: float = 0.0
    logs: str = ""


@dataclass(slots=True)
class MemoryJournal:
    """A journal in a list, for tests and for trying a worklet out."""

    events: list[StepEvent] = field(default_factory=list)

    def step_started(self, *, path: str, attempt: int, kind: str, input: Json, at: float) -> None:
        self.events.append(StepEvent(path, attempt, "running", at, kind=kind, input=input))

    def step_finished(
        self,
        *,
        path: str,
        attempt: int,
        state: StepState,
        output: Json,
        error: RunError | None,
        at: float,
        seconds: float,
        logs: str,
    ) -> None:
        self.events.append(StepEvent(path, attempt, state, at, output=output, error=error, seconds=seconds, logs=logs))

    def final(self) -> dict[str, StepEvent]:
        """The last event of each node."""
        return {event.path: event for event in self.events}


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as the interpreter sees it: epoch seconds for the journal, monotonic seconds for durations, and timers."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle: ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


@dataclass(frozen=True, slots=True)
class RunContext:
    """Which run this is. `random` returns a number in [0, 1) and decides the jitter of retries."""

    run_id: str
    max_parallel: int = 32
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `error` is set unless it succeeded; `states` has every node's final state."""

    state: RunState
    output: Json
    error: RunError | None
    states: Mapping[str, StepState]
    seconds: float
