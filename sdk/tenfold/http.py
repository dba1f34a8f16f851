"""HTTP with the platform: one connection pool, errors as exceptions, and retries where they are safe."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import httpx

from tenfold.errors import TenfoldError, TimedOut, Unavailable, error_of

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
RETRIED_STATUS = (429, 502, 503, 504)
NOT_STARTED_CODES = ("queue_full", "not_ready")
"""Answers that say that no user code has seen the request: sending it again cannot double anything."""

TIMEOUT = httpx.Timeout(60.0, connect=5.0)


@dataclass(frozen=True)
class Event:
    """One Server-Sent Event."""

    name: str
    data: Any
    id: str | None


class Http:
    """Requests to one origin with one key.

    `safe` requests (reads, PUT, DELETE, and POST with an Idempotency-Key) are tried again when the connection or the
    platform fails; others only when it is certain that nothing was done. Raises TenfoldError.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        from importlib.metadata import version

        self.base_url = base_url.rstrip("/")
        self._sleep = sleep
        self._client = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {key}", "User-Agent": f"tenfold-python/{version('tenfold')}"},
            timeout=TIMEOUT,
            transport=transport,
            verify=_tls(),
            follow_redirects=False,
        )

    def close(self) -> None:
        self._client.close()

    def json(self, method: Method, path: str, **options: Any) -> Any:
        """The answer's JSON value, None for an empty one."""
        response = self.request(method, path, **options)
        return response.json() if response.content else None

    def request(
        self,
        method: Method,
        path: str,
        *,
        json: Any = None,
        content: bytes | Callable[[], Iterator[bytes]] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """One answer with a 2xx status. A callable `content` is asked for its parts again at each attempt.

        `timeout` is for the whole call, retries included, in seconds.
        """
        safe = method != "POST" if safe is None else safe
        deadline = None if timeout is None else time.monotonic() + timeout
        wait = FIRST_WAIT_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            is_last = attempt == ATTEMPTS
            try:
                response = self._client.request(
                    method,
                    path,
                    json=json,
                    content=content() if callable(content) else content,
                    params={key: value for key, value in (params or {}).items() if value is not None},
                    headers=dict(headers or {}),
                    timeout=TIMEOUT if deadline is None else max(0.05, deadline - time.monotonic()),
                )
            except httpx.HTTPError as error:
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if is_last or not (safe or never_sent) or self._is_late(deadline, wait) or (never_sent and attempt > 2):
                    raise self._transport_error(error, method, path) from error
            else:
                if response.is_success:
                    return response
                fault = error_of(response.status_code, _body(response), request_id=_request_id(response))
                wait = max(wait, _retry_after(response))
                may_retry = (safe and response.status_code in RETRIED_STATUS) or fault.code in NOT_STARTED_CODES
                if is_last or not may_retry or wait > LONGEST_WAIT_SECONDS or self._is_late(deadline, wait):
                    raise fault
            self._sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def stream(
        self,
        method: Method,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Iterator[httpx.Response]:
        """One answer with a 2xx status whose body is read as it comes, sent once. `timeout` is for each part of it, in
        seconds. Raises TenfoldError, also while the body is read."""
        silence = TIMEOUT if timeout is None else httpx.Timeout(timeout, connect=5.0)
        try:
            with self._client.stream(
                method, path, json=json, content=content, headers=dict(headers or {}), timeout=silence
            ) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response.status_code, _body(response), request_id=_request_id(response))
                yield response
        except httpx.HTTPError as error:
            raise self._transport_error(error, method, path) from error

    def events(self, path: str, *, params: Mapping[str, Any] | None = None) -> Iterator[Event]:
        """Server-Sent Events until the server ends the stream. Raises TenfoldError when the connection breaks."""
        quiet = httpx.Timeout(30.0, connect=5.0)  # the server says something at least every 10 s
        try:
            with self._client.stream("GET", path, params=dict(params or {}), timeout=quiet) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response.status_code, _body(response), request_id=_request_id(response))
                yield from read_events(response.iter_lines())
        except httpx.HTTPError as error:
            raise self._transport_error(error, "GET", path) from error

    @staticmethod
    def _is_late(deadline: float | None, wait: float) -> bool:
        return deadline is not None and time.monotonic() + wait >= deadline

    def _transport_error(self, error: httpx.HTTPError, method: str, path: str) -> TenfoldError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Unavailable(
                f"Nothing answers at {self.base_url} ({_why(error)}).",
                code="no_connection",
                hint="Is `tenfold up` running? `tenfold whoami` shows which address is used.",
            )
        if isinstance(error, httpx.TimeoutException):
            return TimedOut(f"{method} {path} had no answer in time.", hint="Give it more time with timeout=.")
        return Unavailable(f"The connection to {self.base_url} broke: {_why(error)}.", code="connection_lost")


def read_events(lines: Iterator[str]) -> Iterator[Event]:
    """Events out of the lines of a stream, in the form of the HTML standard. Their data is JSON."""
    name, event_id, data = "message", None, list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(name, json.loads("\n".join(data)), event_id)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                event_id = value


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: to read the certificates takes longer than a request."""
    return httpx.create_ssl_context()


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _request_id(response: httpx.Response) -> str:
    return cast(str, response.headers.get("x-request-id", ""))


def _retry_after(response: httpx.Response) -> float:
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdigit() else 0.0
