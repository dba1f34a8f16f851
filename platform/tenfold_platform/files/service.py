"""Which files a workspace has uploaded. The bytes are shared by all; who may name them is not."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_platform.errors import InvalidInput, TooLarge
from tenfold_platform.files.store import ArtifactStore, Stored
from tenfold_platform.files.tables import BlobTable
from tenfold_platform.settings import Settings

MAX_BLOB_BYTES = 64 * 1024**3


def make_store(settings: Settings) -> ArtifactStore:
    return ArtifactStore(settings.artifacts_dir, keep_free_bytes=settings.disk_kept_free_bytes)


def check_space(store: ArtifactStore, content_length: str | None) -> None:
    """Raises NoSpace for an upload that says itself that it is more than the disk can take."""
    if content_length is None:
        return
    if not content_length.isdecimal():
        raise InvalidInput("Content-Length must be a number.")
    store.require_room(int(content_length))


def check_package(settings: Settings, size_bytes: int) -> None:
    """Raises TooLarge for a package that the operator does not want."""
    if size_bytes > settings.max_package_bytes:
        raise TooLarge(
            f"A package may have at most {settings.max_package_bytes:,} bytes.",
            hint="The operator sets the limit, with TENFOLD_MAX_PACKAGE_BYTES.",
        )


def missing_digests(session: Session, store: ArtifactStore, workspace_id: UUID, digests: Iterable[str]) -> list[str]:
    """Those that this workspace must still upload (also when another has them): each once, in the order given."""
    wanted = list(dict.fromkeys(digests))
    present = sizes(session, store, workspace_id, wanted)
    return [digest for digest in wanted if digest not in present]


def sizes(session: Session, store: ArtifactStore, workspace_id: UUID, digests: Iterable[str]) -> dict[str, int]:
    """The bytes of each of these files that the workspace has."""
    rows = session.execute(
        select(BlobTable.digest, BlobTable.size_bytes).where(
            BlobTable.workspace_id == workspace_id, BlobTable.digest.in_(list(digests))
        )
    )
    return {digest: size for digest, size in rows if store.has(digest)}


def record_blob(session: Session, workspace_id: UUID, stored: Stored) -> None:
    """The file has been uploaded to this workspace (again)."""
    session.execute(
        insert(BlobTable)
        .values(workspace_id=workspace_id, digest=stored.digest, size_bytes=stored.size_bytes)
        .on_conflict_do_nothing()
    )
