"""The folders of environments: `<environments_dir>/<workspace id>/<lock digest>`, kept while any row has that lock."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.environments import look_around, remove
from tenfold_platform.db import transaction
from tenfold_platform.environments.tables import EnvironmentTable

log = logging.getLogger(__name__)


def folder_of(environments_dir: Path, workspace_id: UUID, lock_digest: str) -> Path:
    return environments_dir / str(workspace_id) / lock_digest


def remove_orphans(sessions: sessionmaker[Session], environments_dir: Path) -> list[Path]:
    """Removes folders of locks that no row has (any more), and what broken-off builds left. Returns what went.

    A build notes its lock before it looks whether the folder is there, and a folder is removed only while no build of
    it can look: so nothing goes that a row was just made for.
    """
    with transaction(sessions) as session:
        rows = session.execute(
            select(EnvironmentTable.workspace_id, EnvironmentTable.lock_digest).where(
                EnvironmentTable.lock_digest.is_not(None)
            )
        ).all()
    known = {folder_of(environments_dir, workspace_id, digest) for workspace_id, digest in rows if digest}
    removed: list[Path] = []
    for workspace in environments_dir.iterdir() if environments_dir.is_dir() else ():
        if not _is_id(workspace.name):
            continue
        for found in look_around(workspace):
            if found.destination in known and not found.is_broken_off:
                continue
            if remove(found.destination, unless=partial(_is_needed, sessions, found.destination)):
                removed.append(found.destination)
                log.info("the environment %s was removed: nothing uses it", found.destination)
    return removed


def _is_needed(sessions: sessionmaker[Session], folder: Path) -> bool:
    with transaction(sessions) as session:
        query = select(EnvironmentTable.id).where(
            EnvironmentTable.workspace_id == UUID(folder.parent.name), EnvironmentTable.lock_digest == folder.name
        )
        return session.scalars(query.limit(1)).first() is not None


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
