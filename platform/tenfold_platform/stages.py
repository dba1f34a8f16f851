"""The stages that people watch while a version or a release is prepared: a list in order, each with its own clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

VERSION_STAGES = ("upload", "fetch", "environment", "start", "load", "example", "app")
RELEASE_STAGES = ("validate", "environment", "code", "start", "live")

StageState = Literal["waiting", "running", "done", "reused", "skipped", "failed"]
OPEN: tuple[StageState, ...] = ("waiting", "running")


def fresh(names: tuple[str, ...]) -> list[Any]:
    return [{"name": name, "state": "waiting", "started_at": None, "seconds": None, "detail": ""} for name in names]


def moved(stages: list[Any], name: str, state: StageState, now: datetime, detail: str = "") -> list[Any]:
    """The stages with one of them in a new state; a new list, so that the row is seen as changed."""
    return [_moved(stage, state, now, detail) if stage["name"] == name else stage for stage in stages]


def state_of(stages: list[Any], name: str) -> StageState:
    found: StageState = next(stage["state"] for stage in stages if stage["name"] == name)
    return found


def all_ended(stages: list[Any]) -> bool:
    return not any(stage["state"] in OPEN for stage in stages)


def failed_at(stages: list[Any], now: datetime, detail: str) -> list[Any]:
    """The first open stage failed; those after it will not happen."""
    names = [stage["name"] for stage in stages if stage["state"] in OPEN]
    if not names:
        return stages
    stages = moved(stages, names[0], "failed", now, detail)
    for name in names[1:]:
        stages = moved(stages, name, "skipped", now)
    return stages


def _moved(stage: dict[str, Any], state: StageState, now: datetime, detail: str) -> dict[str, Any]:
    if stage["state"] == state and stage["detail"] == detail:
        return stage
    started_at = stage["started_at"]
    if state == "running" and started_at is None:
        started_at = now.isoformat()
    seconds = stage["seconds"]
    if state in ("done", "reused", "failed"):
        begun = datetime.fromisoformat(started_at) if started_at else now
        seconds = round(max(0.0, (now - begun).total_seconds()), 3)
    return stage | {"state": state, "started_at": started_at, "seconds": seconds, "detail": detail}
