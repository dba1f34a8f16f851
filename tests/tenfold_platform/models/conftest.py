"""A workspace with a key that may deploy, and packages to deploy with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.models.tables import VersionState, VersionTable

PACKAGE = {
    "config.yaml": b"requirements: []\nmodel_metadata: {tenfold: {}}\n",
    "model/model.py": b"class Model:\n    def predict(self, inputs):\n        return inputs\n",
}


@pytest.fixture
def world(
    make_workspace: Callable[..., Any],
    make_key: Callable[..., Any],
    as_key: Callable[..., Any],
    sessions: sessionmaker[Session],
) -> Any:
    """A client with the key of one workspace, and that workspace's address."""

    class World:
        PACKAGE = PACKAGE
        workspace = make_workspace("acme")
        client: httpx.Client = as_key(make_key(workspace, "deploy").text)
        url = "/api/v1/workspaces/acme"

        def upload(self, files: dict[str, bytes]) -> list[dict[str, Any]]:
            entries = []
            for path, content in files.items():
                digest = hashlib.sha256(content).hexdigest()
                answer = self.client.put(
                    f"{self.url}/blobs/{digest}", content=content, headers={"Content-Type": "application/octet-stream"}
                )
                assert answer.is_success, answer.text
                entries.append({"path": path, "digest": digest, "size": len(content)})
            return entries

        def create(self, files: dict[str, bytes] = PACKAGE, name: str = "wine", **more: Any) -> httpx.Response:
            body = {"files": self.upload(files), **more}
            return self.client.post(f"{self.url}/models/{name}/versions", json=body)

        def get(self, path: str) -> Any:
            answer = self.client.get(f"{self.url}{path}")
            assert answer.status_code == 200, answer.text
            return answer.json()

        def make_ready(self, *numbers: int) -> None:
            """What the controller would do once their replicas answered."""
            with transaction(sessions) as session:
                for number in numbers:
                    version = session.scalars(select(VersionTable).where(VersionTable.number == number)).one()
                    version.state = VersionState.READY

    return World()


@pytest.fixture
def desired(sessions: sessionmaker[Session]) -> Callable[[], dict[int, int]]:
    """How many replicas each version should have."""

    def read() -> dict[int, int]:
        with sessions() as session:
            rows = session.execute(
                select(VersionTable.number, DeploymentTable.desired_replicas).join(
                    DeploymentTable, DeploymentTable.version_id == VersionTable.id
                )
            )
            return {number: count for number, count in rows}

    return read


@pytest.fixture
def three(world: Any) -> Any:
    """Three ready versions, of which the first is in production and the others are stopped."""
    for _ in range(3):
        world.create()
    world.make_ready(1, 2, 3)
    for number in (3, 2, 1):
        world.client.put(f"{world.url}/models/wine/aliases/production", json={"version": number})
    return world
