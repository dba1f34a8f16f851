"""A package that comes as one archive: unpacked by our own extractor into the artifact store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from tenfold_deploy.archive import ArchiveError, extract_archive
from tenfold_platform.errors import InvalidDocument
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.models.schemas import PackageFile


def unpack(session: Session, store: ArtifactStore, workspace_id: UUID, archive: Path) -> list[PackageFile]:
    """The archive's files, put into the store. Raises InvalidDocument for one that is not to be trusted."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder, archive.open("rb") as stream:
        destination = Path(folder, "package")
        try:
            extracted = extract_archive(stream, destination)
        except ArchiveError as error:
            details = [{"path": "", "code": error.code, "message": error.message, "hint": error.hint or ""}]
            raise InvalidDocument(
                f"The archive was refused: {error.message}", code=error.code, hint=error.hint or "", details=details
            ) from error
        for file in extracted:
            with (destination / file.path).open("rb") as content:
                stored = store.put_stream(iter(lambda: content.read(1 << 20), b""))
            files.record_blob(session, workspace_id, stored)
    return [
        PackageFile(path=file.path, digest=file.sha256, size=file.size, executable=file.executable)
        for file in extracted
    ]
