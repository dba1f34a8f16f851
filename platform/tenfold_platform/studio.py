"""The studio: one page for every address that is not the API's, and its static files."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from tenfold_platform.auth.access import nothing_here
from tenfold_platform.context import services_of
from tenfold_platform.routing import PUBLIC, Router, origin_of
from tenfold_platform.settings import Settings

router = Router()

# the first segments that never are the studio's, however they are written
RESERVED = frozenset({"api", "assets", "healthz", "view-assets", "v1", "docs", "redoc", "openapi.json"})
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
FOR_A_YEAR = "public, max-age=31536000, immutable"
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
ROOT_FILES = frozenset({"favicon.ico", "favicon.svg", "robots.txt", "manifest.webmanifest", "apple-touch-icon.png"})

NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Tenfold</title>
<body><h1>The studio is not built</h1>
<p>This is a source checkout. Build the studio with <code>./dev ui</code>, then load this page again.</p></body></html>
"""


@router.get_or_head("/assets/{path:path}", allow=PUBLIC, include_in_schema=False)
def get_asset(request: Request, path: str) -> Response:
    """Files whose names change with their content."""
    folder = find_studio(services_of(request).settings)
    if folder is None:
        raise nothing_here()
    return _file(request, folder / "assets", path, FOR_A_YEAR)


@router.get_or_head("/{path:path}", allow=PUBLIC, include_in_schema=False)
def get_studio(request: Request, path: str) -> Response:
    settings = services_of(request).settings
    if path.partition("/")[0].lower() in RESERVED:
        raise nothing_here()
    elsewhere = _console_host(request, settings)
    if elsewhere is not None:
        return RedirectResponse(elsewhere, status_code=307)
    folder = find_studio(settings)
    if folder is None:
        return HTMLResponse(NOT_BUILT, headers=page_headers(settings))
    if path in ROOT_FILES:
        return _file(request, folder, path, "public, max-age=3600")
    return FileResponse(folder / "index.html", media_type="text/html", headers=page_headers(settings))


def find_studio(settings: Settings) -> Path | None:
    """The folder with the built studio: as told, inside the installed package, or in a source checkout."""
    here = Path(__file__).parent
    candidates = (
        [settings.studio_dir]
        if settings.studio_dir is not None
        else [here / "studio_dist", here.parent.parent / "views" / "studio" / "dist"]
    )
    return next((folder for folder in candidates if (folder / "index.html").is_file()), None)


def page_headers(settings: Settings) -> dict[str, str]:
    gateway = origin_of(settings.gateway_url)
    policy = (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        f"connect-src 'self' {gateway}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "object-src 'none'",
        "form-action 'self'",
    )
    return {"Content-Security-Policy": "; ".join(policy), "Cache-Control": "no-cache"}


def _console_host(request: Request, settings: Settings) -> str | None:
    """The same page at the console's own name, for who came by another name of this machine: the cookie and the check
    of origins know only one, and the other is where published views live."""
    own = urlsplit(settings.console_url)
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}")
        came_by, port = host.hostname, host.port
    except ValueError:
        return None
    if came_by == own.hostname or came_by not in LOOPBACK_HOSTS or own.hostname not in LOOPBACK_HOSTS:
        return None
    if port != own.port:
        return None
    query = request.scope["query_string"].decode("latin-1")
    path = quote(request.scope["path"], safe="/:@!$&'()*+,;=~-._")
    return settings.console_url.rstrip("/") + path + (f"?{query}" if query else "")


def _file(request: Request, folder: Path, path: str, caching: str) -> Response:
    root, file = folder.resolve(), (folder / path).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise nothing_here()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {
        "Cache-Control": caching,
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    }
    accepted = {
        part.partition(";")[0].strip().lower() for part in request.headers.get("accept-encoding", "").split(",")
    }
    for encoding, suffix in ENCODINGS:
        packed = file.with_name(file.name + suffix)
        if encoding in accepted and packed.is_file():
            return FileResponse(packed, media_type=kind, headers={**headers, "Content-Encoding": encoding})
    return FileResponse(file, media_type=kind, headers=headers)
