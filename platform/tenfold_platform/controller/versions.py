"""Preparing a model version: environment, start, load, example, alias, app. One small step a call."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform import stages
from tenfold_platform.apps import ready_made
from tenfold_platform.apps import service as apps
from tenfold_platform.apps.tables import ReleaseState
from tenfold_platform.clock import Clock
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.plan import LOAD_IS_LATE
from tenfold_platform.controller.probe import request
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.service import log_subject
from tenfold_platform.deployments.tables import ReplicaState, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.errors import PlatformError
from tenfold_platform.logs import service as logs
from tenfold_platform.models import packing
from tenfold_platform.models import service as models
from tenfold_platform.models.tables import ModelTable, VersionState, VersionTable
from tenfold_runtime.frames import FrameError

log = logging.getLogger(__name__)

EXAMPLE_TIMEOUT_SECONDS = 300.0
EXAMPLE_HINT = "Its log says more; correct predict or the example, and deploy again."
PROCESS_ENDED = "its process ended while it answered"
OUT_OF_MEMORY = "out_of_memory"  # as schedulers say it
UNFINISHED = (VersionState.PENDING, VersionState.BUILDING, VersionState.STARTING)


def unfinished() -> Select[UUID, datetime]:
    """Versions that are not prepared yet, or whose app is not."""
    waits_for_app = VersionTable.stages.contains([{"name": "app", "state": "running"}])
    query = select(VersionTable.id, VersionTable.created_at)
    return query.where(or_(VersionTable.state.in_(UNFINISHED), waits_for_app))


def advance(sessions: sessionmaker[Session], clock: Clock, masks: Masks, version_id: UUID) -> bool:
    """Takes the next step of one version, if there is one now. True when something changed."""
    with transaction(sessions) as session:
        version = _locked(session, version_id)
        if version is None:
            return False
        if version.state == VersionState.READY:
            return _watch_app(session, version, clock())
        if version.state not in UNFINISHED:
            return False
        replica = _step(session, version, clock())
        changed = session.is_modified(version)
    if replica is None:
        return changed
    _try_example(sessions, clock, masks, version_id, replica)
    return True


def _locked(session: Session, version_id: UUID) -> VersionTable | None:
    query = select(VersionTable).where(VersionTable.id == version_id).with_for_update(skip_locked=True)
    return session.scalars(query).one_or_none()


def _step(session: Session, version: VersionTable, now: datetime) -> ReplicaTable | None:
    """Moves state and stages by what environment and replica are at. Returns a ready replica, to try the example on."""
    environment = session.get_one(EnvironmentTable, version.environment_id)
    match environment.state:
        case EnvironmentState.FAILED:
            if models.is_fetching(version):
                version.stages = stages.moved(version.stages, models.FETCH, "skipped", now)
            models.fail(session, version, environment.reason, environment.hint, now)
            return None
        case EnvironmentState.READY if models.is_fetching(version):
            _environment_built(version, environment, now)
            version.state = VersionState.BUILDING
            return None
        case EnvironmentState.READY:
            _environment_done(version, environment, now)
        case _:
            version.state = VersionState.BUILDING
            version.stages = stages.moved(version.stages, "environment", "running", now, environment.state)
            return None
    deployment = deployments.of_version(session, version.id)
    replicas = deployments.list_replicas(session, deployment.id, ended=1)
    replica = replicas[0] if replicas else None
    if replica is None:
        return None
    return _follow(session, version, replica, now)


def _environment_done(version: VersionTable, environment: EnvironmentTable, now: datetime) -> None:
    if version.state == VersionState.STARTING:
        return
    _environment_built(version, environment, now)
    version.state = VersionState.STARTING
    version.stages = stages.moved(version.stages, "start", "running", now)


def _environment_built(version: VersionTable, environment: EnvironmentTable, now: datetime) -> None:
    if stages.state_of(version.stages, "environment") in stages.OPEN:
        version.stages = stages.moved(
            version.stages, "environment", "done", now, f"{len(environment.packages)} packages"
        )


def _follow(session: Session, version: VersionTable, replica: ReplicaTable, now: datetime) -> ReplicaTable | None:
    match replica.state:
        case ReplicaState.FAILED if packing.shares_worker(replica):
            pass  # the next one, alone, shows whether it was this model's fault
        case ReplicaState.FAILED:
            if replica.started_at is not None:  # its process was there, so it was loading, whether we saw it or not
                version.stages = _loading(version.stages, now)
            models.fail(session, version, replica.reason, _next_step(replica), now)
        case ReplicaState.LOADING:
            version.stages = _loading(version.stages, now)
        case ReplicaState.READY:
            ready = stages.moved(_loading(version.stages, now), "load", "done", now)
            version.stages = stages.moved(ready, "example", "running", now)
            return replica
        case _:
            pass
    return None


def _next_step(replica: ReplicaTable) -> str:
    if replica.exit and replica.exit.get("reason") == OUT_OF_MEMORY:
        return "Give it more under resources.memory in config.yaml, or load less, and deploy again."
    if replica.reason.startswith(LOAD_IS_LATE):
        return "Give it longer under runtime.health_checks.startup_threshold_seconds in config.yaml, or see its log."
    return "Its log says more; correct it and deploy again."


def _loading(current: list[Any], now: datetime) -> list[Any]:
    if stages.state_of(current, "load") != "waiting":
        return current
    return stages.moved(stages.moved(current, "start", "done", now), "load", "running", now)


def _try_example(
    sessions: sessionmaker[Session], clock: Clock, masks: Masks, version_id: UUID, replica: ReplicaTable
) -> None:
    """Calls the model once with its example, outside of any transaction, then finishes the version either way."""
    with transaction(sessions) as session:
        example = session.get_one(VersionTable, version_id).example
    failure = "" if example is None else masks.hide(replica.id, _call_with_example(replica.address or "", example))
    if failure == PROCESS_ENDED and packing.shares_worker(replica):
        return  # as in `_follow`, once the replica's end is noted
    with transaction(sessions) as session:
        version = _locked(session, version_id)
        if version is None or version.state != VersionState.STARTING:
            return
        now = clock()
        if failure:
            logs.append(session, log_subject(replica.deployment_id), f"[tenfold] the example failed: {failure}\n")
            models.fail(session, version, f"The model failed on its own example: {failure}", EXAMPLE_HINT, now)
            return
        done = "done" if example is not None else "skipped"
        version.stages = stages.moved(version.stages, "example", done, now)  # type: ignore[arg-type]
        _finish(session, version, now)


def _call_with_example(address: str, example: Any) -> str:
    """What went wrong, or nothing."""
    body = json.dumps(example).encode()
    try:
        frame = request(
            address, "predict", body, timeout_seconds=EXAMPLE_TIMEOUT_SECONDS, content_type="application/json"
        )
    except TimeoutError:
        return f"it did not answer within {EXAMPLE_TIMEOUT_SECONDS:g} s"
    except (OSError, FrameError):
        return PROCESS_ENDED
    if frame.header.get("ok") or frame.header.get("code") == "no_such_method":
        return ""  # a model that only talks over a websocket has nothing to try
    return str(frame.header.get("message") or frame.header.get("code"))


def _finish(session: Session, version: VersionTable, now: datetime) -> None:
    version.state, version.ready_at, version.reason, version.hint = VersionState.READY, now, "", ""
    session.flush()
    model = session.get_one(ModelTable, version.model_id)
    if version.alias_wanted:
        models.point_alias(session, model, version.alias_wanted, version)
    others = [other.id for other in models.list_versions(session, model.id) if other.id != version.id]
    deployments.stop_unneeded(session, others)
    _make_app(session, model, version, now)


def _make_app(session: Session, model: ModelTable, version: VersionTable, now: datetime) -> None:
    if stages.state_of(version.stages, "app") != "waiting":
        return
    if version.alias_wanted != models.PRODUCTION:
        version.stages = stages.moved(version.stages, "app", "skipped", now, "only the production version has one")
        return
    try:
        release = ready_made.refresh(session, model, version, now)
    except PlatformError as error:
        log.exception("the ready-made app of %s could not be made", model.name)
        version.stages = stages.moved(version.stages, "app", "failed", now, error.message)
        return
    if release is None:
        version.stages = stages.moved(version.stages, "app", "skipped", now, "the app was edited: it is left as it is")
        return
    version.stages = stages.moved(version.stages, "app", "running", now)


def _watch_app(session: Session, version: VersionTable, now: datetime) -> bool:
    release = apps.newest_release_pinning(session, version)
    if release is None or release.state == ReleaseState.PREPARING:
        return False
    state: stages.StageState = "done" if release.state == ReleaseState.READY else "failed"
    version.stages = stages.moved(version.stages, "app", state, now, release.reason)
    return True
