"""The artifact store: files by the SHA-256 of their bytes, on disk. Nothing here is ever read as anything but bytes.

Layout: `<artifacts_dir>/<first two hex digits>/<sha256>`. A file appears whole or not at all: it is written beside,
checked, flushed to the disk, and renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tenfold_platform.defaults import DISK_KEPT_FREE_BYTES
from tenfold_platform.errors import InvalidInput, NotFound, PlatformError, TooLarge

DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}")
FREE_SOME = "Free some space on the platform's machine, then try again."


class NoSpace(PlatformError):
    status, code = 507, "no_space"


class WrongDigest(InvalidInput):
    code = "wrong_digest"


class MissingArtifact(NotFound):
    code = "missing_artifact"


@dataclass(frozen=True)
class Stored:
    digest: str
    size_bytes: int


class ArtifactStore:
    def __init__(self, artifacts_dir: Path, *, keep_free_bytes: int = DISK_KEPT_FREE_BYTES) -> None:
        self._dir = artifacts_dir
        self._keep_free_bytes = keep_free_bytes

    def path(self, digest: str) -> Path:
        """Where the file lies (or would lie)."""
        if not DIGEST_PATTERN.fullmatch(digest):
            raise InvalidInput(f"{digest[:80]!r} is not a SHA-256 digest in lower-case hex.")
        return self._dir / digest[:2] / digest

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def open(self, digest: str) -> BinaryIO:
        """Raises MissingArtifact."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise MissingArtifact(f"The file {digest[:12]} is not in the artifact store.") from None

    def free_bytes(self) -> int:
        """How much more fits: what the disk always keeps free is not counted."""
        return max(0, shutil.disk_usage(self._dir).free - self._keep_free_bytes)

    def require_room(self, coming: int = 1) -> None:
        """Raises NoSpace where so many more bytes would take what the disk keeps free."""
        if coming > self.free_bytes():
            raise NoSpace("The disk of the artifact store is full.", hint=FREE_SOME)

    def read_bytes(self, digest: str) -> bytes:
        with self.open(digest) as file:
            return file.read()

    def read_text(self, digest: str, *, max_bytes: int | None = None) -> str:
        """UTF-8 text; raises UnicodeDecodeError for anything else, TooLarge above `max_bytes`."""
        with self.open(digest) as file:
            if max_bytes is not None and os.fstat(file.fileno()).st_size > max_bytes:
                raise TooLarge(f"The file is larger than {max_bytes} bytes.")
            return file.read().decode("utf-8")

    def put_bytes(self, data: bytes) -> Stored:
        return self.put_stream([data])

    def put_stream(self, chunks: Iterable[bytes], *, digest: str | None = None, max_bytes: int | None = None) -> Stored:
        """Raises WrongDigest (the bytes are not those of `digest`), TooLarge or NoSpace: nothing is left then."""
        with self.writer(digest=digest, max_bytes=max_bytes) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    def adopt(self, file: Path, digest: str) -> None:
        """Moves in a file of the same disk whose bytes are known to have that digest. Raises NoSpace."""
        try:
            with file.open("rb") as content:
                os.fsync(content.fileno())
            self._publish(file, digest)
        except OSError as error:
            raise unwritable(error) from error

    @contextmanager
    def writer(self, *, digest: str | None = None, max_bytes: int | None = None) -> Iterator[ArtifactWriter]:
        """For bytes that arrive piece by piece. What was not committed is gone afterwards."""
        if digest is not None:
            self.path(digest)
        incoming = self._dir / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        self.require_room()
        handle, name = tempfile.mkstemp(dir=incoming)
        file = os.fdopen(handle, "wb")
        try:
            yield ArtifactWriter(self, file, Path(name), digest, max_bytes)
        finally:
            with suppress(OSError):  # what did not fit on the disk does not fit now either
                file.close()
            Path(name).unlink(missing_ok=True)

    def _publish(self, file: Path, digest: str) -> None:
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        file.chmod(0o444)
        file.rename(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class ArtifactWriter:
    def __init__(
        self, store: ArtifactStore, file: BinaryIO, path: Path, digest: str | None, max_bytes: int | None
    ) -> None:
        self._store, self._file, self._path = store, file, path
        self._expected, self._max_bytes = digest, max_bytes
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._max_bytes is not None and self._size > self._max_bytes:
            raise TooLarge(f"The file is larger than the {self._max_bytes} bytes that one file may have.")
        self._store.require_room(len(chunk))
        self._hash.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise unwritable(error) from error

    def commit(self) -> Stored:
        digest = self._hash.hexdigest()
        if self._expected is not None and digest != self._expected:
            raise WrongDigest(
                f"The bytes do not have the digest {self._expected[:12]}…: they have {digest[:12]}….",
                hint="The file changed while it was read, or the upload was damaged. Upload it again.",
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._store._publish(self._path, digest)
        except OSError as error:
            raise unwritable(error) from error
        return Stored(digest, self._size)


def unwritable(error: OSError) -> NoSpace:
    """What a failed write is told as."""
    return NoSpace(f"The artifact store cannot be written to: {error.strerror or error}.", hint=FREE_SOME)
