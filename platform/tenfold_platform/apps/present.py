"""Apps and releases as the API shows them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from tenfold_platform.apps import links, service
from tenfold_platform.apps.schemas import App, AppSummary, FileChange, PinnedModel, Release, ViewLink, WorkletSummary
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.models.tables import ModelTable
from tenfold_platform.settings import Settings
from tenfold_worklets.plan import Plan, Port

SHOWN_RELEASES = 50


class Presenter:
    """Makes API objects of one workspace's apps."""

    def __init__(self, session: Session, settings: Settings, workspace_id: UUID, workspace_name: str) -> None:
        self._session = session
        self._settings = settings
        self._workspace_id = workspace_id
        self._workspace = workspace_name

    def summary(self, app: AppTable) -> AppSummary:
        shown = self._shown(app)
        return AppSummary(
            name=app.name,
            title=app.title or app.name,
            description=app.description,
            access=app.access,
            live_release=self._live_number(app),
            draft_revision=app.draft_revision,
            updated_at=app.updated_at,
            worklets=list(shown.bundle["worklets"]) if shown else [],
            views=self._views(app, shown),
            made_for_model=self._made_for(app),
            url=links.share_url(self._settings, self._workspace, app, shown),
        )

    def app(self, app: AppTable) -> App:
        shown = self._shown(app)
        releases = self._session.scalars(
            service.releases_of(app.id).order_by(ReleaseTable.number.desc()).limit(SHOWN_RELEASES)
        ).all()
        return App(
            **self.summary(app).model_dump(exclude={"worklets"}),
            created_at=app.created_at,
            draft_changed=self._draft_changed(app, releases),
            worklets=self._worklets(app, shown),
            models=_pinned(shown),
            releases=[self.release(app, release) for release in releases],
        )

    def release(self, app: AppTable, release: ReleaseTable) -> Release:
        return Release(
            number=release.number,
            state=release.state,
            reason=release.reason,
            hint=release.hint,
            stages=release.stages,
            note=release.note,
            live=app.live_release_id == release.id,
            created_at=release.created_at,
            created_by=release.created_by,
            ready_at=release.ready_at,
            models=_pinned(release),
            worklets=list(release.bundle["worklets"]),
            views=list(release.bundle["views"]),
        )

    def _shown(self, app: AppTable) -> ReleaseTable | None:
        """The live release, or the newest while none is live."""
        return (
            service.live_release(self._session, app)
            or self._session.scalars(
                service.releases_of(app.id).order_by(ReleaseTable.number.desc()).limit(1)
            ).one_or_none()
        )

    def _live_number(self, app: AppTable) -> int | None:
        live = service.live_release(self._session, app)
        return live.number if live else None

    def _made_for(self, app: AppTable) -> str | None:
        model = self._session.get(ModelTable, app.made_for_model_id) if app.made_for_model_id else None
        return model.name if model else None

    def _draft_changed(self, app: AppTable, releases: Sequence[ReleaseTable]) -> bool:
        if not releases:
            return True
        newest = service.release_files(self._session, releases[0])
        return service.draft_digest(newest) != service.draft_digest(service.read_draft(self._session, app))

    def _views(self, app: AppTable, release: ReleaseTable | None) -> list[ViewLink]:
        if release is None:
            return []
        return [
            ViewLink(
                name=name,
                title=view["title"] or name,
                url=links.view_url(self._settings, self._workspace, app.name, name),
            )
            for name, view in release.bundle["views"].items()
        ]

    def _worklets(self, app: AppTable, release: ReleaseTable | None) -> list[WorkletSummary]:
        if release is None:
            return []
        root = f"{self._settings.gateway_url}/v1/{self._workspace}/apps/{app.name}/worklets"
        return [
            _worklet(name, Plan.from_json(worklet["plan"]), f"{root}/{name}")
            for name, worklet in release.bundle["worklets"].items()
        ]


def diff_files(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[FileChange]:
    """What changed between two sets of files, as unified diffs. Files that are not text have none."""
    changes: list[FileChange] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        change: Any = "added" if old is None else "removed" if new is None else "changed"
        changes.append(FileChange(path=path, change=change, diff=_diff(path, old or b"", new or b"")))
    return changes


def _diff(path: str, old: bytes, new: bytes) -> str:
    try:
        lines = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        return ""
    return "\n".join(difflib.unified_diff(*lines, fromfile=path, tofile=path, lineterm=""))


def _pinned(release: ReleaseTable | None) -> list[PinnedModel]:
    if release is None:
        return []
    models: Mapping[str, Any] = release.bundle["models"]
    return [PinnedModel(ref=ref, model=pin["model"], version=pin["number"]) for ref, pin in models.items()]


def _worklet(name: str, plan: Plan, endpoint: str) -> WorkletSummary:
    return WorkletSummary(
        name=name,
        title=plan.title or name,
        description=plan.description,
        endpoint=endpoint if plan.http else None,
        input=[_port(port) for port in plan.input],
        output=[_port(port) for port in plan.output or ()],
        graph=plan.graph().to_json(),
    )


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "type": str(port.type),
        "required": port.required,
        "title": port.title,
        "description": port.description,
        "example": port.example,
    }
