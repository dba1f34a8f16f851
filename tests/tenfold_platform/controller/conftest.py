"""One version of a model, a scheduler that starts nothing, and workers whose health a test decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.fake import FakeScheduler
from tenfold_deploy.packages import manifest_digest
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.probe import Health
from tenfold_platform.controller.reconcile import Reconciler
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.ids import new_id
from tenfold_platform.models.tables import ModelTable, VersionTable
from tenfold_platform.secrets.sealing import Key, Keyring

CODE = b"class Model: ..."


class VersionWorld:
    """The version has `files` beside its code, that `config`, and an environment with these values."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        workspace_id: Any,
        clock: Any,
        tmp_path: Path,
        *,
        config: dict[str, Any],
        files: Mapping[str, bytes] = {},
        **environment: Any,
    ) -> None:
        self.sessions, self.workspace_id, self.clock = sessions, workspace_id, clock
        self.store, self.workers = ArtifactStore(tmp_path / "artifacts"), tmp_path / "workers"
        self.scheduler = FakeScheduler(clock)
        self.keyring = Keyring([Key(b"k" * 32)])
        self.health = Health("ready", load_seconds=0.5, memory_bytes=1000)
        self.reconciler = Reconciler(
            sessions,
            self.scheduler,
            self.store,
            self.workers,
            clock,
            host="here",
            keyring=self.keyring,
            masks=Masks(sessions, self.keyring),
            probe=lambda _: self.health,
        )
        kept = [self._keep(path, content) for path, content in {"model/model.py": CODE, **files}.items()]
        values = {"spec_digest": "x", "requirements": [], "state": "ready", "python_path": "/p", **environment}
        with transaction(sessions) as session:
            made = EnvironmentTable(id=new_id(), workspace_id=workspace_id, **values)
            model = ModelTable(id=new_id(), workspace_id=workspace_id, name="hub")
            session.add_all([made, model])
            session.flush()
            version = VersionTable(
                id=new_id(),
                workspace_id=workspace_id,
                model_id=model.id,
                number=1,
                package_digest=manifest_digest((one["path"], one["digest"], one["executable"]) for one in kept),
                files=kept,
                size_bytes=sum(one["size"] for one in kept),
                config=config,
                memory_bytes=1 << 30,
                environment_id=made.id,
                state="ready",
            )
            session.add(version)
            session.flush()
            self.deployment_id = deployments.create_for_version(session, version).id
        self.model_id, self.version_id = model.id, version.id

    def passes(self, count: int = 4) -> None:
        for _ in range(count):
            self.reconciler.reconcile(self.deployment_id)

    def replicas(self) -> list[ReplicaTable]:
        with self.sessions() as session:
            return list(session.scalars(select(ReplicaTable).order_by(ReplicaTable.id)))

    def version(self) -> VersionTable:
        with self.sessions() as session:
            return session.get_one(VersionTable, self.version_id)

    def _keep(self, path: str, content: bytes) -> dict[str, Any]:
        return {
            "path": path,
            "digest": self.store.put_bytes(content).digest,
            "size": len(content),
            "executable": False,
        }
