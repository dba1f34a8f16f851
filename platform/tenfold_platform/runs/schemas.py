"""What the management API gives for runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class RunSummary(BaseModel):
    id: UUID
    app: str
    worklet: str
    release: int
    state: str
    trigger: str
    caller: str
    started_at: datetime
    duration_ms: float | None
    error: dict[str, Any] | None


class Step(BaseModel):
    path: str
    kind: str
    attempt: int
    state: str
    input: Any
    output: Any
    error: dict[str, Any] | None
    logs: str
    started_at: datetime | None
    duration_ms: float | None
    offset_ms: float | None


class Run(RunSummary):
    input: Any
    output: Any
    request_id: str
    finished_at: datetime | None
    graph: dict[str, Any]
    steps: list[Step]
