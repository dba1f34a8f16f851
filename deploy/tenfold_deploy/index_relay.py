"""The package indexes, and nothing else, for a sandbox without a network.

An HTTP server on a unix socket. It hands out the pages of the configured indexes, with every link rewritten to lead
back to itself, and the files that those pages name; there is no way to ask it for anything else. It asks the indexes as
uv outside would: with the machine's proxies and certificates, and with credentials that the sandbox never sees.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import netrc
import re
import shutil
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

PORT: Final = 3141  # inside, on a loopback that belongs to the sandbox alone; it stands in the keys of uv's cache
_ADDRESS: Final = f"http://127.0.0.1:{PORT}"
_PATH: Final = re.compile(r"/(?P<kind>index|links|file)/(?P<which>[0-9a-f]+)/(?P<rest>[^/]*)/?")
_PASSED_ON: Final = ("Accept", "Range", "If-None-Match", "If-Modified-Since")
_PASSED_BACK: Final = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")
_TIMEOUT_SECONDS: Final = 60.0
_MOST_PAGE_BYTES: Final = 64 * 1024 * 1024
_MOST_FILES: Final = 500_000
_MOST_CALLERS: Final = 128
_pages = threading.BoundedSemaphore(4)  # at a time, of all builds: a page can be large


@dataclass
class Relay:
    """What may be asked for. `indexes` and `links` are addresses as uv takes them; the first index is the default."""

    indexes: Sequence[str]
    links: Sequence[str]
    machine: Mapping[str, str]
    _files: dict[str, str] = field(default_factory=dict)

    def options(self) -> list[str]:
        """uv's options for finding all of it through the relay."""
        inside = [f"{_ADDRESS}/index/{number:x}/" for number in range(len(self.indexes))]
        options = ["--default-index", inside[0]] if inside else ["--no-index"]
        for address in inside[1:]:
            options += ["--index", address]
        for number in range(len(self.links)):
            options += ["--find-links", f"{_ADDRESS}/links/{number:x}/"]
        return options

    @contextmanager
    def listening(self, path: Path) -> Iterator[None]:
        """Answers at this socket for as long as the context lasts."""
        relay = self

        class Handler(_Handler):
            def setup(self) -> None:
                super().setup()
                self.relay = relay

        with _Server(str(path), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, name="index-relay", daemon=True, args=(0.1,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    def find(self, path: str) -> tuple[str, bool] | None:
        """The address behind a path, and whether it is a page."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        which, rest = match["which"], unquote(match["rest"])
        if match["kind"] == "file":
            address = self._files.get(which)
            if address is not None and rest.endswith(".metadata") and not urlsplit(address).path.endswith(".metadata"):
                parts = urlsplit(address)
                address = urlunsplit(parts._replace(path=f"{parts.path}.metadata"))
            return (address, False) if address else None
        known = self.indexes if match["kind"] == "index" else self.links
        if int(which, 16) >= len(known) or not re.fullmatch(r"[A-Za-z0-9._-]*", rest) or rest in (".", ".."):
            return None
        base = known[int(which, 16)]
        if match["kind"] == "links":
            return (base, True) if not rest else None
        page = f"{base.rstrip('/')}/{rest}/" if rest else f"{base.rstrip('/')}/"
        return (f"{page}index.html" if page.startswith("file:") else page), True

    def is_full(self) -> bool:
        """Whether so many files were named that this is no build any more, but a walk through the index."""
        return len(self._files) > _MOST_FILES

    def rewritten(self, page: bytes, content_type: str, address: str) -> bytes:
        """A page whose links lead to the relay. Remembers where they led."""
        if "json" in content_type:
            listed = json.loads(page)
            for file in listed.get("files", ()):
                file["url"] = self._inside(file["url"], address)
            return json.dumps(listed).encode()
        text = page.decode("utf-8", "replace")
        base = re.search(r"<base[^>]*\bhref\s*=\s*[\"']([^\"']*)", text, re.IGNORECASE)
        origin = urljoin(address, html.unescape(base[1])) if base else address
        text = re.sub(r"<base\b[^>]*>", "", text, flags=re.IGNORECASE)

        def replaced(match: re.Match[str]) -> str:
            inside = self._inside(html.unescape(match["link"]), origin)
            return f"{match['before']}{html.escape(inside)}{match['quote']}"

        link = r"(?P<before>\bhref\s*=\s*(?P<quote>[\"']))(?P<link>.*?)(?P=quote)"
        return re.sub(link, replaced, text, flags=re.IGNORECASE | re.DOTALL).encode()

    def request(self, address: str, headers: Mapping[str, str], method: str) -> urllib.request.Request:
        parts = urlsplit(address)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        request = urllib.request.Request(bare, headers=dict(headers), method=method)  # noqa: S310
        credentials = self._credentials(address)
        if credentials:
            encoded = base64.b64encode(":".join(credentials).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {encoded}")
        return request

    def _inside(self, link: str, origin: str) -> str:
        outside, _, fragment = urljoin(_bare(origin), link).partition("#")
        scheme = urlsplit(outside).scheme
        if scheme not in ("http", "https") and not (scheme == "file" and origin.startswith("file:")):
            return "#"
        key = hashlib.sha256(outside.encode()).hexdigest()[:32]
        self._files[key] = outside
        name = quote(unquote(urlsplit(outside).path.rpartition("/")[2]))
        return f"{_ADDRESS}/file/{key}/{name}" + (f"#{fragment}" if fragment else "")

    def _credentials(self, address: str) -> tuple[str, str] | None:
        """Of the address itself, of the configured index on that host, or of the netrc file."""
        host = urlsplit(address).hostname
        for known in (address, *self.indexes, *self.links):
            parts = urlsplit(known)
            if parts.hostname == host and parts.username:
                return unquote(parts.username), unquote(parts.password or "")
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            file = self.machine.get("NETRC") or str(Path.home() / ".netrc")
            found = netrc.netrc(file).authenticators(host or "")
            if found:
                return found[0], found[2] or ""
        return None


def with_credentials(addresses: Iterable[str], machine: Mapping[str, str]) -> list[str]:
    """Addresses with the names and passwords that uv takes from UV_INDEX_<NAME>_USERNAME and _PASSWORD."""
    named: dict[str, str] = {}
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX"):
        for word in machine.get(variable, "").split():
            name, equals, address = word.partition("=")
            if equals and "/" not in name:
                named[address.rstrip("/")] = re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    found = []
    for address in addresses:
        name = named.get(address.rstrip("/"), "")
        user = machine.get(f"UV_INDEX_{name}_USERNAME", "")
        password = machine.get(f"UV_INDEX_{name}_PASSWORD", "")
        parts = urlsplit(address)
        if name and (user or password) and not parts.username:
            login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
            parts = parts._replace(netloc=f"{login}{parts.netloc}")
        found.append(urlunsplit(parts))
    return found


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(path, handler)
        self._room = threading.BoundedSemaphore(_MOST_CALLERS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300
    relay: Relay

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        return "sandbox"

    def _answer(self) -> None:
        found = self.relay.find(self.path)
        if found is None:
            self._refuse(404)
            return
        address, is_page = found
        passed = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        request = self.relay.request(address, passed, "GET" if is_page else self.command)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
                if not is_page:
                    self._answer_file(response)
                elif self.relay.is_full():
                    self._refuse(503)
                else:
                    self._answer_page(response)
        except urllib.error.HTTPError as error:
            with error:
                self._refuse(error.code)
        except (FileNotFoundError, IsADirectoryError):
            self._refuse(404)
        except urllib.error.URLError as error:
            self._refuse(404 if isinstance(error.reason, FileNotFoundError) else 502)

    def _answer_page(self, response: Any) -> None:
        content_type = response.headers.get("Content-Type", "text/html")
        with _pages:
            content = self.relay.rewritten(response.read(_MOST_PAGE_BYTES), content_type, response.url)
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer_file(self, response: Any) -> None:
        self.send_response(response.status or 200)
        for name in _PASSED_BACK:
            if name in response.headers:
                self.send_header(name, response.headers[name])
        if "Content-Length" not in response.headers:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            shutil.copyfileobj(response, self.wfile, 1 << 18)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _bare(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
