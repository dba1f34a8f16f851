"""Secrets: set and deleted by people, opened only to start a worker that declares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.errors import InvalidInput, NotFound
from tenfold_platform.models.tables import ModelTable, VersionTable
from tenfold_platform.secrets.schemas import MAX_VALUE_BYTES
from tenfold_platform.secrets.sealing import CannotOpen, Keyring
from tenfold_platform.secrets.tables import SecretTable


@dataclass(frozen=True)
class Use:
    model: str
    version: int


def secrets_of(workspace_id: UUID) -> Select[SecretTable]:
    return select(SecretTable).where(SecretTable.workspace_id == workspace_id)


def get(session: Session, workspace_id: UUID, name: str) -> SecretTable:
    row = session.get(SecretTable, (workspace_id, name))
    if row is None:
        raise NotFound("There is no such secret.")
    return row


def put(
    session: Session,
    keyring: Keyring,
    workspace_id: UUID,
    name: str,
    value: str,
    *,
    description: str | None,
    updated_by: str,
) -> SecretTable:
    """Sets a secret; a model that declares it has the value from its next start on.

    Raises:
        NoSecretsKey: this installation has no key to seal with.
    """
    if "\x00" in value or len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
        raise InvalidInput(
            f"The value cannot be kept: it is longer than {MAX_VALUE_BYTES // 1024} KiB, or holds a zero character.",
            code="bad_secret",
            hint="Keep a large or binary thing as a file of the package, and its key as the secret.",
        )
    sealed = keyring.seal(workspace_id, name, value)
    changes = {"sealed": sealed, "updated_by": updated_by, "updated_at": func.now()}
    if description is not None:
        changes["description"] = description
    session.execute(
        insert(SecretTable)
        .values(
            workspace_id=workspace_id,
            name=name,
            sealed=sealed,
            description=description or "",
            updated_by=updated_by,
        )
        .on_conflict_do_update(index_elements=[SecretTable.workspace_id, SecretTable.name], set_=changes)
    )
    session.expire_all()
    return get(session, workspace_id, name)


def delete(session: Session, workspace_id: UUID, name: str) -> None:
    """A model that runs keeps what it was started with; one that starts is told that it is missing."""
    session.delete(get(session, workspace_id, name))


def running_uses(session: Session, workspace_id: UUID) -> Mapping[str, list[Use]]:
    """By secret: the versions that should run now and declare it."""
    rows = session.execute(
        select(ModelTable.name, VersionTable.number, VersionTable.config["secrets"])
        .join(ModelTable, ModelTable.id == VersionTable.model_id)
        .join(DeploymentTable, DeploymentTable.version_id == VersionTable.id)
        .where(VersionTable.workspace_id == workspace_id, DeploymentTable.desired_replicas > 0)
        .order_by(ModelTable.name, VersionTable.number)
    )
    found: dict[str, list[Use]] = {}
    for model, number, names in rows:
        for name in names or ():
            found.setdefault(name, []).append(Use(model, number))
    return found


# --- for the controller


@dataclass(frozen=True)
class Opened:
    """What a version that declares secrets is started with, and which of them nobody has set."""

    values: Mapping[str, str]
    missing: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Opened({', '.join(self.values)}; missing: {', '.join(self.missing)})"


def declared(version: VersionTable | None) -> tuple[str, ...]:
    return tuple((version.config.get("secrets") or {}) if version else ())


def open_declared(session: Session, keyring: Keyring, workspace_id: UUID, names: Iterable[str]) -> Opened:
    """The values of exactly these. Raises CannotOpen, NoSecretsKey."""
    wanted = tuple(dict.fromkeys(names))
    rows = _rows(session, workspace_id, wanted)
    values = {row.name: keyring.open(workspace_id, row.name, row.sealed) for row in rows}
    return Opened(values, tuple(name for name in wanted if name not in values))


def missing(session: Session, workspace_id: UUID, names: Iterable[str]) -> list[str]:
    """Which of these nobody has set, in the order given. Opens nothing."""
    wanted = tuple(dict.fromkeys(names))
    there = {row.name for row in _rows(session, workspace_id, wanted)}
    return [name for name in wanted if name not in there]


def reseal_all(session: Session, keyring: Keyring) -> int:
    """Brings every secret under the first key, so that an older one can be taken away. How many were changed."""
    if len(keyring.keys) < 2:
        return 0
    changed = 0
    for row in session.scalars(select(SecretTable).with_for_update(skip_locked=True)):
        if keyring.is_current(row.sealed):
            continue
        try:
            row.sealed = keyring.reseal(row.workspace_id, row.name, row.sealed)
        except CannotOpen:
            continue  # sealed with a key that is gone: whoever starts a model with it is told
        changed += 1
    return changed


def _rows(session: Session, workspace_id: UUID, names: Sequence[str]) -> Sequence[SecretTable]:
    if not names:
        return []
    return session.scalars(secrets_of(workspace_id).where(SecretTable.name.in_(names))).all()
