"""Who is asking, and what they may do here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from tenfold_platform.auth.permissions import Action, Role
from tenfold_platform.errors import Forbidden


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A person (by session cookie) or a key. `actions` are those of the request's workspace."""

    kind: Literal["user", "key"]
    id: UUID  # of the user or of the key
    name: str  # the user's email, or the key's name
    actions: frozenset[Action] = frozenset()
    is_operator: bool = False
    role: Role | None = None  # a user's, in the request's workspace

    def may(self, action: Action) -> bool:
        return action in self.actions

    def require(self, action: Action) -> None:
        """For what the route's own permission does not say: a second right that one field of a request needs."""
        if not self.may(action):
            raise missing_right(self, action)


def missing_right(principal: Principal, action: Action) -> Forbidden:
    hint = (
        "Use a key with a wider scope."
        if principal.kind == "key"
        else "Ask an admin of the workspace for another role."
        if action not in {Action.SYSTEM_READ, Action.SYSTEM_MANAGE}
        else "Ask an operator of this installation."
    )
    return Forbidden(f"This needs the right {action.value}, which you do not have here.", hint=hint)
