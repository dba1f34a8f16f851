"""What the gateway knows of the installation, as one immutable value: keys, models and where they run, apps, releases.

Requests read it without waiting for anything. `SnapshotLoader` replaces it whenever PostgreSQL says that something
changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from tenfold_platform.auth.permissions import Action, Role, actions_of, actions_of_scopes
from tenfold_platform.gateway.bundle import Bundle

Chance = Callable[[], float]  # in [0, 1), a new one with each call

PRODUCTION = "production"
DEVELOPMENT = "development"
_NUMBER = re.compile(r"[1-9][0-9]{0,9}\Z")


@dataclass(frozen=True, slots=True)
class Key:
    id: UUID
    workspace_id: UUID
    key_id: str
    secret_hash: bytes
    name: str
    actions: frozenset[Action]
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Member:
    user_id: UUID
    email: str
    name: str
    role: Role
    actions: frozenset[Action]


@dataclass(frozen=True, slots=True)
class Replica:
    """One running server of a deployment. Only a `ready` one has to have an address."""

    id: UUID
    state: Literal["pending", "starting", "loading", "ready"]
    reason: str
    address: str | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """Desired state and what there is of it. `concurrency` is how many calls one replica works on at once.

    One that is asleep has no replicas, and gets one when somebody calls it.
    """

    id: UUID
    kind: Literal["model", "code"]
    desired_replicas: int
    failures: int
    unhealthy_reason: str
    retry_at: float | None
    replicas: tuple[Replica, ...] = ()
    concurrency: int = 1
    min_replicas: int = 1
    max_replicas: int = 1
    is_asleep: bool = False

    @property
    def is_scaled(self) -> bool:
        """Whether how many replicas it has depends on its calls."""
        return self.min_replicas < self.max_replicas

    @property
    def ready(self) -> tuple[Replica, ...]:
        return tuple(replica for replica in self.replicas if replica.state == "ready" and replica.address)


@dataclass(frozen=True, slots=True)
class Transport:
    """What a package says of its websockets (`runtime.transport`). None: as the gateway has it."""

    ping_interval_seconds: float | None = None
    ping_timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Version:
    id: UUID
    model_id: UUID
    model_name: str
    workspace_id: UUID
    workspace_name: str
    number: int
    state: str
    reason: str
    hint: str
    streaming_read_seconds: float
    text_columns: frozenset[str] | None  # of a model that takes tables; None: of any other
    transport: Transport
    deployment: Deployment | None

    @property
    def is_callable(self) -> bool:
        """Whether a replica would answer now."""
        return self.deployment is not None and bool(self.deployment.ready)

    @property
    def is_asleep(self) -> bool:
        """Whether a replica would answer after a cold start."""
        return self.deployment is not None and self.deployment.is_asleep


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version, of whose calls some percent go to another one."""

    version: Version
    canary: Version | None = None
    canary_percent: float = 0.0

    def choose(self, chance: Chance) -> Version:
        """The version for one call. A canary that cannot answer gets none."""
        canary = self.canary
        if canary is not None and (canary.is_callable or canary.is_asleep) and chance() * 100 < self.canary_percent:
            return canary
        return self.version


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that some percent of an alias's calls are sent to as well, behind the answer. See `shadows.py`."""

    id: UUID
    alias: str
    version: Version
    percent: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Model:
    id: UUID
    name: str
    aliases: Mapping[str, Alias]
    versions: Mapping[int, Version]
    shadows: Mapping[str, Shadow] = field(default_factory=dict)  # by alias

    def find(self, ref: str, chance: Chance) -> Version | None:
        """The version that an alias or a number means, for one call.

        `development` needs no alias: without one it is the newest version.
        """
        if alias := self.aliases.get(ref):
            return alias.choose(chance)
        if ref == DEVELOPMENT and self.versions:
            return self.versions[max(self.versions)]
        return self.versions.get(int(ref)) if _NUMBER.match(ref) else None

    def only_version(self, ref: str) -> Version | None:
        """The version that an alias or a number always means, and alone; None where calls go to more than one."""
        alias = self.aliases.get(ref)
        if (alias is not None and alias.canary is not None) or ref in self.shadows:
            return None
        return self.find(ref, lambda: 1.0)


@dataclass(frozen=True, slots=True)
class Release:
    """An app's live release. `bundle` is None when it was made by a newer Tenfold or is damaged; `problem` says why."""

    id: UUID
    number: int
    bundle: Bundle | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class App:
    id: UUID
    workspace_id: UUID
    name: str
    title: str
    access: str
    link_generation: int
    release: Release | None


@dataclass(frozen=True, slots=True)
class Workspace:
    id: UUID
    name: str
    models: Mapping[str, Model] = field(default_factory=dict)
    apps: Mapping[str, App] = field(default_factory=dict)
    members: Mapping[UUID, Member] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    workspaces: Mapping[str, Workspace] = field(default_factory=dict)
    keys: Mapping[str, Key] = field(default_factory=dict)
    versions: Mapping[UUID, Version] = field(default_factory=dict)
    code_deployments: Mapping[UUID, Deployment] = field(default_factory=dict)  # by environment
    deployments: Mapping[UUID, Deployment] = field(default_factory=dict)
    workspaces_by_id: Mapping[UUID, Workspace] = field(default_factory=dict)

    def find_app(self, workspace: str, app: str) -> App | None:
        found = self.workspaces.get(workspace)
        return None if found is None else found.apps.get(app)

    def key(self, key_id: str) -> Key | None:
        return self.keys.get(key_id)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the queries of `queries.py` returned, all seen at one moment."""

    workspaces: Sequence[Mapping[str, Any]]
    members: Sequence[Mapping[str, Any]]
    keys: Sequence[Mapping[str, Any]]
    models: Sequence[Mapping[str, Any]]
    versions: Sequence[Mapping[str, Any]]
    aliases: Sequence[Mapping[str, Any]]
    deployments: Sequence[Mapping[str, Any]]
    replicas: Sequence[Mapping[str, Any]]
    apps: Sequence[Mapping[str, Any]]
    shadows: Sequence[Mapping[str, Any]]


CODE_CONCURRENCY = 16
MAX_CONCURRENCY = 1024
STREAMING_READ_SECONDS = 60.0


def build_snapshot(rows: Rows, releases: Mapping[UUID, Release]) -> Snapshot:
    """Ties rows together. `releases` holds every live release by id (see `SnapshotLoader`, which parses each once)."""
    names = {row["id"]: str(row["name"]) for row in rows.workspaces}
    concurrency = {row["id"]: _concurrency(row["runtime"]) for row in rows.versions}
    by_version, by_environment, deployments = _deployments(rows, concurrency)
    versions = _versions(rows, names, by_version)
    models = _models(rows, versions)
    apps = _apps(rows, releases)
    members = _members(rows)
    workspaces = {
        name: Workspace(id, name, models.get(id, {}), apps.get(id, {}), members.get(id, {}))
        for id, name in names.items()
    }
    keys = {row["key_id"]: _key(row) for row in rows.keys}
    by_id = {workspace.id: workspace for workspace in workspaces.values()}
    return Snapshot(workspaces, keys, versions, by_environment, deployments, by_id)


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _deployments(
    rows: Rows, concurrency: Mapping[UUID, int]
) -> tuple[dict[UUID, Deployment], dict[UUID, Deployment], dict[UUID, Deployment]]:
    replicas: dict[UUID, list[Replica]] = {}
    for row in rows.replicas:
        replica = Replica(row["id"], row["state"], row["reason"], row["address"])
        replicas.setdefault(row["deployment_id"], []).append(replica)
    by_version: dict[UUID, Deployment] = {}
    by_environment: dict[UUID, Deployment] = {}
    by_id: dict[UUID, Deployment] = {}
    for row in rows.deployments:
        is_code = row["kind"] == "code"
        deployment = Deployment(
            id=row["id"],
            kind=row["kind"],
            desired_replicas=row["desired_replicas"],
            failures=row["failures"],
            unhealthy_reason=row["unhealthy_reason"],
            retry_at=row["retry_at"],
            replicas=tuple(replicas.get(row["id"], ())),
            concurrency=CODE_CONCURRENCY if is_code else concurrency.get(row["version_id"], 1),
            min_replicas=row["min_replicas"],
            max_replicas=row["max_replicas"],
            is_asleep=row["is_asleep"],
        )
        by_id[deployment.id] = deployment
        if is_code:
            by_environment[row["environment_id"]] = deployment
        else:
            by_version[row["version_id"]] = deployment
    return by_version, by_environment, by_id


def _versions(
    rows: Rows, workspaces: Mapping[UUID, str], deployments: Mapping[UUID, Deployment]
) -> dict[UUID, Version]:
    model_names = {row["id"]: str(row["name"]) for row in rows.models}
    return {
        row["id"]: Version(
            id=row["id"],
            model_id=row["model_id"],
            model_name=model_names[row["model_id"]],
            workspace_id=row["workspace_id"],
            workspace_name=workspaces[row["workspace_id"]],
            number=row["number"],
            state=row["state"],
            reason=row["reason"],
            hint=row["hint"],
            streaming_read_seconds=_streaming_read_seconds(row["runtime"]),
            text_columns=None if row["text_columns"] is None else frozenset(row["text_columns"]),
            transport=_transport(row["runtime"]),
            deployment=deployments.get(row["id"]),
        )
        for row in rows.versions
        if row["model_id"] in model_names and row["workspace_id"] in workspaces
    }


def _models(rows: Rows, versions: Mapping[UUID, Version]) -> dict[UUID, dict[str, Model]]:
    numbers: dict[UUID, dict[int, Version]] = {}
    for version in versions.values():
        numbers.setdefault(version.model_id, {})[version.number] = version
    aliases: dict[UUID, dict[str, Alias]] = {}
    for row in rows.aliases:
        if (meant := versions.get(row["version_id"])) is not None:
            alias = Alias(meant, versions.get(row["canary_version_id"]), row["canary_percent"])
            aliases.setdefault(row["model_id"], {})[row["name"]] = alias
    shadows: dict[UUID, dict[str, Shadow]] = {}
    for row in rows.shadows:
        if (tried := versions.get(row["version_id"])) is not None:
            shadow = Shadow(row["id"], row["alias"], tried, row["percent"], row["tolerance"])
            shadows.setdefault(row["model_id"], {})[shadow.alias] = shadow
    models: dict[UUID, dict[str, Model]] = {}
    for row in rows.models:
        id = row["id"]
        model = Model(id, row["name"], aliases.get(id, {}), numbers.get(id, {}), shadows.get(id, {}))
        models.setdefault(row["workspace_id"], {})[model.name] = model
    return models


def _apps(rows: Rows, releases: Mapping[UUID, Release]) -> dict[UUID, dict[str, App]]:
    apps: dict[UUID, dict[str, App]] = {}
    for row in rows.apps:
        app = App(
            id=row["id"],
            workspace_id=row["workspace_id"],
            name=row["name"],
            title=row["title"],
            access=row["access"],
            link_generation=row["link_generation"],
            release=releases.get(row["release_id"]) if row["release_id"] else None,
        )
        apps.setdefault(app.workspace_id, {})[app.name] = app
    return apps


def _members(rows: Rows) -> dict[UUID, dict[UUID, Member]]:
    members: dict[UUID, dict[UUID, Member]] = {}
    for row in rows.members:
        role = Role(row["role"])
        member = Member(row["user_id"], row["email"], row["name"], role, actions_of(role))
        members.setdefault(row["workspace_id"], {})[member.user_id] = member
    return members


def _key(row: Mapping[str, Any]) -> Key:
    return Key(
        id=row["id"],
        workspace_id=row["workspace_id"],
        key_id=row["key_id"],
        secret_hash=bytes.fromhex(row["secret_hash"]),
        name=row["name"],
        actions=actions_of_scopes(row["scopes"]),
        expires_at=row["expires_at"],
    )


def _concurrency(runtime: Any) -> int:
    value = runtime.get("predict_concurrency") if isinstance(runtime, dict) else None
    return min(max(value, 1), MAX_CONCURRENCY) if isinstance(value, int) else 1


def _streaming_read_seconds(runtime: Any) -> float:
    value = runtime.get("streaming_read_timeout") if isinstance(runtime, dict) else None
    return float(value) if isinstance(value, (int, float)) and value > 0 else STREAMING_READ_SECONDS


def _transport(runtime: Any) -> Transport:
    said = runtime.get("transport") if isinstance(runtime, dict) else None
    if not isinstance(said, dict):
        return Transport()
    return Transport(_positive(said.get("ping_interval_seconds")), _positive(said.get("ping_timeout_seconds")))


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
