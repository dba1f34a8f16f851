"""The zoo's entries: folders beside this file, each a package and a `zoo.yaml` about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from tenfold_deploy.packages import CONFIG_NAME, PackageConfig, read_package
from tenfold_expressions import DocumentError
from tenfold_platform.errors import Conflict, NotFound, PlatformError
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.log import get_logger
from tenfold_platform.models import service as models
from tenfold_platform.models.schemas import CreateVersion, PackageFile
from tenfold_platform.models.tables import ModelTable, VersionTable
from tenfold_platform.zoo.schemas import ZooText

ENTRIES_DIR = Path(__file__).with_name("entries")
ABOUT = "zoo.yaml"
LEFT_OUT = ("__pycache__",)

log = get_logger("tenfold.zoo")


class DamagedEntry(PlatformError):
    """An entry that cannot be read: a fault of this installation."""

    code = "zoo_entry_damaged"


@dataclass(frozen=True)
class Entry:
    """One entry, read and checked. `files` are those of its package."""

    name: str
    text: ZooText
    config: PackageConfig
    files: Mapping[str, Path]

    @property
    def schema(self) -> dict[str, Any]:
        ours = self.config.model_metadata.get("tenfold")
        found = ours.get("schema") if isinstance(ours, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def example(self) -> Any:
        return self.config.model_metadata.get("example_model_input")

    @property
    def source(self) -> str:
        values = self.config.values
        path = self.files.get(f"{values['model_module_dir']}/{values['model_class_filename']}")
        return path.read_text(encoding="utf-8") if path else ""


def list_entries(folder: Path = ENTRIES_DIR) -> list[Entry]:
    """All that can be read, by title. One that cannot be is logged, and keeps nobody from the others."""
    found: list[Entry] = []
    for name in _names(folder):
        try:
            found.append(_entry(folder / name))
        except DamagedEntry as error:
            log.error("zoo_entry_damaged", entry=name, problem=error.message)
    return sorted(found, key=lambda entry: entry.text.title.lower())


def get_entry(name: str, folder: Path = ENTRIES_DIR) -> Entry:
    """Raises NotFound, or DamagedEntry."""
    names = _names(folder)
    if name not in names:
        near = [one for one in names if name in one] or difflib.get_close_matches(name, names)
        meant = f"Did you mean {' or '.join(near[:3])}? " if name and near else ""
        raise NotFound("The zoo has no such entry.", hint=f"{meant}`tenfold zoo list` shows what it has.")
    return _entry(folder / name)


def deployed_as(session: Session, workspace_id: UUID) -> dict[str, list[str]]:
    """The workspace's models that were made from an entry, by the entry's name."""
    rows = session.execute(
        select(VersionTable.zoo_entry, ModelTable.name)
        .join(ModelTable, ModelTable.id == VersionTable.model_id)
        .where(VersionTable.workspace_id == workspace_id, VersionTable.zoo_entry.is_not(None))
        .distinct()
        .order_by(ModelTable.name)
    )
    found: dict[str, list[str]] = {}
    for name, model in rows:
        found.setdefault(str(name), []).append(model)
    return found


def deploy(
    session: Session,
    store: ArtifactStore,
    workspace_id: UUID,
    entry: Entry,
    *,
    name: str | None,
    alias: str | None,
    created_by: str,
    now: datetime,
) -> tuple[ModelTable, VersionTable]:
    """A new version from the entry's package, of the model `name`.

    Raises:
        Conflict: the name was not given, and the entry's own is that of a model which was made from something else.
    """
    wanted = name or entry.name
    there = models.find_model(session, workspace_id, wanted)
    if there is not None and name is None and not _was_made_from(session, there, entry):
        raise Conflict(
            f"There is a model {wanted} that was not made from this entry.",
            code="name_taken",
            hint="Give the new one another name.",
        )
    request = CreateVersion(files=_put(session, store, workspace_id, entry), alias=alias)
    version = models.create_version(
        session, store, workspace_id, wanted, request, created_by=created_by, now=now, zoo_entry=entry.name
    )
    model = models.get_model(session, workspace_id, wanted)
    if there is None:
        model.description = entry.text.summary
        model.tags = sorted(set(entry.text.tags))
    return model, version


def _was_made_from(session: Session, model: ModelTable, entry: Entry) -> bool:
    newest = session.scalars(models.versions_of(model.id).order_by(VersionTable.number.desc()).limit(1)).one_or_none()
    return newest is not None and newest.zoo_entry == entry.name


def _put(session: Session, store: ArtifactStore, workspace_id: UUID, entry: Entry) -> list[PackageFile]:
    """The entry's files in the store, as if somebody had uploaded them."""
    listed: list[PackageFile] = []
    for path, file in entry.files.items():
        stored = store.put_bytes(file.read_bytes())
        files.record_blob(session, workspace_id, stored)
        listed.append(PackageFile(path=path, digest=stored.digest, size=stored.size_bytes))
    return listed


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if (one / ABOUT).is_file())


def _entry(folder: Path) -> Entry:
    read = (folder / ABOUT, folder / CONFIG_NAME)
    return _read(folder, tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in read))


@lru_cache(maxsize=256)
def _read(folder: Path, stamp: tuple[int, ...]) -> Entry:
    """Read once, and again when its documents change: they do not, but while somebody writes an entry."""
    del stamp
    try:
        text = ZooText.model_validate(yaml.safe_load((folder / ABOUT).read_text(encoding="utf-8")))
        config = read_package(folder)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise DamagedEntry(f"The entry {folder.name} of the zoo cannot be read: {error}") from error
    except DocumentError as error:
        problems = "; ".join(f"{one.path}: {one.message}" for one in error.problems)
        raise DamagedEntry(f"The package of the zoo's entry {folder.name} has problems: {problems}") from error
    return Entry(folder.name, text, config, _package_files(folder))


def _package_files(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: file for path, file in found.items() if path != ABOUT and not _is_left_out(path.split("/"))}


def _is_left_out(parts: Sequence[str]) -> bool:
    return any(part in LEFT_OUT or part.startswith(".") for part in parts)
