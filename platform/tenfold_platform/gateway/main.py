"""`tenfold gateway`: builds the parts, serves until told to stop, and leaves nothing unsaid behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import LiteralString

import psycopg
import structlog
import uvloop

from tenfold_platform.gateway import queries
from tenfold_platform.gateway.app import GatewayApp
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.demand import Demand, DemandLimits
from tenfold_platform.gateway.direct import Direct
from tenfold_platform.gateway.load import LoadReport
from tenfold_platform.gateway.loader import SnapshotLoader
from tenfold_platform.gateway.metrics import Metrics
from tenfold_platform.gateway.model_metrics import ModelMetrics
from tenfold_platform.gateway.pool import Pool, PoolLimits
from tenfold_platform.gateway.runner import Runner, RunnerLimits
from tenfold_platform.gateway.server import listen, make_server
from tenfold_platform.gateway.shadow_metrics import ShadowMetrics
from tenfold_platform.gateway.shadows import ShadowLimits, Shadows
from tenfold_platform.gateway.snapshot import Snapshot
from tenfold_platform.gateway.spool import Spool
from tenfold_platform.gateway.static import find_studio
from tenfold_platform.gateway.traffic import Traffic
from tenfold_platform.gateway.waking import Waker
from tenfold_platform.heartbeat import Heartbeat
from tenfold_platform.log import configure_logging
from tenfold_platform.settings import Settings
from tenfold_runtime import memory

log = structlog.get_logger(__name__)

FIRST_LOAD_SECONDS = 5.0
KEYS_SECONDS = 3.0
DRAIN_SECONDS = 10


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises SystemExit with a reason when the address cannot be had."""
    try:
        bound = listen(settings.host, settings.gateway_port)
    except OSError as error:
        where = f"{settings.host}:{settings.gateway_port}"
        raise SystemExit(
            f"The gateway cannot listen on {where}: {error.strerror}. Set TENFOLD_GATEWAY_PORT."
        ) from error
    configure_logging("gateway")
    memory.keep_what_is_freed()
    database_url = settings.database_url.get_secret_value()
    with bound, Heartbeat(database_url, "gateway"), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, bound))


async def serve(settings: Settings, bound: socket.socket, *, limits: PoolLimits | None = None) -> None:
    """Serves on a bound socket until the process is told to stop, then drains for up to 10 s."""
    async with running(settings, limits=limits) as gateway:
        app = GatewayApp(gateway)
        server = make_server(
            app,
            shortcut=Direct(gateway, app),
            drain_seconds=DRAIN_SECONDS,
            max_message_bytes=settings.max_body_bytes,
        )
        log.info("gateway.listening", address=bound.getsockname()[:2])
        await server.serve(sockets=[bound])


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    limits: PoolLimits | None = None,
    runner_limits: RunnerLimits | None = None,
    demand_limits: DemandLimits | None = None,
    shadow_limits: ShadowLimits | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway with its background work: the snapshot kept fresh, what was noted flushed, predictions carried out."""
    url = settings.database_url.get_secret_value()
    reader, writer, notes, requests = (
        Database(url, application_name=f"tenfold gateway: {purpose}")
        for purpose in ("snapshot", "runs", "notes", "requests")
    )
    work = Database(url, application_name="tenfold gateway: predictions", timeout_seconds=30)  # answers may be large
    leases = Database(url, application_name="tenfold gateway: leases")
    wakes = Database(url, application_name="tenfold gateway: wakes")
    scrapes = Database(url, application_name="tenfold gateway: metrics")
    waker = Waker(wakes)
    pool = Pool(limits or PoolLimits(queue_length=settings.queue_length), waker.wake)
    demand = Demand(notes, pool, demand_limits)
    traffic = Traffic(notes)

    def changed(snapshot: Snapshot) -> None:
        pool.update(snapshot)
        traffic.forget_others(snapshot.versions.keys())

    loader = SnapshotLoader(reader, changed)
    spool = Spool(settings.spool_dir, writer)
    shadows = Shadows(notes, pool, shadow_limits)
    runner = Runner(work, leases, pool, lambda: loader.snapshot, traffic, runner_limits)
    gateway = Gateway(
        loader=loader,
        pool=pool,
        spool=spool,
        metrics=Metrics(
            lambda: _gauges(pool, spool, loader, runner, shadows),
            ModelMetrics(pool, traffic, lambda: loader.snapshot, scrapes),
            ShadowMetrics(shadows, lambda: loader.snapshot),
        ),
        traffic=traffic,
        runner=runner,
        shadows=shadows,
        database=requests,
        signing_key=settings.signing_key.get_secret_value(),
        console_origin=settings.console_url.rstrip("/"),
        own_url=settings.gateway_url.rstrip("/"),
        studio_dir=find_studio(settings.studio_dir),
        max_body_bytes=settings.max_body_bytes,
    )
    tasks = [
        asyncio.create_task(loader.run(), name="snapshot"),
        asyncio.create_task(spool.run(), name="spool"),
        asyncio.create_task(_flush_keys(gateway, notes), name="keys"),
        asyncio.create_task(traffic.run(), name="traffic"),
        asyncio.create_task(shadows.run(), name="shadows"),
        asyncio.create_task(runner.run(), name="predictions"),
        asyncio.create_task(waker.run(), name="wakes"),
        asyncio.create_task(demand.run(), name="demand"),
        asyncio.create_task(LoadReport(notes, pool).run(), name="load"),
    ]
    try:
        await _first_load(loader)
        yield gateway
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.close()
        await spool.close()
        await _last_keys(gateway, notes)
        await traffic.close()
        await shadows.close()
        pool.close()
        for database in (reader, writer, notes, requests, work, leases, wakes, scrapes):
            await database.close()


async def _first_load(loader: SnapshotLoader) -> None:
    """Better to begin with answers than with 503, if PostgreSQL is nearly there."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOAD_SECONDS):
            await loader.loaded.wait()


async def _flush_keys(gateway: Gateway, database: Database) -> None:
    while True:
        await asyncio.sleep(KEYS_SECONDS)
        await flush_keys(gateway, database)


async def flush_keys(gateway: Gateway, database: Database) -> None:
    """Writes when keys were last used. What cannot be written now is tried again with the next batch."""
    used, gateway.used_keys = gateway.used_keys, {}
    if used and not await _quietly(database, queries.TOUCH_KEYS, [list(used), list(used.values())]):
        gateway.used_keys = used | gateway.used_keys


async def _last_keys(gateway: Gateway, database: Database) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await flush_keys(gateway, database)


async def _quietly(database: Database, query: LiteralString, values: list[object]) -> bool:
    """Whether it was done. PostgreSQL being away is the snapshot loader's to report."""
    try:
        async with database.connection() as connection:
            await connection.execute(query, values)
    except (psycopg.Error, OSError):
        return False
    return True


def _gauges(pool: Pool, spool: Spool, loader: SnapshotLoader, runner: Runner, shadows: Shadows) -> dict[str, float]:
    return {
        "queue_length": pool.waiting,
        "in_flight": pool.in_flight,
        "predictions_running": runner.running,
        "shadow_calls_running": shadows.running,
        "spool_bytes": spool.pending_bytes,
        "database_up": 0.0 if loader.problem else 1.0,
    }
