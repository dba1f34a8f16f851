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


class SystemStatus(BaseModel):
    version: str
    processes: list[Process]
    database: DatabaseStatus
    redis: RedisStatus
    isolation: Literal["none"]
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
