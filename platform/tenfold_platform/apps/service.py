"""Apps: a draft that changes, releases that do not.

A release is compiled and pinned here, and brought to life by the controller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, cast, delete, select
from sqlalchemy.orm import Session

from tenfold_deploy.environments import EnvironmentFailed, EnvironmentSpec
from tenfold_deploy.packages import manifest_digest
from tenfold_expressions import Problem
from tenfold_platform import stages
from tenfold_platform.apps import bundle
from tenfold_platform.apps.bundle import CheckedApp
from tenfold_platform.apps.tables import AppFileTable, AppTable, ReleaseFileTable, ReleaseState, ReleaseTable
from tenfold_platform.deployments import service as deployments
from tenfold_platform.documents import as_details
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.errors import Conflict, InvalidDocument, NotFound
from tenfold_platform.ids import new_id
from tenfold_platform.models import service as models
from tenfold_platform.models.tables import VersionState, VersionTable
from tenfold_platform.workspaces.tables import WorkspaceTable
from tenfold_worklets.signatures import model_signature

CODE_FOLDERS = ("code/", "packages/")

Files = Mapping[str, bytes]


# --- finding


def apps_of(workspace_id: UUID) -> Select[AppTable]:
    return select(AppTable).where(AppTable.workspace_id == workspace_id)


def find_app(session: Session, workspace_id: UUID, name: str) -> AppTable | None:
    return session.scalars(apps_of(workspace_id).where(AppTable.name == name)).one_or_none()


def get_app(session: Session, workspace_id: UUID, name: str) -> AppTable:
    app = find_app(session, workspace_id, name)
    if app is None:
        raise NotFound("There is no such app.")
    return app


def releases_of(app_id: UUID) -> Select[ReleaseTable]:
    return select(ReleaseTable).where(ReleaseTable.app_id == app_id)


def get_release(session: Session, app: AppTable, number: int) -> ReleaseTable:
    release = session.scalars(releases_of(app.id).where(ReleaseTable.number == number)).one_or_none()
    if release is None:
        raise NotFound("There is no such release.")
    return release


def live_release(session: Session, app: AppTable) -> ReleaseTable | None:
    return session.get(ReleaseTable, app.live_release_id) if app.live_release_id else None


def release_before(session: Session, release: ReleaseTable) -> ReleaseTable | None:
    query = releases_of(release.app_id).where(ReleaseTable.number < release.number)
    return session.scalars(query.order_by(ReleaseTable.number.desc()).limit(1)).one_or_none()


def newest_release_pinning(session: Session, version: VersionTable) -> ReleaseTable | None:
    """The newest release of the version's own app that was made for it."""
    return session.scalars(
        select(ReleaseTable)
        .join(AppTable, AppTable.id == ReleaseTable.app_id)
        .where(AppTable.made_for_model_id == version.model_id)
        .where(cast(ReleaseTable.bundle["models"], Text).contains(str(version.id)))
        .order_by(ReleaseTable.number.desc())
        .limit(1)
    ).one_or_none()


# --- the draft


def read_draft(session: Session, app: AppTable) -> dict[str, bytes]:
    rows = session.execute(
        select(AppFileTable.path, AppFileTable.content).where(AppFileTable.app_id == app.id).order_by(AppFileTable.path)
    )
    return {path: content for path, content in rows}


def release_files(session: Session, release: ReleaseTable) -> dict[str, bytes]:
    rows = session.execute(
        select(ReleaseFileTable.path, ReleaseFileTable.content)
        .where(ReleaseFileTable.release_id == release.id)
        .order_by(ReleaseFileTable.path)
    )
    return {path: content for path, content in rows}


def draft_digest(files: Files) -> str:
    return manifest_digest((path, hashlib.sha256(content).hexdigest(), False) for path, content in files.items())


def check(session: Session, workspace_id: UUID, files: Files, *, name: str) -> CheckedApp:
    """Reads the files as the app `name` of this workspace, and reports everything that is wrong."""
    schemas = models.schemas_by_reference(session, workspace_id)
    signatures = {reference: model_signature(schema) for reference, schema in schemas.items()}
    return bundle.check(files, name=name, models=signatures)


def push_draft(
    session: Session, workspace_id: UUID, name: str, files: Files, *, revision: int | None, updated_by: str
) -> tuple[AppTable, list[str]]:
    """Replaces an app's draft (and makes the app when missing). Returns the app and the paths that changed.

    Raises:
        InvalidDocument: the files have problems; nothing is saved.
        Conflict: the draft moved on since `revision`.
    """
    checked = check(session, workspace_id, files, name=name)
    raise_problems(list(checked.problems))
    app = find_app(session, workspace_id, name)
    if app is None:
        app = AppTable(id=new_id(), workspace_id=workspace_id, name=name, draft_revision=0)
        session.add(app)
        session.flush()
    elif revision is not None and revision != app.draft_revision:
        raise Conflict(
            f"The draft is at revision {app.draft_revision}, and yours began at {revision}.",
            code="draft_moved",
            hint="Pull it, bring the two together, then push again.",
        )
    return app, write_draft(session, app, files, updated_by=updated_by, checked=checked)


def write_draft(
    session: Session, app: AppTable, files: Files, *, updated_by: str, checked: CheckedApp | None = None
) -> list[str]:
    """Makes the draft exactly these files. Returns the paths that were added, changed or removed."""
    checked = checked or check(session, app.workspace_id, files, name=app.name)
    before = read_draft(session, app)
    changed = sorted(path for path in {*before, *files} if before.get(path) != files.get(path))
    if changed:
        session.execute(delete(AppFileTable).where(AppFileTable.app_id == app.id, AppFileTable.path.in_(changed)))
        session.add_all(
            AppFileTable(
                app_id=app.id,
                path=path,
                content=files[path],
                digest=hashlib.sha256(files[path]).hexdigest(),
                updated_by=updated_by,
            )
            for path in changed
            if path in files
        )
        app.draft_revision += 1
    if checked.app is not None:
        app.title, app.description = checked.app.app.title, checked.app.app.description
    session.flush()
    return changed


def raise_problems(problems: list[Problem]) -> None:
    if problems:
        details = as_details(problems)
        count = "1 problem" if len(details) == 1 else f"{len(details)} problems"
        raise InvalidDocument(f"The app has {count}.", details=details)


# --- releases


def create_release(
    session: Session, app: AppTable, *, note: str, created_by: str, now: datetime, go_live: bool = True
) -> ReleaseTable:
    """Pins the draft: code, environments, model versions. It goes live once the controller has prepared it.

    Raises:
        InvalidDocument: the draft has problems, or names models that cannot be called.
    """
    files = read_draft(session, app)
    checked = check(session, app.workspace_id, files, name=app.name)
    problems = list(checked.problems)
    if checked.app is None:
        raise_problems(problems or [Problem("app.yaml", "the draft is empty", "Push the app first.")])
        raise AssertionError("problems were raised")
    pinned = _pin_models(session, app.workspace_id, checked, problems)
    pinned_environments = _pin_environments(session, app.workspace_id, checked, problems)
    raise_problems(problems)
    environment_ids = {name: str(environment.id) for name, environment in pinned_environments.items()}
    code = {path: content for path, content in files.items() if path.startswith(CODE_FOLDERS)}
    session.refresh(app, with_for_update=True)
    app.last_number += 1
    release = ReleaseTable(
        id=new_id(),
        workspace_id=app.workspace_id,
        app_id=app.id,
        number=app.last_number,
        note=note,
        go_live=go_live,
        created_by=created_by,
        code_digest=draft_digest(code) if code else None,
        bundle={},
        stages=stages.moved(stages.fresh(stages.RELEASE_STAGES), "validate", "done", now),
    )
    release.bundle = {
        "bundle": 1,
        "app": {
            "name": app.name,
            "title": checked.app.app.title,
            "description": checked.app.app.description,
            "home": checked.app.app.home,
            "release": release.number,
        },
        "worklets": {name: {"plan": plan.to_json()} for name, plan in checked.app.worklets.items()},
        "views": bundle.client_views(checked),
        "models": pinned,
        "environments": environment_ids,
        "code_digest": release.code_digest,
    }
    workspace = session.get_one(WorkspaceTable, app.workspace_id).name
    release.bundle["openapi"] = bundle.openapi(release.bundle, server_url="/", workspace=workspace)
    session.add(release)
    session.flush()
    session.add_all(
        ReleaseFileTable(release_id=release.id, path=path, content=content, digest=hashlib.sha256(content).hexdigest())
        for path, content in files.items()
    )
    for environment_id in environment_ids.values():
        deployments.ensure_code_pool(session, app.workspace_id, UUID(environment_id))
    for model in pinned.values():
        deployments.start(deployments.of_version(session, UUID(model["version_id"])))
    session.flush()
    return release


def make_live(session: Session, release: ReleaseTable) -> None:
    """Makes a prepared release the one that callers and visitors get. Models that only the former one pinned may stop.

    Raises:
        Conflict: it is not ready, or calls a model version that was deleted meanwhile.
    """
    if release.state != ReleaseState.READY:
        raise Conflict(
            f"Release {release.number} is {release.state}, so it cannot go live.",
            code="release_not_ready",
            hint=release.reason or "Wait until it is ready.",
        )
    app = session.get_one(AppTable, release.app_id, with_for_update=True)
    former = live_release(session, app)
    app.live_release_id = release.id
    session.flush()
    for model in release.bundle["models"].values():
        deployment = deployments.find_of_version(session, UUID(model["version_id"]))
        if deployment is None:
            raise Conflict(
                f"Release {release.number} calls version {model['number']} of {model['model']}, which is deleted.",
                code="model_gone",
                hint="Release the app again: a new release takes the version that is there now.",
            )
        deployments.start(deployment)
    for environment_id in release.bundle["environments"].values():
        deployments.ensure_code_pool(session, app.workspace_id, UUID(environment_id))
    if former is not None and former.id != release.id:
        deployments.stop_unneeded(session, [UUID(model["version_id"]) for model in former.bundle["models"].values()])


def delete_app(session: Session, app: AppTable) -> None:
    """Deletes an app with its releases and runs. Models that only it pinned may stop."""
    live = live_release(session, app)
    pinned = [UUID(model["version_id"]) for model in live.bundle["models"].values()] if live else []
    session.execute(delete(AppTable).where(AppTable.id == app.id))
    deployments.stop_unneeded(session, pinned)


def _pin_models(
    session: Session, workspace_id: UUID, checked: CheckedApp, problems: list[Problem]
) -> dict[str, dict[str, Any]]:
    pinned: dict[str, dict[str, Any]] = {}
    for reference in _model_references(checked):
        version = models.find_by_reference(session, workspace_id, reference)
        name, _, wanted = reference.partition("@")
        if version is None:
            what = f"the model {name} has no {wanted or models.PRODUCTION}"
            if models.find_model(session, workspace_id, name) is None:
                what = f"there is no model named {name}"
            problems.append(Problem("models", what, "Deploy it first: tenfold.deploy(...)", "unknown_model"))
        elif version.state != VersionState.READY:
            what = f"version {version.number} of {name} is {version.state}"
            problems.append(Problem("models", what, version.reason or "Wait until it is ready.", "model_not_ready"))
        else:
            pinned[reference] = {"model": name, "version_id": str(version.id), "number": version.number}
    return pinned


def _model_references(checked: CheckedApp) -> list[str]:
    assert checked.app is not None
    from_views = {
        query["target"]
        for view in bundle.client_views(checked).values()
        for query in view["queries"].values()
        if query["kind"] == "model"
    }
    return sorted({*checked.app.models, *from_views})


def _pin_environments(
    session: Session, workspace_id: UUID, checked: CheckedApp, problems: list[Problem]
) -> dict[str, EnvironmentTable]:
    """Of each environment that a function runs in: what the workspace has under its name, or one for its own wishes."""
    assert checked.app is not None
    pinned: dict[str, EnvironmentTable] = {}
    for name in sorted(checked.app.targets):
        wanted = checked.app.app.environments[name]
        try:
            if wanted.named is not None:
                pinned[name] = environments.named(session, workspace_id, wanted.named)
            else:
                spec = EnvironmentSpec(wanted.python, tuple(wanted.requirements))
                pinned[name] = environments.get_or_create(session, workspace_id, spec)
        except (EnvironmentFailed, NotFound) as error:
            problems.append(Problem(f"app.yaml:environments.{name}", error.message, error.hint or "", error.code))
    return pinned
