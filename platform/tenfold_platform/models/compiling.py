"""Compiled serving: a version's other form, proven to answer alike, and how far it is.

A package may bring a compiler (`model_metadata.tenfold.compiler`): a class that is started once in the place of the
model's own, in its environment with a converter beside it. It answers with files for the package's data folder and a
report of the proof, or why there is none. The platform runs it in a worker, as it runs every user code, and starts the
version's replicas from those files and a smaller environment from then on. Nothing here knows a framework.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenfold_deploy.environments import EnvironmentFailed, EnvironmentSpec
from tenfold_platform.deployments import service as deployments
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.models.tables import CompilationState, CompilationTable, VersionTable

FILE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.py")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_REQUIREMENTS = 20
MAX_REASON = 1000
COMPILED = "compiled"  # the label of replicas that are
SAYS = {
    CompilationState.WAITING: "Not yet: first the version itself.",
    CompilationState.TOOLS: "Not yet: the compiler's packages are being installed.",
    CompilationState.CONVERTING: "Not yet: it is being compiled, and compared with the model.",
    CompilationState.BUILDING: "Not yet: proven, and its environment is being built.",
    CompilationState.SWITCHING: "Not yet: proven, and its replicas are being replaced.",
}
STARTS_COMPILED = (CompilationState.SWITCHING, CompilationState.SERVING)


@dataclass(frozen=True)
class Compiler:
    """What a package says of its compiler. `file` and `twin` lie beside the model's own class; `twin` has the class
    `Model` that serves what the compiler made.

    requires: packages that the compiler needs besides the model's. keeps: those of them that the twin needs.
    """

    file: str
    name: str
    twin: str
    requires: tuple[str, ...]
    keeps: tuple[str, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Compiler | None:
        """None where the package brings none, or describes it in a way that nobody understands."""
        told = _told(config)
        file, name, twin = (told.get(key) for key in ("file", "class", "twin"))
        lists = [told.get("requires"), told.get("keeps")]
        if not (_fits(FILE, file) and _fits(NAME, name) and _fits(FILE, twin)):
            return None
        if not all(isinstance(one, list) and one and all(isinstance(line, str) for line in one) for one in lists):
            return None
        requires, keeps = (tuple(one[:MAX_REQUIREMENTS]) for one in lists if one)
        return cls(str(file), str(name), str(twin), requires, keeps)


def _told(config: Mapping[str, Any]) -> Mapping[str, Any]:
    ours = (config.get("model_metadata") or {}).get("tenfold")
    told = ours.get("compiler") if isinstance(ours, dict) else None
    return told if isinstance(told, dict) else {}


def _fits(pattern: re.Pattern[str], given: object) -> bool:
    return isinstance(given, str) and pattern.fullmatch(given) is not None


def begin(session: Session, version: VersionTable) -> None:
    """Notes that the version is to be compiled once it is ready, where its package brings a compiler (or says why it
    brings none).
    """
    why_not = _told(version.config).get("why_not")
    if Compiler.of(version.config) is not None:
        session.add(CompilationTable(version_id=version.id, state=CompilationState.WAITING))
    elif isinstance(why_not, str):
        session.add(
            CompilationTable(version_id=version.id, state=CompilationState.REFUSED, reason=why_not[:MAX_REASON])
        )


def find(session: Session, version_id: UUID) -> CompilationTable | None:
    return session.get(CompilationTable, version_id)


def serve_original(session: Session, version_id: UUID, reason: str) -> None:
    """The version's replicas are the original from now on, each replaced when the new one is ready. For good: a deploy
    makes a version that is compiled again. One that is not compiled stays as it is, and is not compiled any more.
    """
    row = session.get(CompilationTable, version_id, with_for_update=True)
    if row is not None and row.state != CompilationState.REFUSED:
        give_up(session, row, reason)


def give_up(session: Session, row: CompilationTable, reason: str) -> None:
    """Refuses the row; replicas that were compiled, or were about to be, become the original."""
    was_compiled = row.state in STARTS_COMPILED
    refuse(row, reason)
    row.tools_id = row.environment_id = row.worker_id = None
    if was_compiled:
        session.flush()
        restart(session, row.version_id)


def restart(session: Session, version_id: UUID) -> None:
    """Replaces the replicas. One that is stopped or asleep starts from the right form when it starts again."""
    deployment = deployments.of_version(session, version_id)
    if deployment.desired_replicas > 0:
        deployments.restart(session, deployment)


def says(row: CompilationTable, *, is_on: bool, is_stopped: bool) -> str:
    """Where it stands, for people. `is_stopped`: no replica is wanted now; `is_on`: the installation compiles."""
    state = CompilationState(row.state)
    if state == CompilationState.REFUSED:
        return f"No. {row.reason}"
    if not is_on:
        return "No: compiling is switched off in this installation."
    if state == CompilationState.SWITCHING and is_stopped:
        return "Proven; it is used from the next start on."
    if state == CompilationState.SERVING:
        return f"Yes: equal on {row.report.get('rows')} rows ({row.report.get('precision')})."
    return SAYS[state]


def workers(session: Session) -> set[UUID]:
    """The processes that are compilers now: they have no replica's row, and are no strays."""
    return {one for one in session.scalars(select(CompilationTable.worker_id)) if one is not None}


def refuse(row: CompilationTable, reason: str) -> None:
    """The original goes on serving."""
    row.state, row.reason, row.lease_until = CompilationState.REFUSED, reason, None


# --- what runs


@dataclass(frozen=True)
class Twin:
    """What a compiled replica starts from."""

    python: str
    folder: str
    files: tuple[dict[str, Any], ...]
    config: dict[str, Any]


def twin_of(session: Session, version: VersionTable, *, is_on: bool) -> Twin | None:
    """None while (and where) replicas start from the original. `is_on`: the installation compiles. Nobody changes it
    until this transaction is over.
    """
    compiler = Compiler.of(version.config)
    if compiler is None or not is_on:
        return None
    row = session.get(CompilationTable, version.id, with_for_update={"read": True})
    if row is None or compiler is None or row.state not in STARTS_COMPILED or row.environment_id is None:
        return None
    environment = session.get_one(EnvironmentTable, row.environment_id)
    if not environment.python_path:
        return None
    files = (*_without_data(version), *row.files)
    config = {
        **version.config,
        "model_class_filename": compiler.twin,
        "model_class_name": "Model",
        "build_commands": [],
    }
    return Twin(environment.python_path, _folder("twin", version, row.files), files, config)


def compiler_package(version: VersionTable, compiler: Compiler) -> tuple[str, dict[str, Any]]:
    """The folder that the compiler runs from, and its configuration: the package, with another class."""
    config = {**version.config, "model_class_filename": compiler.file, "model_class_name": compiler.name}
    return _folder("compiler", version, []), config


def _without_data(version: VersionTable) -> list[dict[str, Any]]:
    data = str(version.config.get("data_dir") or "data").strip("/") + "/"
    return [entry for entry in version.files if not entry["path"].startswith(data)]


def data_path(version: VersionTable, name: str) -> str:
    """Where a file that the compiler made belongs."""
    return f"{str(version.config.get('data_dir') or 'data').strip('/')}/{name}"


def _folder(kind: str, version: VersionTable, files: list[Any]) -> str:
    parts = [kind, version.package_digest, *(f"{one['path']}\0{one['digest']}" for one in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# --- environments


def tools_spec(environment: EnvironmentTable, compiler: Compiler) -> EnvironmentSpec:
    """The model's environment, every package at the version that it has, and what the compiler needs besides.

    Raises EnvironmentFailed for a requirement that is none.
    """
    pinned = [f"{one['name']}=={one['version']}" for one in environment.packages]
    return EnvironmentSpec(environment.lock_python, (*pinned, *compiler.requires))


def twin_spec(tools: EnvironmentTable, compiler: Compiler) -> EnvironmentSpec:
    """What the twin needs, at the versions that it was proven with. Raises EnvironmentFailed."""
    versions = {one["name"]: one["version"] for one in tools.packages}
    missing = [name for name in compiler.keeps if name not in versions]
    if missing:
        raise EnvironmentFailed("failed", f"the compiler's environment has no {missing[0]}")
    return EnvironmentSpec(tools.lock_python, tuple(f"{name}=={versions[name]}" for name in compiler.keeps))
