from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class Process(BaseModel):
    kind: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    alive: bool


class DatabaseStatus(BaseModel):
    ok: bool
    size_bytes: int | None


class RedisStatus(BaseModel):
    ok: bool


class IsolationStatus(BaseModel):
    """How well user code is kept from the machine, and what keeps the machine from a better level."""

    level: Literal["strict", "reduced", "none"]
    network: Literal["none", "open"]
    missing: list[str]


class SystemStatus(BaseModel):
    version: str
    processes: list[Process]
    database: DatabaseStatus
    redis: RedisStatus
    isolation: IsolationStatus
    data_dir: str


class Health(BaseModel):
    ok: Literal[True]


class ErrorBody(BaseModel):
    code: str
    message: str
    hint: str
    details: list[dict[str, Any]]
    request_id: str


class ErrorAnswer(BaseModel):
    """What every error looks like."""

    error: ErrorBody
