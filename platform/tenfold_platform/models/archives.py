"""A package as one archive: unpacked by our own extractor into the artifact store, and packed again for download."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenfold_deploy.archive import DEFAULT_LIMITS, ArchiveError, extract_archive
from tenfold_platform.errors import InvalidDocument
from tenfold_platform.files.store import FREE_SOME, ArtifactStore, MissingArtifact, NoSpace
from tenfold_platform.models.schemas import PackageFile

PACKED_CHUNK_BYTES = 256 * 1024
FAST = 1  # weights hardly get smaller, and somebody waits


def unpack(store: ArtifactStore, archive: Path) -> list[PackageFile]:
    """The archive's files, put into the store, which lies on the same disk.

    Raises InvalidDocument for an archive that is not to be trusted, NoSpace for one that is more than the disk takes.
    """
    room = store.free_bytes()
    limits = replace(DEFAULT_LIMITS, max_total_bytes=min(DEFAULT_LIMITS.max_total_bytes, room))
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder, archive.open("rb") as stream:
        destination = Path(folder, "package")
        try:
            extracted = extract_archive(stream, destination, limits=limits)
        except ArchiveError as error:
            if error.code == "too_large" and limits.max_total_bytes == room:
                raise NoSpace("The disk has no room for what is in the archive.", hint=FREE_SOME) from error
            details = [{"path": "", "code": error.code, "message": error.message, "hint": error.hint or ""}]
            raise InvalidDocument(
                f"The archive was refused: {error.message}", code=error.code, hint=error.hint or "", details=details
            ) from error
        for file in extracted:
            store.adopt(destination / file.path, file.sha256)
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
