"""The api process: `tenfold api`."""

from __future__ import annotations

import signal

import uvicorn

from tenfold_platform.app import create_app
from tenfold_platform.engine import dispatch
from tenfold_platform.heartbeat import Heartbeat
from tenfold_platform.log import configure_logging
from tenfold_platform.settings import Settings

MAX_HEADER_BYTES = 32 * 1024
DRAIN_SECONDS = 10


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is in flight. The database must be migrated."""
    configure_logging("api")
    dispatch.configure(settings.redis_url.get_secret_value())
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    # uvicorn sends itself the signal again once it has drained: by then there is only the heartbeat's end left to do
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    with Heartbeat(settings.database_url.get_secret_value(), "api"):
        uvicorn.Server(config).run()
