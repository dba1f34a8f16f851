"""The way into a workspace: `connect`, `model`, `app`, and the Client behind them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tenfold.credentials import Profile, find_profile
from tenfold.errors import NotSignedIn
from tenfold.http import Event, Http

if TYPE_CHECKING:
    import httpx

    from tenfold.apps import App
    from tenfold.models import Model


def connect(
    url: str | None = None, key: str | None = None, workspace: str | None = None, *, profile: str | None = None
) -> Client:
    """A client for one workspace.

    Without arguments: what TENFOLD_URL and TENFOLD_KEY say, else the current profile of the credentials file.
    Raises NotSignedIn when there are no credentials.
    """
    if (url is None) != (key is None):
        raise NotSignedIn("connect() needs both url and key, or neither.")
    if url is not None and key is not None:
        return Client(Profile(url.rstrip("/"), key, workspace))
    found = find_profile(profile)
    return Client(found if workspace is None else Profile(found.url, found.key, workspace, found.gateway_url))


def model(reference: str, *, client: Client | None = None) -> Model:
    """A deployed model: "churn", "churn@staging" or "churn@3". Raises NotFound."""
    return (client or connect()).model(reference)


def app(name: str, *, client: Client | None = None) -> App:
    """An app by its name. Raises NotFound."""
    return (client or connect()).app(name)


class Client:
    """One workspace of one Tenfold installation, with one key. May be used by many threads.

    Use `connect()` to make one. It is a context manager; `close()` gives its connections back.
    """

    def __init__(self, profile: Profile, *, transport: httpx.BaseTransport | None = None, **http: Any) -> None:
        self.profile = profile
        self._make_http: Callable[[str], Http] = lambda url: Http(url, profile.key, transport=transport, **http)
        self.api = self._make_http(profile.url)

    def __repr__(self) -> str:
        return f"Client({self.profile.url!r}, workspace={self.profile.workspace!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.api.close()
        if "gateway" in self.__dict__:
            self.gateway.close()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the key is: {key: {key_id, name, scopes}, workspace, gateway_url, console_url, version}."""
        found: dict[str, Any] = self.api.json("GET", "/api/v1/auth/key")
        return found

    @cached_property
    def workspace(self) -> str:
        return self.profile.workspace or str(self.identity["workspace"])

    @cached_property
    def gateway_url(self) -> str:
        return (self.profile.gateway_url or str(self.identity["gateway_url"])).rstrip("/")

    @cached_property
    def gateway(self) -> Http:
        """The data plane: predictions and worklet calls."""
        return self._make_http(self.gateway_url)

    # What a workspace holds

    def deploy(self, model: Any, name: str | None = None, **options: Any) -> Model:
        """See `tenfold.deploy`."""
        from tenfold.deploying import deploy  # it imports this module

        return deploy(model, name, client=self, **options)

    def model(self, reference: str) -> Model:
        from tenfold.models import Model  # it imports this module

        return Model.find(self, reference)

    def models(self) -> list[dict[str, Any]]:
        """Every model of the workspace, in brief."""
        return list(self.items("models"))

    def app(self, name: str) -> App:
        from tenfold.apps import App  # it imports this module

        return App.find(self, name)

    def apps(self) -> list[dict[str, Any]]:
        """Every app of the workspace, in brief."""
        return list(self.items("apps"))

    # The management API, below this workspace

    def path(self, *parts: str | int) -> str:
        return "/".join(
            ["/api/v1/workspaces", quote(self.workspace, safe=""), *(quote(str(part), safe="@") for part in parts)]
        )

    def get(self, *parts: str | int, **params: Any) -> Any:
        return self.api.json("GET", self.path(*parts), params=params)

    def put(self, *parts: str | int, body: Any) -> Any:
        return self.api.json("PUT", self.path(*parts), json=body)

    def patch(self, *parts: str | int, body: Any) -> Any:
        return self.api.json("PATCH", self.path(*parts), json=body, safe=True)

    def delete(self, *parts: str | int) -> None:
        self.api.json("DELETE", self.path(*parts))

    def create(self, *parts: str | int, body: Any) -> Any:
        """A POST that makes something, once, however often it has to be sent."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self.api.json("POST", self.path(*parts), json=body, headers=headers, safe=True)

    def ask(self, *parts: str | int, body: Any) -> Any:
        """A POST that changes nothing, or nothing more the second time."""
        return self.api.json("POST", self.path(*parts), json=body, safe=True)

    def items(self, *parts: str | int, limit: int | None = None, **params: Any) -> Iterator[dict[str, Any]]:
        """A list of the API, page after page."""
        cursor, given = None, 0
        while True:
            page = self.get(*parts, cursor=cursor, limit=min(limit or 200, 200), **params)
            for item in page["items"]:
                yield item
                given += 1
                if limit is not None and given >= limit:
                    return
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def events(self, *parts: str | int, **params: Any) -> Iterator[Event]:
        return self.api.events(self.path(*parts), params={k: v for k, v in params.items() if v is not None})

    def upload(self, digest: str, file: Path) -> None:
        """Sends one file to the artifact store."""

        def parts() -> Iterator[bytes]:
            with file.open("rb") as opened:
                while chunk := opened.read(1 << 20):
                    yield chunk

        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
        self.api.request("PUT", self.path("blobs", digest), content=parts, headers=headers, timeout=3600)
