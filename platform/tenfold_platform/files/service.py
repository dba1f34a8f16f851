"""Which files a workspace has uploaded. The bytes are shared by all; who may name them is not."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_platform.files.store import ArtifactStore, Stored
from tenfold_platform.files.tables import BlobTable

MAX_BLOB_BYTES = 64 * 1024**3


def missing_digests(session: Session, store: ArtifactStore, workspace_id: UUID, digests: Iterable[str]) -> list[str]:
    """Those that this workspace must still upload (also when another has them): each once, in the order given."""
    wanted = list(dict.fromkeys(digests))
    rows = session.scalars(
        select(BlobTable.digest).where(BlobTable.workspace_id == workspace_id, BlobTable.digest.in_(wanted))
    )
    present = {digest for digest in rows if store.has(digest)}
    return [digest for digest in wanted if digest not in present]


def record_blob(session: Session, workspace_id: UUID, stored: Stored) -> None:
    """The file has been uploaded to this workspace (again)."""
    session.execute(
        insert(BlobTable)
        .values(workspace_id=workspace_id, digest=stored.digest, size_bytes=stored.size_bytes)
        .on_conflict_do_nothing()
    )
