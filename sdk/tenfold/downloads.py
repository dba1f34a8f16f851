"""A model's package, back on this machine."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from tenfold.client import Client
from tenfold.errors import Conflict, Unavailable

ARCHIVES = (".tar.gz", ".tgz")
SECONDS = 300.0


def download_package(client: Client, name: str, number: int, path: Path) -> Path:
    """Into a new folder (or an empty one), or one archive. Raises Conflict when something is there already.

    Whatever goes wrong on the way, `path` is as it was.
    """
    target = path.absolute()
    is_archive = target.name.endswith(ARCHIVES)
    if target.exists() and (is_archive or not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"There is something at {path} already.", hint="Name a path where nothing is.")
    beside = target if target.is_dir() else target.parent  # on the file system where it goes
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".tenfold-") as scratch:
        archive = Path(scratch, "package.tar.gz")
        _fetch(client, name, number, archive)
        if is_archive:
            archive.rename(target)
        else:
            folder = Path(scratch, "package")
            _unpack(archive, folder)
            target.mkdir(exist_ok=True)
            for one in folder.iterdir():
                one.rename(target / one.name)
    return path


def _fetch(client: Client, name: str, number: int, archive: Path) -> None:
    address = client.path("models", name, "versions", number, "package")
    with archive.open("wb") as file, client.api.stream("GET", address, timeout=SECONDS) as response:
        for part in response.iter_bytes():
            file.write(part)


def _unpack(archive: Path, folder: Path) -> None:
    """Plain files below the folder, and nothing else: the package is somebody's."""
    folder.mkdir()
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                _write(packed, member, folder)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise Unavailable(f"The package did not arrive whole: {error}.", hint="Download it again.") from None


def _write(packed: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    place = PurePosixPath(member.name)
    content = packed.extractfile(member) if member.isreg() else None
    if content is None or place.is_absolute() or ".." in place.parts:
        raise Unavailable(f"The package holds {member.name!r}, which is not a file of a package.")
    target = folder.joinpath(*place.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        while part := content.read(1 << 20):
            file.write(part)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)
