"""How the installation is doing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import redis
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from tenfold_platform.heartbeat import SILENT_AFTER_SECONDS
from tenfold_platform.logs.tables import ProcessTable


@dataclass(frozen=True)
class ProcessStatus:
    process: ProcessTable
    alive: bool


def list_processes(session: Session) -> list[ProcessStatus]:
    """By the database's clock, which also wrote `seen_at`."""
    alive = ProcessTable.seen_at > func.now() - timedelta(seconds=SILENT_AFTER_SECONDS)
    rows = session.execute(select(ProcessTable, alive).order_by(ProcessTable.kind, ProcessTable.host, ProcessTable.pid))
    return [ProcessStatus(process, is_alive) for process, is_alive in rows]


def database_size(session: Session) -> int:
    return int(session.execute(text("select pg_database_size(current_database())")).scalar_one())


def is_redis_up(redis_url: str) -> bool:
    client = redis.Redis.from_url(redis_url, socket_timeout=0.5, socket_connect_timeout=0.5)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
