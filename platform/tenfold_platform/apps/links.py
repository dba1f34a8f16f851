"""Addresses of views: plain, with a share link's key, or with a member's short-lived handover (in the fragment)."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from tenfold_platform.apps.tables import Access, AppTable, ReleaseTable
from tenfold_platform.auth.tokens import TokenKind, issue, link_key
from tenfold_platform.settings import Settings


def view_url(settings: Settings, workspace: str, app: str, view: str | None) -> str:
    path = "/".join(quote(part, safe="") for part in (workspace, app, view) if part)
    return f"{settings.gateway_url}/{path}"


def home_of(release: ReleaseTable | None) -> str | None:
    """The view that an app opens with: the one it names, else its first."""
    if release is None:
        return None
    views: dict[str, object] = release.bundle["views"]
    return release.bundle["app"].get("home") or next(iter(views), None)


def share_url(settings: Settings, workspace: str, app: AppTable, release: ReleaseTable | None) -> str:
    """What to send to a colleague. A share link carries its key in the fragment, which no server ever sees."""
    url = view_url(settings, workspace, app.name, home_of(release))
    if app.access != Access.LINK:
        return url
    key = link_key(settings.signing_key.get_secret_value(), app.id, app.link_generation)
    return f"{url}#k={key}"


def member_url(
    settings: Settings,
    workspace: str,
    app: AppTable,
    view: str,
    *,
    workspace_id: UUID,
    user_id: UUID | None,
    name: str,
    role: str,
) -> str:
    """Opens a view as a member of the workspace, whatever the app's access."""
    token, _ = issue(
        settings.signing_key.get_secret_value(),
        TokenKind.OPEN,
        workspace_id=workspace_id,
        name=name,
        user_id=user_id,
        role=role,
        app_id=app.id,
    )
    return f"{view_url(settings, workspace, app.name, view)}#t={token}"
