"""A model's package, back on this machine."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from tenfold.client import Client
from tenfold.errors import Conflict, Unavailable

ARCHIVES = (".tar.gz", ".tgz")
SECONDS = 300.0


def download_package(client: Client, name: str, number: int, path: Path) -> Path:
    """Into a new folder, or one archive. Raises Conflict when something is there already."""
    is_archive = path.name.endswith(ARCHIVES)
    if path.exists() and (is_archive or not path.is_dir() or any(path.iterdir())):
        raise Conflict(f"There is something at {path} already.", hint="Name a path where nothing is.")
    archive = path if is_archive else path.with_name(f".{path.name}.tar.gz")
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open("wb") as file:
            address = client.path("models", name, "versions", number, "package")
            with client.api.stream("GET", address, timeout=SECONDS) as response:
                for part in response.iter_bytes():
                    file.write(part)
        if not is_archive:
            _unpack(archive, path)
    except BaseException:
        archive.unlink(missing_ok=True)
        raise
    if not is_archive:
        archive.unlink()
    return path


def _unpack(archive: Path, folder: Path) -> None:
    """Plain files below the folder, and nothing else: the package is somebody's."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as packed:
        for member in packed:
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
