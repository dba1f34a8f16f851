"""What a release pins: compiled worklets, views and their queries, models by version, environments by id.

    {"bundle": 1,
     "app": {"name", "title", "home"},
     "worklets": {name: {"plan": ...}},
     "views": {name: {"title", "document": ClientView, "queries": {name: {"kind", "target", "in", "timeout_ms"}}}},
     "models": {"name@alias": {"model", "version_id", "number"}},
     "environments": {name: environment id},
     "code_digest": sha256 or None,
     "openapi": {...}}

The gateway runs from it and never reads YAML. Making one reports everything that is wrong with the app at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tenfold_deploy.archive import ArchiveError, check_path
from tenfold_expressions import DocumentError, Problem
from tenfold_views import View, advise, client_document, lint, load_views, server_queries
from tenfold_worklets.app import AppBundle, check_app
from tenfold_worklets.openapi import openapi_for_app
from tenfold_worklets.plan import Plan
from tenfold_worklets.signatures import Signature


@dataclass(frozen=True)
class CheckedApp:
    """An app's files, understood. `app` is None when there are problems."""

    app: AppBundle | None
    views: Mapping[str, View]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def check(files: Mapping[str, bytes], *, name: str, models: Mapping[str, Signature]) -> CheckedApp:
    """Reads all documents of the app `name`. `models` are what it may call, by `name@alias` and `name@version`."""
    problems = _check_paths(files)
    if problems:
        return CheckedApp(None, {}, tuple(problems))
    views, view_problems = load_views(files)
    warnings: list[Problem] = []

    def check_view(
        view_name: str, _text: str, /, *, worklets: Mapping[str, Plan], models: Mapping[str, Signature] | None
    ) -> list[Problem]:
        names = {reference.partition("@")[0] for reference in models or ()}
        if view_name not in views:
            return view_problems[view_name]
        view = views[view_name]
        warnings.extend(replace(p, path=f"views/{view_name}.yaml: {p.path}") for p in advise(view))
        return lint(view, worklets=_inputs_of(worklets), models=names, views=views)

    try:
        app = check_app(files, check_view=check_view, models=models, name=name)
    except DocumentError as error:
        return CheckedApp(None, views, tuple(error.problems))
    return CheckedApp(app, views, (), tuple(warnings))


def _inputs_of(worklets: Mapping[str, Plan]) -> dict[str, dict[str, str]]:
    """Each worklet's inputs as the lint of views wants them: a type that ends in `?` may be left out."""
    return {
        name: {port.name: f"{str(port.type).rstrip('?')}{'' if port.required else '?'}" for port in plan.input}
        for name, plan in worklets.items()
    }


def client_views(checked: CheckedApp) -> dict[str, Any]:
    """Each view as the page gets it, and its queries as the server runs them."""
    return {
        name: {"title": view.title, "document": client_document(view), "queries": server_queries(view)}
        for name, view in checked.views.items()
    }


def code_targets(bundle: Mapping[str, Any]) -> dict[str, list[str]]:
    """The functions that the worklets of a release call, by environment."""
    found: dict[str, set[str]] = {}
    for worklet in bundle["worklets"].values():
        for environment, target in Plan.from_json(worklet["plan"]).targets:
            found.setdefault(environment, set()).add(target)
    return {environment: sorted(targets) for environment, targets in found.items()}


def openapi(bundle: Mapping[str, Any], *, server_url: str, workspace: str) -> dict[str, Any]:
    """The OpenAPI document of a release's generated endpoints."""
    plans = {name: Plan.from_json(worklet["plan"]) for name, worklet in bundle["worklets"].items()}
    return openapi_for_app(bundle["app"], plans, server_url=server_url, workspace=workspace)


def _check_paths(files: Mapping[str, bytes]) -> list[Problem]:
    """Names that could not be laid out on a worker's disk. Sizes and counts are `check_app`'s."""
    problems: list[Problem] = []
    for path in files:
        try:
            check_path(path)
        except ArchiveError as error:
            problems.append(Problem(path, error.message, error.hint or ""))
    return problems
