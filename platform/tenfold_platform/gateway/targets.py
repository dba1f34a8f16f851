"""Which version of which model a path means, and whether the caller may call it."""

from __future__ import annotations

import re
from typing import NamedTuple

from tenfold_platform.auth.permissions import Action
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller, nothing_here, own_workspace
from tenfold_platform.gateway.http import Request
from tenfold_platform.gateway.snapshot import PRODUCTION, Model, Version, Workspace

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
_REF = re.compile(r"[a-z][a-z0-9-]{0,62}\Z|[1-9][0-9]{0,9}\Z")


class Target(NamedTuple):
    """`name` is `model` or `model@ref`; `ref` is what the rest of the path says instead, on Baseten's addresses."""

    workspace: str
    name: str
    ref: str | None = None


async def called_version(gateway: Gateway, request: Request, target: Target) -> tuple[Caller, Version]:
    """The caller and the version for this call, noted in the request. Raises Unauthenticated, NotFound or Forbidden."""

    caller, version = await gateway.look_up(lambda: _caller_and_version(gateway, request, target))
    caller.require(Action.MODELS_PREDICT)
    request.target = f"{target.workspace}/{version.model_name}"
    request.version_id = version.id
    return caller, version


async def called_model(gateway: Gateway, request: Request, target: Target) -> Model:
    """The model, whichever version is meant. Raises as `called_version` does."""

    def find() -> tuple[Caller, Model]:
        caller = gateway.authenticate(request)
        return caller, find_model(own_workspace(caller, target.workspace), target)[0]

    caller, model = await gateway.look_up(find)
    caller.require(Action.MODELS_PREDICT)
    request.target = f"{target.workspace}/{model.name}"
    return model


def _caller_and_version(gateway: Gateway, request: Request, target: Target) -> tuple[Caller, Version]:
    """In the caller's own workspace. Raises NotFound."""
    caller = gateway.authenticate(request)
    model, ref = find_model(own_workspace(caller, target.workspace), target)
    version = model.find(ref, gateway.chance)
    if version is None:
        raise nothing_here()
    if model.shadows:
        request.shadow = model.shadows.get(ref)
    return caller, version


def find_model(workspace: Workspace, target: Target) -> tuple[Model, str]:
    """The model, and which of its versions is meant. Raises NotFound."""
    model_name, at, ref = target.name.partition("@")
    if at and target.ref is not None:
        raise nothing_here()  # two versions at once
    wanted = target.ref if target.ref is not None else ref
    if not _NAME.match(model_name) or ((at or target.ref is not None) and not _REF.match(wanted)):
        raise nothing_here()
    model = workspace.models.get(model_name)
    if model is None:
        raise nothing_here()
    return model, wanted or PRODUCTION
