"""What gateways tell PostgreSQL of the calls that wait and are under way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.deployments.tables import DeploymentTable, LoadTable
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.load import LoadReport

PATH = "/v1/acme/models/churn/predict"


def told(sessions: sessionmaker[Session]) -> list[tuple[int, int]]:
    with sessions() as session:
        return [(row.waiting, row.in_flight) for row in session.scalars(select(LoadTable))]


def test_calls_are_told_while_there_are_any_and_that_there_are_none_once(
    serve, world, workspace, key, make_worker, sessions
) -> None:
    worker = make_worker(lambda worker, header, payload, reply: (worker.hold.wait(30), reply.ok()))
    version = world.served(workspace, worker)
    running = serve()
    with running.client(key) as client:
        callers = [threading.Thread(target=client.post, args=(PATH,), kwargs={"json": 1}) for _ in range(5)]
        for caller in callers:
            caller.start()
        running.wait_for(lambda _: told(sessions) == [(3, 2)])
        worker.hold.set()
        for caller in callers:
            caller.join()
        running.wait_for(lambda _: told(sessions) == [(0, 0)])
    with sessions() as session:
        (row,) = session.scalars(select(LoadTable))
        deployment = session.get_one(DeploymentTable, row.deployment_id)
    assert deployment.version_id == version.id


def test_of_a_deployment_that_is_gone_nothing_is_told(world, workspace, sessions, settings) -> None:
    kept = world.deployment(world.model(workspace))
    gone = world.deployment(world.model(workspace, "gone"))

    class Pool:
        def loads(self) -> Any:
            return iter([(kept, 1, 2), (gone, 3, 4)])

    with sessions.begin() as session:
        session.delete(session.get_one(DeploymentTable, gone))

    async def report() -> None:
        database = Database(settings.database_url.get_secret_value(), application_name="test")
        try:
            await LoadReport(database, Pool()).report()  # type: ignore[arg-type]
        finally:
            await database.close()

    asyncio.run(report())
    assert told(sessions) == [(1, 2)]
