"""A clock that only tests move, a caller in memory, and short ways to load, compile and run."""

from __future__ import annotations

import asyncio
import heapq
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest

from tenfold_expressions import DocumentError, Problem
from tenfold_worklets import (
    CallError,
    CodeCall,
    Json,
    MemoryJournal,
    ModelCall,
    Outcome,
    Plan,
    RunContext,
    StepResult,
    compile_worklet,
    execute,
    load_worklet,
)

EPOCH = 1_700_000_000.0


class Timer:
    def __init__(self, at: float, order: int, callback: Callable[[], None]) -> None:
        self.at, self.order, self.callback, self.cancelled = at, order, callback, False

    def __lt__(self, other: Timer) -> bool:
        return (self.at, self.order) < (other.at, other.order)

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Time stands still until nothing is left to do, and then jumps to the next timer."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.timers: list[Timer] = []
        self.made = 0

    def now(self) -> float:
        return EPOCH + self.elapsed

    def monotonic(self) -> float:
        return self.elapsed

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.made += 1
        timer = Timer(self.elapsed + seconds, self.made, callback)
        heapq.heappush(self.timers, timer)
        return timer

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.Event()
        timer = self.call_later(seconds, awake.set)
        try:
            await awake.wait()
        finally:
            timer.cancel()

    async def drive(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something to its end, jumping from timer to timer."""
        task = asyncio.get_running_loop().create_task(work)
        while True:
            for _ in range(50):
                await asyncio.sleep(0)
            if task.done():
                return task.result()
            while self.timers and self.timers[0].cancelled:
                heapq.heappop(self.timers)
            assert self.timers, "the run waits, and no timer will ever wake it"
            timer = heapq.heappop(self.timers)
            self.elapsed = timer.at
            timer.callback()


class FakeCaller:
    """Answers by the name of the step or the model. An answer is a value, an error to raise, or a function."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.code_calls: list[CodeCall] = []
        self.model_calls: list[ModelCall] = []
        self.started: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []

    async def call_code(self, call: CodeCall) -> Sequence[StepResult]:
        self.code_calls.append(call)
        known: dict[str, Json] = dict(call.values)
        results: list[StepResult] = []
        for step in call.steps:
            arguments = {name: known[ref] for name, ref in step.arguments.items()}
            try:
                known[step.name] = await self.answer(step.name, arguments)
            except CallError as error:
                results.append(StepResult(step.name, error=error, seconds=0.25, logs=f"log of {step.name}"))
                break
            results.append(StepResult(step.name, known[step.name], seconds=0.25, logs=f"log of {step.name}"))
        return results

    async def call_model(self, call: ModelCall) -> Json:
        self.model_calls.append(call)
        return await self.answer(call.ref, call.inputs)

    async def answer(self, name: str, given: Json) -> Json:
        self.started.append(name)
        try:
            answer = self.answers.get(name, {"from": name})
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if callable(answer):
                answer = answer(given)
            if inspect.isawaitable(answer):
                answer = await answer
            if isinstance(answer, Exception):
                raise answer
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        self.ended.append(name)
        return answer


class World:
    """One plan's surroundings: a clock, a caller, a journal."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.journal = MemoryJournal()
        self.caller = FakeCaller({})

    def run(self, plan: Plan, input: Json, answers: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        async def go() -> Outcome:
            outcome: Outcome = await self.clock.drive(self.execute(plan, input, answers, **options))
            return outcome

        return asyncio.run(go())

    async def execute(
        self,
        plan: Plan,
        input: Json,
        answers: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        max_parallel: int = 32,
    ) -> Outcome:
        self.caller.answers |= answers or {}
        context = RunContext("run-1", max_parallel=max_parallel, random=lambda: 1.0)
        return await execute(
            plan,
            input,
            caller=self.caller,
            journal=self.journal,
            clock=self.clock,
            context=context,
            deadline=deadline,
        )

    def after(self, seconds: float, value: Json) -> Callable[[Json], Awaitable[Json]]:
        """An answer that takes a while."""

        async def answer(_given: Json) -> Json:
            await self.clock.sleep(seconds)
            return value

        return answer


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def document() -> Callable[[str], str]:
    """A whole document around the parts that a test is about."""

    def build(text: str) -> str:
        text = textwrap.dedent(text).strip("\n")
        head = "" if text.startswith("worklet:") else "worklet: 1\nname: triage\n"
        return head + text + "\n"

    return build


@pytest.fixture
def compiled(document: Callable[[str], str]) -> Callable[..., Plan]:
    def build(text: str, **known: Any) -> Plan:
        return compile_worklet(load_worklet(document(text), filename="triage.yaml"), **known)

    return build


@pytest.fixture
def problems(document: Callable[[str], str]) -> Callable[..., list[Problem]]:
    """Everything that loading, or else compiling, a document reports."""

    def find(text: str, **known: Any) -> list[Problem]:
        with pytest.raises(DocumentError) as caught:
            compile_worklet(load_worklet(document(text), filename="triage.yaml"), **known)
        return caught.value.problems

    return find


@pytest.fixture
def call_error() -> Callable[..., CallError]:
    def build(code: str = "user_error", message: str = "it broke", **options: Any) -> CallError:
        options = {"source": "user", "status": 500} | options
        return CallError(code, message, **options)

    return build
