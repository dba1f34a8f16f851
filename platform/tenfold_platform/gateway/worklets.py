"""The fast path of worklets: the interpreter in this process, workers called directly, history written behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenfold_platform.auth.permissions import Action
from tenfold_platform.errors import InvalidInput, PlatformError, Unavailable
from tenfold_platform.gateway import calls
from tenfold_platform.gateway.bundle import Bundle
from tenfold_platform.gateway.calls import CALL_SECONDS, GetSnapshot, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller, nothing_here, own_workspace
from tenfold_platform.gateway.faults import GatewayFault, NotReady
from tenfold_platform.gateway.http import API_HEADERS, JSON_TYPE, Header, Request, WhileConnected, read_json, write_json
from tenfold_platform.gateway.pool import Pool, lane_of
from tenfold_platform.gateway.record import RunHead, RunJournal, encode_record
from tenfold_platform.gateway.snapshot import App, Release
from tenfold_platform.gateway.traffic import Traffic
from tenfold_platform.ids import new_id
from tenfold_worklets.host import CallError, CodeCall, ModelCall, Outcome, RunContext, StepResult, SystemClock
from tenfold_worklets.interpreter import InputError, execute
from tenfold_worklets.plan import Plan
from tenfold_worklets.types import Json

DEFAULT_CONCURRENCY = 256
_CANCELLED = 499
_CLOCK = SystemClock()


class WorkletBusy(PlatformError):
    status, code = 429, "worklet_busy"


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended and been noted."""

    id: UUID
    outcome: Outcome


async def call_worklet(gateway: Gateway, request: Request, workspace: str, app_name: str, name: str) -> None:
    """`POST /v1/{workspace}/apps/{app}/worklets/{worklet}`: the body is the input, the answer is the output.

    Only for worklets with an HTTP trigger: the others are there for the app's own views.
    """
    caller, app, release, bundle, plan = await gateway.look_up(
        lambda: _callable(gateway, request, workspace, app_name, name)
    )
    caller.require(Action.WORKLETS_RUN)
    request.target = f"{workspace}/{app.name}/{name}"
    input = read_json(await request.body(gateway.max_body_bytes))
    async with WhileConnected(request):
        run = await run_worklet(gateway, app, release, bundle, plan, input, request.id, "http", caller.label)
    headers: list[Header] = [(b"x-tenfold-run", str(run.id).encode())]
    if run.outcome.state != "succeeded":
        raise run_fault(run, tell_traceback=caller.may_see_faults)
    await request.respond(200, [JSON_TYPE, *headers, *API_HEADERS], write_json(run.outcome.output))


def _callable(
    gateway: Gateway, request: Request, workspace: str, app_name: str, name: str
) -> tuple[Caller, App, Release, Bundle, Plan]:
    caller = gateway.authenticate(request)
    app, release, bundle = find_release(caller, workspace, app_name)
    plan = bundle.worklets.get(name)
    if plan is None or not plan.http:
        raise nothing_here()
    return caller, app, release, bundle, plan


async def run_worklet(
    gateway: Gateway,
    app: App,
    release: Release,
    bundle: Bundle,
    plan: Plan,
    input: Json,
    request_id: str,
    trigger: str,
    caller_label: str,
    deadline_seconds: float | None = None,
) -> Finished:
    """Runs a plan and notes the run before returning. Raises InvalidInput, WorkletBusy or SpoolFull, which are no runs.

    When the caller is cancelled the run ends as cancelled, is noted, and returned.
    """
    gateway.spool.check()
    with _admitted(gateway, app, plan):
        head = RunHead(
            new_id(), app.workspace_id, app.id, release.id, plan.name, trigger, caller_label, request_id, time.time()
        )
        journal = RunJournal(plan)
        caller = WorkerCaller(gateway.pool, gateway.snapshot, gateway.traffic, bundle, request_id)
        context = RunContext(str(head.id))
        try:
            outcome = await execute(
                plan, input, caller=caller, journal=journal, clock=_CLOCK, context=context, deadline=deadline_seconds
            )
        except InputError as error:
            raise bad_input(error) from None
        gateway.spool.append(encode_record(head, journal, input, outcome, time.time()))
        gateway.metrics.run_ended(outcome.state)
        return Finished(head.id, outcome)


def find_release(caller: Caller, workspace: str, app_name: str) -> tuple[App, Release, Bundle]:
    """An app of the caller's own workspace with its live release. Raises NotFound, or Unavailable when unreadable."""
    app = own_workspace(caller, workspace).apps.get(app_name)
    if app is None:
        raise nothing_here()
    release, bundle = live_release(app)
    return app, release, bundle


def live_release(app: App) -> tuple[Release, Bundle]:
    """What an app runs from. Raises NotFound when it was never released."""
    if app.release is None:
        raise nothing_here()
    if app.release.bundle is None:
        raise Unavailable(
            f"Release {app.release.number} cannot be run by this gateway: {app.release.problem}.",
            code="release_unreadable",
            hint="Make a new release of the app, or upgrade the gateway.",
        )
    return app.release, app.release.bundle


def run_fault(run: Finished, *, tell_traceback: bool) -> PlatformError:
    """Why a run did not succeed, as an answer."""
    error = run.outcome.error
    assert error is not None
    status = error.status if 400 <= error.status <= 599 and error.status != 499 else 503
    detail: dict[str, Any] = {"path": error.node or "", "message": error.message, "source": error.source}
    if tell_traceback and error.traceback:
        detail["traceback"] = error.traceback
    headers = {"X-Tenfold-Run": str(run.id)}
    if status in (429, 503):
        headers["Retry-After"] = "2"
    return PlatformError(
        error.message, code=error.code, hint=error.hint or "", details=[detail], status=status, headers=headers
    )


def bad_input(error: InputError) -> InvalidInput:
    details = [
        {"path": problem.path, "message": problem.message, "hint": problem.hint or ""} for problem in error.problems
    ]
    first = error.problems[0]
    message = f"{first.path} {first.message}".strip() if len(details) == 1 else f"{len(details)} fields are wrong."
    return InvalidInput(message, code="bad_input", hint=first.hint or "", details=details)


class WorkerCaller:
    """The interpreter's way to workers: models by the release's pinned versions, code by its digest and environment."""

    def __init__(self, pool: Pool, snapshot: GetSnapshot, traffic: Traffic, bundle: Bundle, request_id: str) -> None:
        self._pool = pool
        self._snapshot = snapshot
        self._traffic = traffic
        self._bundle = bundle
        self._request_id = request_id

    async def call_model(self, call: ModelCall) -> Json:
        with _as_call_errors():
            return await predict_pinned(
                self._pool,
                self._snapshot,
                self._traffic,
                self._bundle,
                call.ref,
                write_json(call.inputs),
                request_id=self._request_id,
                timeout_seconds=call.timeout_seconds or CALL_SECONDS,
            )

    async def call_code(self, call: CodeCall) -> Sequence[StepResult]:
        with _as_call_errors():
            environment = self._bundle.environments.get(call.environment)
            if environment is None or self._bundle.code_digest is None:
                raise CallError(
                    "not_deployed",
                    f"The release has no environment `{call.environment}`.",
                    source="platform",
                    status=503,
                )
            lane = lane_of(self._pool, self._snapshot().code_deployments.get(environment))
            header: dict[str, Any] = {
                "op": "call",
                "code": self._bundle.code_digest,
                "steps": [step.to_frame() for step in call.steps],
                "request_id": self._request_id,
            }
            seconds = call.timeout_seconds or CALL_SECONDS
            results = await calls.call_code(lane, header, write_json(call.values), timeout_seconds=seconds)
        return [_step_result(result) for result in results]


async def predict_pinned(
    pool: Pool,
    snapshot: GetSnapshot,
    traffic: Traffic,
    bundle: Bundle,
    ref: str,
    body: bytes,
    *,
    request_id: str,
    timeout_seconds: float,
) -> Json:
    """A prediction by the version that a release pinned under `name@alias`."""
    version_id = bundle.models.get(ref)
    version = snapshot().versions.get(version_id) if version_id is not None else None
    if version is None:
        raise NotReady("not_deployed", f"The model {ref} that this release uses is gone.", retry_after_seconds=60)
    began, status = time.perf_counter(), _CANCELLED
    try:
        lane = calls.version_lane(pool, version)
        value = await calls.predict_json(lane, body, request_id=request_id, timeout_seconds=timeout_seconds)
        status = 200
    except PlatformError as error:
        status = error.status
        raise
    finally:
        traffic.note(version.id, status, time.perf_counter() - began)
    return value


@contextmanager
def _as_call_errors() -> Iterator[None]:
    try:
        yield
    except WorkerFault as fault:
        raise CallError(
            fault.code,
            fault.message,
            hint=fault.hint or None,
            source=fault.source,
            status=fault.status,
            traceback=fault.traceback,
            retryable=fault.code in ("not_ready", "code_missing"),
        ) from fault
    except PlatformError as fault:
        retryable = isinstance(fault, GatewayFault) and fault.retryable
        source = "timeout" if fault.status == 504 else "worker"
        raise CallError(
            fault.code, fault.message, hint=fault.hint or None, source=source, status=fault.status, retryable=retryable
        ) from fault


def _step_result(result: Mapping[str, Any]) -> StepResult:
    error = None
    if result.get("ok") is not True:
        given = result.get("error")
        said: Mapping[str, Any] = given if isinstance(given, dict) else {"message": str(given)}
        status = said.get("status")
        error = CallError(
            str(said.get("code") or "user_error"),
            str(said.get("message") or "The function failed."),
            hint=str(said["hint"]) if said.get("hint") else None,
            source=str(said.get("source") or "user"),
            status=status if isinstance(status, int) and 400 <= status <= 599 else 500,
            traceback=said.get("traceback") if isinstance(said.get("traceback"), str) else None,
        )
    started_at, seconds = result.get("started_at"), result.get("seconds")
    return StepResult(
        name=str(result.get("name")),
        output=result.get("output"),
        error=error,
        started_at=float(started_at) if isinstance(started_at, (int, float)) else None,
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        logs=str(result.get("logs") or ""),
    )


@contextmanager
def _admitted(gateway: Gateway, app: App, plan: Plan) -> Iterator[None]:
    """Counts the run among those of its worklet. Raises WorkletBusy when there are as many as it lets in at once."""
    key = (app.id, plan.name)
    running = gateway.running.get(key, 0)
    limit = plan.settings.concurrency or DEFAULT_CONCURRENCY
    if running >= limit:
        raise WorkletBusy(
            f"{running} runs of this worklet are under way already.",
            hint="Try again in a moment, or raise `settings.concurrency`.",
            headers={"Retry-After": "1"},
        )
    gateway.running[key] = running + 1
    try:
        yield
    finally:
        gateway.running[key] -= 1
        if not gateway.running[key]:
            del gateway.running[key]
