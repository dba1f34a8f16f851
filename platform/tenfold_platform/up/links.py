"""A sign-in link for who owns the data folder of a running installation."""

from __future__ import annotations

import json
from pathlib import Path

from tenfold_platform.auth.service import bootstrap, find_first_operator, issue_sign_in_link
from tenfold_platform.db import make_engine, make_sessions, transaction
from tenfold_platform.errors import Conflict
from tenfold_platform.settings import Settings
from tenfold_platform.up.folder import DataFolder
from tenfold_platform.up.postgres import EmbeddedPostgres
from tenfold_platform.up.redis import EmbeddedRedis


def make_sign_in_link(data: Path) -> str:
    """Signs the first operator in, or lets the first admin be made.

    Raises:
        Conflict: nothing runs on this folder.
    """
    folder = DataFolder(data)
    running = folder.read_running()
    if running is None:
        raise Conflict(
            f"Nothing runs on the data folder {folder.path}.",
            code="not_running",
            hint="Start it with `tenfold up`, or name the folder with --data.",
        )
    ports = json.loads((folder.path / "ports.json").read_text())
    settings = Settings.model_validate(
        {
            "database_url": EmbeddedPostgres(folder.postgres, ports["postgres"]).url,
            "redis_url": EmbeddedRedis(folder.redis, ports["redis"]).url,
            "data_dir": folder.path,
            "signing_key": folder.signing_key(),
            "console_url": running["console_url"],
            "gateway_url": running["gateway_url"],
        }
    )
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1, application_name="tenfold sign-in")
    try:
        sessions = make_sessions(engine)
        first = bootstrap(sessions, settings).first_admin_link
        if first is not None:
            return first
        with transaction(sessions) as session:
            operator = find_first_operator(session)
            if operator is None:
                raise Conflict("Every operator's account is disabled.", code="no_operator")
            return issue_sign_in_link(session, settings, operator)
    finally:
        engine.dispose()
