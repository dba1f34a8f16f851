"""Numbered upgrades: each takes a view document of one version and makes it one of the next.

To change the format: raise `CURRENT`, add a step to `STEPS`, and add a golden pair to the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CURRENT = 1

Step = Callable[[dict[str, Any]], dict[str, Any]]


def _numbered(document: dict[str, Any]) -> dict[str, Any]:
    """0 to 1. Before documents carried a number, nodes said `parent`, `slot` and `order` in three keys."""
    nodes = document.get("nodes")
    if not isinstance(nodes, dict):
        return {"view": 1, **document}
    return {"view": 1, **document, "nodes": {name: _placed(node) for name, node in nodes.items()}}


def _placed(node: Any) -> Any:
    if not isinstance(node, dict) or "parent" not in node:
        return node
    rest = {key: value for key, value in node.items() if key not in ("parent", "slot", "order")}
    place = {"at": [node["parent"], node.get("slot", "body"), node.get("order", "a0")]}
    return {"type": rest.pop("type", None), **place, **rest}


STEPS: dict[int, Step] = {0: _numbered}


def upgrade(document: dict[str, Any], version: int) -> dict[str, Any]:
    """Bring a document of a known version to the current one. Steps never change what they are given."""
    for number in range(version, CURRENT):
        document = STEPS[number](document)
    return document
