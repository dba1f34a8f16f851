"""Which handler answers a path. Exact segments only; a path with the wrong method is an unknown path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from tenfold_platform.gateway.http import ErrorResponse, Request, error_response

RouteKind = Literal[
    "predict", "method", "websocket", "prediction", "probe", "worklet", "session", "document", "query", "openapi",
    "page", "asset", "health", "metrics"
]  # fmt: skip
Method = Literal["GET", "POST", "DELETE", "WEBSOCKET"]
Handler = Callable[..., Awaitable[None]]

ANY = "*"


@dataclass(frozen=True, slots=True)
class Route:
    """`pattern` holds literal segments and `*` for one of any name; the handler gets what the stars stood for.

    `error_response`: the shape of errors that its callers expect.
    """

    method: Method
    pattern: tuple[str, ...]
    kind: RouteKind
    handler: Handler
    error_response: ErrorResponse = error_response


class Router:
    def __init__(self, routes: list[Route]) -> None:
        self._by_length: dict[int, list[Route]] = {}
        for route in routes:
            self._by_length.setdefault(len(route.pattern), []).append(route)

    def find(self, request: Request) -> tuple[Route, list[Any]] | None:
        """The route and its arguments. HEAD is answered where GET is."""
        segments = request.segments
        if segments is None:
            return None
        method = "GET" if request.method == "HEAD" else request.method
        for route in self._by_length.get(len(segments), ()):
            if route.method == method and (arguments := _match(route.pattern, segments)) is not None:
                return route, arguments
        return None


def _match(pattern: tuple[str, ...], segments: tuple[str, ...]) -> list[str] | None:
    arguments: list[str] = []
    for expected, given in zip(pattern, segments, strict=True):
        if expected == ANY:
            arguments.append(given)
        elif expected != given:
            return None
    return arguments
