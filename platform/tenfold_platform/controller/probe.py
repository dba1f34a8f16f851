"""Asking a worker how it is. A worker that cannot be reached is `unreachable`, which never means that it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenfold_platform.addresses import pinned
from tenfold_platform.controller.plan import HealthState
from tenfold_runtime.client import Client
from tenfold_runtime.frames import Frame, FrameError, parse_address

PROBE_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Health:
    state: HealthState
    reason: str = ""
    load_seconds: float | None = None
    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    in_flight: int = 0


def probe(address: str, *, wait_seconds: float = 0.0) -> Health:
    """`wait_seconds`: how long the worker is to wait with its answer while it is loading."""
    try:
        with connect(address, PROBE_TIMEOUT_SECONDS + wait_seconds) as client:
            header = client.request("health", wait_seconds=wait_seconds).header
    except (OSError, FrameError):
        return Health("unreachable")
    return Health(
        state=header.get("state", "unknown"),
        reason=_reason(header.get("error")),
        load_seconds=header.get("load_seconds"),
        memory_bytes=header.get("rss_bytes"),
        peak_memory_bytes=header.get("peak_rss_bytes"),
        in_flight=int(header.get("in_flight") or 0),
    )


def request(address: str, op: str, payload: bytes, *, timeout_seconds: float, **header: Any) -> Frame:
    """One request to a worker. Raises OSError (TimeoutError among them) or FrameError."""
    with connect(address, timeout_seconds) as client:
        return client.request(op, payload, timeout_seconds=timeout_seconds, **header)


def connect(address: str, timeout_seconds: float) -> Client:
    """A connection to a worker, and to no other one that its address was made to lead to. Raises OSError."""
    with pinned(parse_address(address)) as target:
        return Client(target, timeout_seconds=timeout_seconds)


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error or "")
    message = str(error.get("message") or error.get("code") or "")
    hint = str(error.get("hint") or "")
    if not hint:
        return message
    return f"{message} {hint}" if message.endswith((".", "!", "?")) else f"{message}. {hint}"
