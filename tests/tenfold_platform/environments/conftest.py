"""A workspace with environments, and an engine that builds at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.environments import Built, EnvironmentFailed, EnvironmentSpec, Lock, Tools
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.engine import builds
from tenfold_platform.environments import service
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.ids import new_id
from tenfold_platform.models.tables import ModelTable, VersionTable
from tenfold_platform.settings import Settings
from tenfold_platform.workspaces.tables import WorkspaceTable


class World:
    """`failing` says why the next builds fail; `released` counts up: each resolution finds newer packages."""

    def __init__(self, sessions: sessionmaker[Session], workspace_id: UUID, settings: Settings) -> None:
        self.sessions, self.workspace_id, self.settings = sessions, workspace_id, settings
        self.failing: str | None = None
        self.newest = 1
        self.built: list[tuple[str, bool]] = []  # lock digest, whether anew

    # what the engine does

    def resolve(self, spec: EnvironmentSpec, *, on_log: Callable[[str], None], tools: Tools) -> Lock:
        self._fail()
        pins = "".join(f"{line.partition('=')[0]}=={self.newest}.0\n" for line in spec.requirements)
        on_log(f"resolved {len(spec.requirements)}")
        return Lock(f"# tenfold lock 1: python {spec.python_version or '3.11'} test\n{pins}")

    def build(self, lock: Lock, destination: Path, *, on_log: Callable[[str], None], tools: Tools, anew: bool) -> Built:
        self._fail()
        (destination / "bin").mkdir(parents=True, exist_ok=True)
        (destination / "bin" / "python").write_text("python")
        (destination / "tenfold-environment.json").write_text(f'{{"lock": "{lock.digest}"}}')
        self.built.append((lock.digest, anew))
        return Built(destination / "bin" / "python", 0.1, reused=False)

    def _fail(self) -> None:
        if self.failing:
            raise EnvironmentFailed("version_not_found", self.failing, "Loosen it.")

    def run_engine(self) -> None:
        """Builds whatever waits."""
        with self.sessions() as session:
            query = service.environments_of(self.workspace_id).where(EnvironmentTable.state == "pending")
            waiting = [row.id for row in session.scalars(query.order_by(EnvironmentTable.id))]
        for environment_id in waiting:
            builds.build_environment(self.sessions, self.settings.environments_dir, environment_id, "engine", Tools())

    # what people do

    def make(self, *requirements: str, build: bool = True, python: str | None = None) -> UUID:
        with transaction(self.sessions) as session:
            spec = EnvironmentSpec(python, requirements)
            environment_id = service.get_or_create(session, self.workspace_id, spec).id
        if build:
            self.run_engine()
        return environment_id

    def use_by_model(self, environment_id: UUID, name: str = "hub", number: int = 1) -> None:
        with transaction(self.sessions) as session:
            model = ModelTable(id=new_id(), workspace_id=self.workspace_id, name=name)
            session.add(model)
            session.flush()
            version = VersionTable(
                id=new_id(),
                workspace_id=self.workspace_id,
                model_id=model.id,
                number=number,
                package_digest="0" * 64,
                files=[],
                size_bytes=0,
                config={},
                memory_bytes=1,
                environment_id=environment_id,
            )
            session.add(version)
            session.flush()
            deployments.create_for_version(session, version)

    def use_by_app(self, environment_id: UUID, name: str = "desk") -> UUID:
        with transaction(self.sessions) as session:
            app = AppTable(id=new_id(), workspace_id=self.workspace_id, name=name)
            session.add(app)
            session.flush()
            session.add(
                ReleaseTable(
                    id=new_id(),
                    workspace_id=self.workspace_id,
                    app_id=app.id,
                    number=1,
                    bundle={"environments": {"default": str(environment_id)}, "models": {}},
                )
            )
            deployments.ensure_code_pool(session, self.workspace_id, environment_id)
        return app.id

    def change(self, environment_id: UUID, **values: Any) -> None:
        with transaction(self.sessions) as session:
            row = session.get_one(EnvironmentTable, environment_id)
            for name, value in values.items():
                setattr(row, name, value)

    def row(self, environment_id: UUID) -> EnvironmentTable:
        with self.sessions() as session:
            return session.get_one(EnvironmentTable, environment_id)

    def ids(self) -> set[UUID]:
        with self.sessions() as session:
            return {row.id for row in session.scalars(service.environments_of(self.workspace_id))}

    def folder(self, environment_id: UUID) -> Path:
        return self.settings.environments_dir / str(self.workspace_id) / str(self.row(environment_id).lock_digest)


@pytest.fixture
def world(
    sessions: sessionmaker[Session],
    make_workspace: Callable[..., Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    world = World(sessions, make_workspace("acme").id, settings)
    monkeypatch.setattr(builds, "resolve", world.resolve)
    monkeypatch.setattr(builds, "build", world.build)
    monkeypatch.setattr(builds, "installed", lambda _: [("a", "1.0")])
    return world


@pytest.fixture
def client(
    world: World,
    sessions: sessionmaker[Session],
    make_key: Callable[..., Any],
    as_key: Callable[[str], httpx.Client],
) -> httpx.Client:
    """An editor's key in the workspace `acme`; addresses begin below it."""
    with sessions() as session:
        workspace = session.get_one(WorkspaceTable, world.workspace_id)
    client = as_key(make_key(workspace, "deploy", "system").text)
    client.base_url = client.base_url.join("/api/v1/workspaces/acme/")
    return client
