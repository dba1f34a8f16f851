"""A package as one archive: unpacked by our own extractor into the artifact store, and packed again for download."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from tenfold_deploy.archive import ArchiveError, extract_archive
from tenfold_platform.errors import InvalidDocument
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore, MissingArtifact
from tenfold_platform.models.schemas import PackageFile

PACKED_CHUNK_BYTES = 256 * 1024
FAST = 1  # weights hardly get smaller, and somebody waits


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


def pack(store: ArtifactStore, entries: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """A tar.gz of a version's files as they were uploaded, piece by piece. The same files give the same bytes.

    Raises MissingArtifact, before the first piece, when one of them is gone.
    """
    for entry in entries:
        if not store.has(entry["digest"]):
            raise MissingArtifact(f"The file {entry['path']} is not in the artifact store any more.")
    return _packed(store, sorted(entries, key=lambda entry: str(entry["path"])))


def _packed(store: ArtifactStore, entries: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """`tarfile` writes a file in one go; here a large one leaves as it is read."""
    waiting = io.BytesIO()
    with gzip.GzipFile(fileobj=waiting, mode="wb", compresslevel=FAST, mtime=0, filename="") as packed:
        for part in _tar(store, entries):
            packed.write(part)
            if waiting.tell() >= PACKED_CHUNK_BYTES:
                yield _taken(waiting)
    yield _taken(waiting)


def _tar(store: ArtifactStore, entries: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    for entry in entries:
        header = tarfile.TarInfo(entry["path"])
        header.size, header.mode = entry["size"], 0o755 if entry.get("executable") else 0o644
        yield header.tobuf(tarfile.PAX_FORMAT)
        with store.open(entry["digest"]) as content:
            while part := content.read(PACKED_CHUNK_BYTES):
                yield part
        yield b"\0" * (-header.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _taken(waiting: io.BytesIO) -> bytes:
    part = waiting.getvalue()
    waiting.seek(0)
    waiting.truncate()
    return part
