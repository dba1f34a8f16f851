"""Names in worklets: things with an address are kebab-case, things an expression can say are identifiers."""

from __future__ import annotations

import re
from typing import TypeGuard

_ADDRESS = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}\Z")

ADDRESS_HINT = "Use lower-case letters, digits and hyphens, beginning with a letter, at most 63 characters."
IDENTIFIER_HINT = "Use letters, digits and underscores, at most 63 characters."


def is_address(name: object) -> TypeGuard[str]:
    """Whether it can name an app, a worklet, a model, an environment."""
    return isinstance(name, str) and bool(_ADDRESS.match(name))


def is_identifier(name: object) -> TypeGuard[str]:
    """Whether it can name a node, a port, an input."""
    return isinstance(name, str) and bool(_IDENTIFIER.match(name))
