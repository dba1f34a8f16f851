"""What each running worker's output must not show: the secrets that it was started with."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.errors import PlatformError
from tenfold_platform.models.tables import VersionTable
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.masking import Mask
from tenfold_platform.secrets.sealing import Keyring

NOTHING = Mask(())


class Masks:
    """One mask a replica: of the values it was started with, or (started by another controller) those of now."""

    def __init__(self, sessions: sessionmaker[Session], keyring: Keyring) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._known: dict[UUID, Mask] = {}
        self._guard = threading.Lock()

    def remember(self, replica_id: UUID, values: Iterable[str]) -> None:
        """Call it before the replica starts."""
        mask = Mask(values)
        with self._guard:
            self._known[replica_id] = mask

    def of(self, replica_id: UUID) -> Mask:
        with self._guard:
            known = self._known.get(replica_id)
        if known is None:
            self.remember(replica_id, self._values_of_now(replica_id))
            return self.of(replica_id)
        return known

    def hide(self, replica_id: UUID, text: str) -> str:
        return self.of(replica_id).hide_text(text) if text else text

    def forget_others(self, replica_ids: Collection[UUID]) -> None:
        """Drops the masks of all replicas but these."""
        with self._guard:
            for gone in self._known.keys() - set(replica_ids):
                del self._known[gone]

    def _values_of_now(self, replica_id: UUID) -> list[str]:
        with transaction(self._sessions) as session:
            replica = session.get(ReplicaTable, replica_id)
            deployment = session.get(DeploymentTable, replica.deployment_id) if replica else None
            version = session.get(VersionTable, deployment.version_id) if deployment and deployment.version_id else None
            names = secrets.declared(version)
            if version is None or not names:
                return []
            values: list[str] = []
            for name in names:
                try:
                    opened = secrets.open_declared(session, self._keyring, version.workspace_id, [name])
                except PlatformError:
                    continue  # nobody can open it: no worker has it
                values += opened.values.values()
            return values
