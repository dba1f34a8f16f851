"""An app's release as the gateway runs it: plans compiled, types parsed, models pinned. Read once per release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson

from tenfold_worklets.plan import Plan
from tenfold_worklets.types import PortType, parse_type

BUNDLE_VERSION = 1


class BundleError(ValueError):
    """A release's bundle that cannot be read: damaged, or made by a newer Tenfold."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a view may ask for by name.

    `inputs` are the names a client may send, with their types where those are known; None when one expression gives all
    of them, so that any name may come.
    """

    name: str
    kind: Literal["worklet", "model"]
    target: str
    inputs: Mapping[str, PortType | None] | None
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class View:
    """A screen. `document` is its ClientView as JSON text, sent as it is."""

    name: str
    title: str
    document: bytes
    queries: Mapping[str, Query]


@dataclass(frozen=True, slots=True)
class Bundle:
    title: str
    home: str | None
    worklets: Mapping[str, Plan]
    views: Mapping[str, View]
    models: Mapping[str, UUID]  # `name@alias` -> the pinned version
    environments: Mapping[str, UUID]
    code_digest: str | None
    openapi: bytes


def read_bundle(data: Mapping[str, Any]) -> Bundle:
    """Raises BundleError when it cannot be run from."""
    if data.get("bundle") != BUNDLE_VERSION:
        raise BundleError(f"the bundle has the version {data.get('bundle')!r}, and this gateway reads {BUNDLE_VERSION}")
    try:
        return Bundle(
            title=data["app"].get("title") or data["app"]["name"],
            home=data["app"].get("home"),
            worklets={name: Plan.from_json(worklet["plan"]) for name, worklet in data["worklets"].items()},
            views={name: _view(name, view) for name, view in data["views"].items()},
            models={ref: UUID(pin["version_id"]) for ref, pin in data["models"].items()},
            environments={name: UUID(str(id)) for name, id in data["environments"].items()},
            code_digest=data.get("code_digest"),
            openapi=orjson.dumps(data.get("openapi") or {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"the bundle is damaged: {type(error).__name__}: {error}") from error


def _view(name: str, data: Mapping[str, Any]) -> View:
    return View(
        name=name,
        title=data.get("title") or name,
        document=orjson.dumps(data["document"]),
        queries={query: _query(query, definition) for query, definition in data["queries"].items()},
    )


def _query(name: str, data: Mapping[str, Any]) -> Query:
    if data["kind"] not in ("worklet", "model"):
        raise BundleError(f"the query {name!r} is of the unknown kind {data['kind']!r}")
    timeout_ms, inputs = data.get("timeout_ms"), data.get("in")
    return Query(
        name=name,
        kind=data["kind"],
        target=data["target"],
        inputs=None if inputs is None else {key: type and parse_type(type) for key, type in inputs.items()},
        timeout_seconds=None if timeout_ms is None else timeout_ms / 1000,
    )
