"""Every address of a model: Tenfold's own, a Truss server's beneath it, and Baseten's, which choose the version too.

R is `/v1/{workspace}/models/{model}[@{alias or number}]`. A Truss path P is found at `R/P`, `R/sync/P`, and behind each
of `R/production`, `R/development`, `R/environments/{alias}` and `R/deployment/{number}` at `sync/P`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from tenfold_platform.gateway import predict, predictions, sockets, truss
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.http import Request
from tenfold_platform.gateway.routes import ANY, Method, Route, RouteKind
from tenfold_platform.gateway.snapshot import DEVELOPMENT, PRODUCTION
from tenfold_platform.gateway.targets import Target

Path = tuple[str, ...]
Handler = Callable[[Gateway, Request, Target], Awaitable[None]]
Address = tuple[Method, Path, RouteKind, Handler]

_MODEL: Path = ("v1", "models", "model")

_TRUSS: tuple[Address, ...] = (
    ("GET", _MODEL, "probe", truss.ready),
    ("GET", (*_MODEL, "loaded"), "probe", truss.loaded),
    ("GET", (*_MODEL, "schema"), "probe", truss.schema),
    ("POST", ("v1", "models", "model:predict"), "predict", truss.predict),
    ("POST", ("v1", "models", "model:predict_binary"), "predict", truss.predict),
    *(
        ("POST", tuple(path[1:].split("/")), "method", partial(truss.call_method, method=method))
        for method, path in truss.PATHS_OF_METHODS.items()
    ),
    ("WEBSOCKET", ("v1", "websocket"), "websocket", sockets.converse),
    ("WEBSOCKET", ("websocket",), "websocket", sockets.converse),
    ("GET", ("ping",), "probe", truss.loaded),
    ("POST", ("invocations",), "predict", truss.invoke),
    ("GET", ("metrics",), "probe", truss.metrics),
)

_BASETEN: tuple[Address, ...] = (
    ("POST", ("predict",), "predict", truss.predict),
    ("POST", ("async_predict",), "prediction", predictions.accept_wrapped),
    ("WEBSOCKET", ("websocket",), "websocket", sockets.converse),
)

# What comes before Baseten's paths, and the version it means: None for the one that its star stands for.
_CHOICES: tuple[tuple[Path, str | None], ...] = (
    (("production",), PRODUCTION),
    (("development",), DEVELOPMENT),
    (("environments", ANY), None),
    (("deployment", ANY), None),
)


def model_routes(gateway: Gateway) -> list[Route]:
    """The most called first: routes of one length are tried in order."""
    routes = [
        _beneath_model("POST", ("predict",), "predict", partial(predict.predict, gateway), is_own=True),
        _route(gateway, ("GET", (), "probe", truss.alive)),
        *(_route(gateway, address) for address in _TRUSS),
        *(_route(gateway, _behind(("sync",), address)) for address in _TRUSS),
        _prediction(gateway, "GET", ("predictions", ANY), predictions.show, is_own=True),
        _prediction(gateway, "DELETE", ("predictions", ANY), predictions.cancel, is_own=True),
        _prediction(gateway, "GET", ("async_request", ANY), predictions.show_as_baseten),
    ]
    behind_choices = (*_BASETEN, *(_behind(("sync",), address) for address in _TRUSS))
    for choice, ref in _CHOICES:
        routes += [_route(gateway, _behind(choice, address), ref=ref, chooses=True) for address in behind_choices]
    return routes


def _behind(prefix: Path, address: Address) -> Address:
    method, path, kind, handler = address
    return method, (*prefix, *path), kind, handler


def _route(gateway: Gateway, address: Address, *, ref: str | None = None, chooses: bool = False) -> Route:
    method, path, kind, handler = address

    async def answer(request: Request, workspace: str, model: str, *chosen: str) -> None:
        await handler(gateway, request, Target(workspace, model, (chosen[0] if chosen else ref) if chooses else None))

    return _beneath_model(method, path, kind, answer)


def _prediction(
    gateway: Gateway,
    method: Method,
    path: Path,
    handler: Callable[[Gateway, Request, Target, str], Awaitable[None]],
    *,
    is_own: bool = False,
) -> Route:
    async def answer(request: Request, workspace: str, model: str, id: str) -> None:
        await handler(gateway, request, Target(workspace, model), id)

    return _beneath_model(method, path, "prediction", answer, is_own=is_own)


def _beneath_model(
    method: Method, path: Path, kind: RouteKind, handler: Callable[..., Awaitable[None]], *, is_own: bool = False
) -> Route:
    pattern = ("v1", ANY, "models", ANY, *path)
    if is_own:
        return Route(method, pattern, kind, handler)
    return Route(method, pattern, kind, handler, truss.error_response)
