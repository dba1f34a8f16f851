"""Who may do what: roles of people, scopes of keys. Data in, data out."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Action(StrEnum):
    """What a route asks for. Every route names one (or says that it is public)."""

    WORKSPACE_READ = "workspace.read"
    WORKSPACE_MANAGE = "workspace.manage"
    MEMBERS_MANAGE = "members.manage"
    KEYS_MANAGE = "keys.manage"
    MODELS_READ = "models.read"
    MODELS_WRITE = "models.write"
    MODELS_PREDICT = "models.predict"
    APPS_READ = "apps.read"
    APPS_WRITE = "apps.write"
    WORKLETS_RUN = "worklets.run"
    RUNS_READ = "runs.read"
    ENVIRONMENTS_READ = "environments.read"
    SECRETS_MANAGE = "secrets.manage"
    SYSTEM_READ = "system.read"
    SYSTEM_MANAGE = "system.manage"


class Role(StrEnum):
    """A person's role in one workspace."""

    ADMIN = "admin"
    EDITOR = "editor"  # builds and publishes
    OPERATOR = "operator"  # runs, retries, reads logs
    VIEWER = "viewer"  # uses published views


class Scope(StrEnum):
    """What a key may do in its workspace."""

    PREDICT = "predict"
    READ = "read"
    DEPLOY = "deploy"
    ADMIN = "admin"
    SYSTEM = "system"  # read the installation's state; given by operators only


VIEWER_ACTIONS = frozenset({Action.WORKSPACE_READ, Action.MODELS_READ, Action.APPS_READ})
OPERATOR_ACTIONS = VIEWER_ACTIONS | {
    Action.MODELS_PREDICT,
    Action.WORKLETS_RUN,
    Action.RUNS_READ,
    Action.ENVIRONMENTS_READ,
}
EDITOR_ACTIONS = OPERATOR_ACTIONS | {
    Action.MODELS_WRITE,
    Action.APPS_WRITE,
    Action.SECRETS_MANAGE,
    Action.KEYS_MANAGE,
}
ADMIN_ACTIONS = EDITOR_ACTIONS | {Action.WORKSPACE_MANAGE, Action.MEMBERS_MANAGE}
INSTALLATION_ACTIONS = frozenset({Action.SYSTEM_READ, Action.SYSTEM_MANAGE})

_OF_ROLE: dict[Role, frozenset[Action]] = {
    Role.VIEWER: VIEWER_ACTIONS,
    Role.OPERATOR: OPERATOR_ACTIONS,
    Role.EDITOR: EDITOR_ACTIONS,
    Role.ADMIN: ADMIN_ACTIONS,
}

_READ = frozenset(
    {Action.WORKSPACE_READ, Action.MODELS_READ, Action.APPS_READ, Action.RUNS_READ, Action.ENVIRONMENTS_READ}
)
_PREDICT = frozenset({Action.MODELS_PREDICT, Action.WORKLETS_RUN})
_OF_SCOPE: dict[Scope, frozenset[Action]] = {
    Scope.PREDICT: _PREDICT,
    Scope.READ: _READ,
    Scope.DEPLOY: _PREDICT | _READ | {Action.MODELS_WRITE, Action.APPS_WRITE, Action.SECRETS_MANAGE},
    Scope.ADMIN: ADMIN_ACTIONS,
    Scope.SYSTEM: frozenset({Action.SYSTEM_READ}),
}


def actions_of(role: Role | str) -> frozenset[Action]:
    return _OF_ROLE[Role(role)]


def actions_of_scopes(scopes: Iterable[Scope | str]) -> frozenset[Action]:
    """The union. A scope that this version does not know gives nothing."""
    known = {scope.value: actions for scope, actions in _OF_SCOPE.items()}
    return frozenset().union(*(known.get(str(scope), frozenset()) for scope in scopes))
