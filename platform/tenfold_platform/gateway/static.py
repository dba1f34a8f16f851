"""The published view's page: one shell for every address, and its immutable assets."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold_platform.errors import Unavailable
from tenfold_platform.gateway.credentials import nothing_here
from tenfold_platform.gateway.http import Header, Request

ASSETS = "view-assets"
SHELL = "view.html"

# Styles come from files and constructed style sheets only, so that not even they need an exception. Trusted Types are
# required of scripts: nothing may turn text into markup.
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
PAGE_HEADERS: list[Header] = [
    (b"content-security-policy", PAGE_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_ASSET_HEADERS: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_FOREVER = b"public, max-age=31536000, immutable"
_TYPES: Mapping[str, bytes] = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".mjs": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".json": b"application/json",
    ".map": b"application/json",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".ico": b"image/x-icon",
    ".webp": b"image/webp",
    ".woff": b"font/woff",
    ".woff2": b"font/woff2",
    ".ttf": b"font/ttf",
    ".wasm": b"application/wasm",
}
_COMPRESSIBLE = frozenset({".html", ".js", ".mjs", ".css", ".json", ".map", ".svg", ".wasm", ".ttf"})
_COMPRESS_FROM_BYTES = 1024
_REFUSED = re.compile(r"q\s*=\s*0(?:\.0*)?\Z")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it was at one moment, with the encodings it can be sent in."""

    modified_ns: int
    etag: str
    content_type: bytes
    bodies: Mapping[str, bytes]  # by content coding; "" is the file itself


class StaticFiles:
    """Reads each file once, and again when it has changed on disk."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._assets: dict[tuple[str, ...], Asset] = {}

    async def shell(self, request: Request) -> None:
        """The same bytes whether the app exists or not: the page itself finds out, with its grant."""
        asset = await self._find((SHELL,))
        if asset is None:
            raise Unavailable("The view page is not built.", hint="Build it: `npm run build` in views/studio.")
        await _send(request, asset, [*PAGE_HEADERS, (b"cache-control", b"no-cache")])

    async def asset(self, request: Request, path: tuple[str, ...]) -> None:
        asset = await self._find((ASSETS, *path))
        if asset is None:
            raise nothing_here()
        await _send(request, asset, [*_ASSET_HEADERS, (b"cache-control", _FOREVER)])

    async def _find(self, path: tuple[str, ...]) -> Asset | None:
        if self._folder is None or Path(path[-1]).suffix not in _TYPES:
            return None
        file = self._folder.joinpath(*path)
        try:
            found = file.lstat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        known = self._assets.get(path)
        if known is None or known.modified_ns != found.st_mtime_ns:
            known = self._assets[path] = await asyncio.to_thread(_read, file, found.st_mtime_ns)
        return known


def find_studio(configured: Path | None) -> Path | None:
    """The folder with the built studio: the one that was set, one inside the package, or the repository's own."""
    if configured is not None:
        return configured
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "studio_dist", package.parents[1] / "views" / "studio" / "dist"):
        if (candidate / SHELL).is_file():
            return candidate
    return None


async def _send(request: Request, asset: Asset, headers: list[Header]) -> None:
    headers.append((b"vary", b"Accept-Encoding"))
    headers.append((b"etag", asset.etag.encode()))
    if _matches(request.header(b"if-none-match"), asset.etag):
        await request.respond(304, headers)
        return
    coding, body = _best(asset, request.header(b"accept-encoding") or "")
    headers.append((b"content-type", asset.content_type))
    if coding:
        headers.append((b"content-encoding", coding.encode()))
    await request.respond(200, headers, body)


def _best(asset: Asset, accept_encoding: str) -> tuple[str, bytes]:
    """The smallest body that the client can read. `coding;q=0` refuses a coding."""
    accepted = set()
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if not _REFUSED.match(weight.strip()):
            accepted.add(coding.strip())
    return next(
        ((coding, asset.bodies[coding]) for coding in ("br", "gzip") if coding in accepted & asset.bodies.keys()),
        ("", asset.bodies[""]),
    )


def _matches(given: str | None, etag: str) -> bool:
    return given is not None and (given.strip() == "*" or etag in (part.strip() for part in given.split(",")))


def _read(file: Path, modified_ns: int) -> Asset:
    body = file.read_bytes()
    bodies = {"": body}
    for coding, suffix in (("br", ".br"), ("gzip", ".gz")):
        beside = file.with_name(file.name + suffix)
        if beside.is_file():
            bodies[coding] = beside.read_bytes()
    if "gzip" not in bodies and file.suffix in _COMPRESSIBLE and len(body) >= _COMPRESS_FROM_BYTES:
        bodies["gzip"] = gzip.compress(body, 9, mtime=0)
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Asset(modified_ns, etag, _TYPES[file.suffix], bodies)
