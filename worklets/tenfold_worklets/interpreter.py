"""Runs a plan: every node as soon as what it waits for is settled, several at once where nothing is in the way.

User code is never replayed: a node's output is recorded when it ends, and that is what the nodes after it see.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from tenfold_expressions import BindingErrors, DocumentError, Problem
from tenfold_expressions.values import truthy
from tenfold_worklets.host import (
    Caller,
    CallError,
    Clock,
    Journal,
    Outcome,
    RunContext,
    RunError,
    RunState,
    StepResult,
    StepState,
    TimerHandle,
)
from tenfold_worklets.nodes.base import Attempt
from tenfold_worklets.plan import Plan, Retry
from tenfold_worklets.program import Program, Unit
from tenfold_worklets.suggest import did_you_mean, listed
from tenfold_worklets.types import MAX_PROBLEMS, Json, check


class InputError(DocumentError):
    """Input that does not match the worklet's ports. A problem's path is the field, such as `attachments[0].name`."""


async def execute(
    plan: Plan,
    input: Json,
    *,
    caller: Caller,
    journal: Journal,
    clock: Clock,
    context: RunContext,
    deadline: float | None = None,
) -> Outcome:
    """Run a plan once.

    `deadline` is how many seconds the run may take, counted from this call; the worklet's own deadline holds as well.
    Raises `InputError` before anything is called or recorded. Everything else that goes wrong is in the outcome.

    Cancelling the task cancels the calls, records what was running as cancelled and the rest as skipped, and *returns*
    an outcome with the state "cancelled": a cancelled run is a result. Do not wrap this in `asyncio.timeout`; pass a
    deadline.
    """
    program = plan.program
    accepted = accept_input(program, input)
    seconds = plan.settings.deadline_seconds if deadline is None else min(deadline, plan.settings.deadline_seconds)
    return await _Run(program, accepted, caller, journal, clock, context, seconds).outcome()


def accept_input(program: Program, input: Json) -> dict[str, Json]:
    """The input with defaults filled in. Raises `InputError`."""
    if not isinstance(input, dict):
        hint = f"Send an object with {listed((check.port.name for check in program.inputs), empty='no members')}."
        raise InputError([Problem(path="", message="the input must be an object", hint=hint)])
    problems: list[Problem] = []
    accepted = input
    for name in input:
        if name not in program.input_names and len(problems) < MAX_PROBLEMS:
            hint = did_you_mean(str(name), program.input_names) or f"Inputs: {listed(sorted(program.input_names))}."
            problems.append(Problem(path=str(name), message=f"there is no input named `{name}`", hint=hint))
    for checked in program.inputs:
        port = checked.port
        if port.name in input:
            if not checked.accepts(input[port.name]):
                problems += check(input[port.name], port.type, port.name)
        elif port.has_default:
            accepted = {**accepted, port.name: port.default}
        elif port.required:
            problems.append(Problem(path=port.name, message="is missing", hint=f"Its type is {port.type}."))
    if problems:
        raise InputError(problems)
    return accepted


class _Failed(Exception):
    """A node failed for good; the run fails with it."""

    def __init__(self, error: RunError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True)
class _Run:
    """One run of a program: what is settled, what is ready, what is on its way."""

    program: Program
    input: dict[str, Json]
    caller: Caller
    journal: Journal
    clock: Clock
    context: RunContext
    deadline_seconds: float
    started: float = 0.0
    scope: dict[str, Json] = field(default_factory=dict)
    fired: set[str] = field(default_factory=set)
    states: dict[str, StepState] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    ready: deque[int] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def outcome(self) -> Outcome:
        self.started = self.clock.monotonic()
        self.scope["input"] = self.input
        self.pending += self.program.waits
        self.ready += self.program.ready
        try:
            with _Limit(self.clock, self.deadline_seconds):
                await self.walk()
            return self.ended("succeeded", self.returned(), None)
        except _Failed as failed:
            is_late = self.clock.monotonic() - self.started >= self.deadline_seconds
            if failed.error.code == "timeout" and is_late:  # a call was given no longer than the run has
                return self.late()
            return self.ended("failed", None, failed.error)
        except _LimitPassed:
            return self.late()
        except asyncio.CancelledError:
            if task := asyncio.current_task():
                task.uncancel()
            error = RunError("cancelled", "the run was cancelled", source="input", status=499)
            return self.ended("cancelled", None, error)

    def late(self) -> Outcome:
        message = f"the run took longer than its deadline of {_shown(self.deadline_seconds)}"
        hint = "Raise `settings.deadline`, or see which step took the time."
        return self.ended("failed", None, RunError("deadline", message, hint, source="timeout", status=504))

    def ended(self, state: RunState, output: Json, error: RunError | None) -> Outcome:
        if len(self.states) < len(self.program.plan.nodes):
            for node in self.program.plan.nodes:
                if node.name not in self.states:
                    self.skip(node.name)
        return Outcome(state, output, error, self.states, self.clock.monotonic() - self.started)

    def returned(self) -> Json:
        """The run's output, checked against what the worklet declares."""
        returns = self.program.returns
        try:
            output = {} if returns is None else returns.evaluate(self.scope)
        except BindingErrors as errors:
            raise _Failed(_expression_error(errors, None)) from errors
        if self.program.plan.output is None:
            return output
        if not isinstance(output, dict):
            raise _Failed(_bad_output([Problem(path="", message="must be an object")]))
        problems: list[Problem] = []
        for checked in self.program.outputs:
            value = output.get(checked.port.name)
            if not checked.accepts(value):
                problems += check(value, checked.port.type, checked.port.name)
        if problems:
            raise _Failed(_bad_output(problems))
        return output

    # The walk

    async def walk(self) -> None:
        """Settle every unit. One that is ready alone is awaited here; only several at once cost tasks."""
        try:
            while self.ready or self.running:
                while self.ready and len(self.running) < self.context.max_parallel:
                    unit = self.program.units[self.ready.popleft()]
                    await self.begin(unit, alone=not self.ready and not self.running)
                if self.running:
                    await self.first_of_running()
        finally:
            if self.running:
                await self.cancel_running()

    async def begin(self, unit: Unit, *, alone: bool) -> None:
        if not self.decided_to_run(unit):
            self.pass_over(unit)
        elif alone or unit.instant:
            await self.run(unit)
        else:
            self.running.add(asyncio.get_running_loop().create_task(self.run(unit)))

    async def first_of_running(self) -> None:
        done, _ = await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
        self.running -= done
        failures = [failure for task in done if (failure := task.exception())]
        if failures:
            raise failures[0]

    async def cancel_running(self) -> None:
        """Cancel what runs, and wait until it has said so in the journal."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    def decided_to_run(self, unit: Unit) -> bool:
        if not unit.after <= self.fired:
            return False
        if unit.join is not None and not unit.join(self.fired):
            return False
        if unit.when is None:
            return True
        try:
            return truthy(unit.when.evaluate(self.scope))
        except BindingErrors as errors:
            raise self.never_called(unit, _expression_error(errors, unit.nodes[0].name, "when")) from errors

    def pass_over(self, unit: Unit) -> None:
        for node in unit.nodes:
            self.skip(node.name)
        self.settled(unit)

    def skip(self, name: str) -> None:
        self.states[name] = "skipped"
        self.journal.step_finished(
            path=name, attempt=0, state="skipped", output=None, error=None, at=self.clock.now(), seconds=0.0, logs=""
        )

    def settled(self, unit: Unit) -> None:
        for index in unit.dependents:
            self.pending[index] -= 1
            if self.pending[index] == 0:
                self.ready.append(index)

    # One unit

    async def run(self, unit: Unit) -> None:
        try:
            inputs = unit.runner.inputs(self.scope)
        except BindingErrors as errors:
            raise self.never_called(unit, _expression_error(errors, unit.nodes[0].name)) from errors
        number = 1
        while not await self.attempt(unit, inputs, number):
            await self.pause(unit.retry or _NO_RETRY, number)
            number += 1
        self.settled(unit)

    def never_called(self, unit: Unit, error: RunError) -> _Failed:
        """Record a failure that came before the call."""
        head = unit.nodes[0]
        self.journal.step_started(path=head.name, attempt=1, kind=head.kind, input=None, at=self.clock.now())
        self.finish(head.name, 1, "failed", StepResult(head.name), error)
        return _Failed(error)

    async def attempt(self, unit: Unit, inputs: Mapping[str, Json], number: int) -> bool:
        """Try a unit once. True when it is settled, False when it is to be tried again; raises `_Failed`."""
        head, started = unit.nodes[0], self.clock.monotonic()
        given = unit.runner.given(0, inputs, _NOTHING)
        self.journal.step_started(path=head.name, attempt=number, kind=head.kind, input=given, at=self.clock.now())
        try:
            results = await self.call(unit, inputs, number)
        except asyncio.CancelledError:
            seconds = self.clock.monotonic() - started
            self.finish(head.name, number, "cancelled", StepResult(head.name, seconds=seconds), None)
            raise
        except CallError as error:
            results = (StepResult(head.name, error=error),)
        if len(unit.nodes) > 1:
            return self.record_chain(unit, inputs, results)
        result = results[0] if results else _no_answer(head.name)
        return self.record(unit, number, head.name, replace(result, seconds=self.clock.monotonic() - started))

    async def call(self, unit: Unit, inputs: Mapping[str, Json], number: int) -> Sequence[StepResult]:
        """Call the unit's runner under its timeout. Raises `CallError` for everything but cancellation."""
        name, run_id, own = unit.nodes[0].name, self.context.run_id, unit.timeout_seconds
        remaining = max(self.deadline_seconds - (self.clock.monotonic() - self.started), 0.0)
        seconds = remaining if own is None else min(own, remaining)
        attempt = Attempt(self.caller, number, seconds, run_id, f"{run_id}:{name}")
        try:
            if own is None:
                return await unit.runner.call(inputs, attempt)
            with _Limit(self.clock, own):
                return await unit.runner.call(inputs, attempt)
        except _LimitPassed:
            message = f"`{name}` took longer than its timeout of {_shown(own or 0.0)}"
            raise CallError("timeout", message, hint="Raise its `timeout`.", source="timeout", status=504) from None
        except CallError:
            raise
        except Exception as error:  # a caller that breaks its contract must not leave the run hanging
            message = f"the call could not be made: {type(error).__name__}: {error}"
            raise CallError("internal", message, source="platform") from error

    def record_chain(self, unit: Unit, inputs: Mapping[str, Json], results: Sequence[StepResult]) -> bool:
        """Record what came back of several nodes that ran in one call."""
        outputs: dict[str, Json] = {}
        for index, node in enumerate(unit.nodes):
            result = results[index] if index < len(results) else _no_answer(node.name)
            if index:
                at = self.clock.now() if result.started_at is None else result.started_at
                given = unit.runner.given(index, inputs, outputs)
                self.journal.step_started(path=node.name, attempt=1, kind=node.kind, input=given, at=at)
            self.record(unit, 1, node.name, result)
            outputs[node.name] = result.output
        return True

    def record(self, unit: Unit, number: int, name: str, result: StepResult) -> bool:
        """Record one node's result. True when it is settled, False when it is to be tried again; raises `_Failed`."""
        error = result.error
        if error is None:
            self.succeed(unit, name, result.output)
            self.finish(name, number, "succeeded", result, None)
            return True
        failure = RunError(error.code, error.message, error.hint, name, error.source, error.status, error.traceback)
        if _try_again(unit.retry, number, error):
            self.finish(name, number, "failed", result, failure)
            return False
        if unit.fallback is not None:
            try:
                output = unit.fallback.evaluate(self.scope)
            except BindingErrors as errors:
                failure = _expression_error(errors, name, "fallback")
            else:
                self.succeed(unit, name, output)
                self.finish(name, number, "succeeded", replace(result, output=output), failure)
                return True
        self.finish(name, number, "failed", result, failure)
        raise _Failed(failure)

    def succeed(self, unit: Unit, name: str, output: Json) -> None:
        self.scope[name] = output
        self.fired.add(name)
        if unit.has_ports:
            self.fired.add(f"{name}.{output['port']}")

    def finish(self, name: str, number: int, state: StepState, result: StepResult, error: RunError | None) -> None:
        self.states[name] = state
        self.journal.step_finished(
            path=name,
            attempt=number,
            state=state,
            output=result.output,
            error=error,
            at=self.clock.now(),
            seconds=result.seconds,
            logs=result.logs,
        )

    async def pause(self, retry: Retry, attempt: int) -> None:
        longest = min(retry.cap_seconds, retry.base_seconds * 2 ** (attempt - 1))
        seconds = longest * (0.5 + 0.5 * self.context.random())
        awake = asyncio.Event()
        handle = self.clock.call_later(seconds, awake.set)
        try:
            await awake.wait()
        finally:
            handle.cancel()


_NO_RETRY = Retry(max=0)
_NOTHING: Mapping[str, Json] = {}


class _LimitPassed(Exception):
    """The time of a `_Limit` is over."""


class _Limit:
    """Cancels what runs inside after some seconds, and then raises `_LimitPassed`: `asyncio.timeout` by our clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.passed = False
        self.task: asyncio.Task[object] | None = None
        self.handle: TimerHandle | None = None
        self.cancelling = 0

    def __enter__(self) -> None:
        self.task = asyncio.current_task()
        assert self.task is not None
        self.cancelling = self.task.cancelling()
        self.handle = self.clock.call_later(max(self.seconds, 0.0), self.pass_)

    def pass_(self) -> None:
        assert self.task is not None
        self.passed = True
        self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.task is not None
        assert self.handle is not None
        self.handle.cancel()
        if self.passed and self.task.uncancel() <= self.cancelling and kind is asyncio.CancelledError:
            raise _LimitPassed from error


def _try_again(retry: Retry | None, attempt: int, error: CallError) -> bool:
    if retry is None or attempt > retry.max:
        return False
    return (
        error.retryable
        or "any" in retry.on
        or ("timeout" in retry.on and error.source == "timeout")
        or ("5xx" in retry.on and error.source != "timeout" and 500 <= error.status <= 599)
        or ("429" in retry.on and error.status == 429)
    )


def _no_answer(name: str) -> StepResult:
    message = f"the worker answered without a result for `{name}`"
    return StepResult(name, error=CallError("no_result", message, source="worker", status=502))


def _expression_error(errors: BindingErrors, node: str | None, key: str = "") -> RunError:
    problem = errors.problems[0]
    where = ".".join(part for part in (node or "return", key, problem.path) if part)
    return RunError(
        "expression", f"`{where}`: {problem.message}", problem.hint or None, node, source="user", status=500
    )


def _bad_output(problems: Sequence[Problem]) -> RunError:
    message = "; ".join(f"{problem.path or 'output'} {problem.message}" for problem in problems[:5])
    hint = "Change what `return` gives back, or the types in `output`."
    return RunError("bad_output", f"the output does not match: {message}", hint, source="user", status=500)


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"
