"""`tenfold engine`: a Celery worker for platform jobs. It runs no user code; builds are subprocesses of their own."""

from __future__ import annotations

import os
import socket
from uuid import UUID

from tenfold_platform import tables
from tenfold_platform.db import make_engine, make_sessions
from tenfold_platform.egress import Allowed, Egress
from tenfold_platform.engine.builds import build_environment, complete_bytecode
from tenfold_platform.engine.celery_app import make_celery
from tenfold_platform.environments.service import tools_of
from tenfold_platform.files import service as files
from tenfold_platform.heartbeat import Heartbeat
from tenfold_platform.log import configure_logging
from tenfold_platform.models.tasks import Fetcher
from tenfold_platform.secrets.sealing import Keyring
from tenfold_platform.settings import Settings

__all__ = ["run", "tables"]  # tables: the whole schema must be known before the first query


def run(settings: Settings, *, concurrency: int = 4) -> None:
    """Serves until SIGTERM; a job that is cut off is found again by its expired lease."""
    configure_logging("engine")
    database_url = settings.database_url.get_secret_value()
    sessions = make_sessions(make_engine(database_url, pool_size=concurrency * 3, application_name="tenfold engine"))
    owner = f"engine:{socket.gethostname()}:{os.getpid()}"
    tools = tools_of(settings)
    celery = make_celery(settings.redis_url.get_secret_value())

    fetcher = Fetcher(
        sessions,
        files.make_store(settings),
        Egress(Allowed.parse(settings.egress_allow)),
        Keyring.of(settings),
        max_bytes=settings.max_package_bytes,
    )

    @celery.task(name="tenfold.fetch_data")  # type: ignore[untyped-decorator]
    def fetch_data_task(version_id: str) -> None:
        fetcher.fetch(UUID(version_id))

    @celery.task(name="tenfold.build_environment")  # type: ignore[untyped-decorator]
    def build_environment_task(environment_id: str) -> None:
        build_environment(sessions, settings.environments_dir, UUID(environment_id), owner, tools)

    @celery.task(name="tenfold.compile_environment")  # type: ignore[untyped-decorator]
    def compile_environment_task(environment_id: str) -> None:
        complete_bytecode(sessions, settings.environments_dir, UUID(environment_id), tools)

    with Heartbeat(database_url, "engine"):
        celery.worker_main(
            [
                "worker",
                "--pool=threads",
                f"--concurrency={concurrency}",
                "--loglevel=INFO",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
