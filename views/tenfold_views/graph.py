"""What depends on what in a view, known before it runs. A cycle would never come to rest, so it is refused on save.

A node's outputs depend on those props that feed them (see the manifest), and a form's on the inputs inside it. An
automatic query depends on its inputs and its condition; a manual one waits for a person, so a loop through it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tenfold_expressions import BindingErrors, Expression, bind
from tenfold_views.document import View
from tenfold_views.manifest import Manifest

Edges = Mapping[str, frozenset[str]]


def expressions_of(value: Any) -> list[tuple[tuple[str | int, ...], Expression]]:
    """Every expression in a value with its path; none where one does not parse (the lint reports that)."""
    try:
        return list(bind(value).expressions)
    except BindingErrors:
        return []


def names_in(value: Any) -> set[str]:
    return {name for _, expression in expressions_of(value) for name in expression.names}


def dependencies(view: View, manifest: Manifest) -> Edges:
    """For each node and query, the nodes and queries that its outputs are made from."""
    edges: dict[str, set[str]] = {}
    for name, node in view.nodes.items():
        component = manifest.components.get(node.type)
        feeding = {key for key, prop in component.props.items() if prop.feeds} if component else set(node.props)
        edges[name] = {used for key, value in node.props.items() if key in feeding for used in names_in(value)}
        if component and component.gathers:
            edges[name] |= _gathered(view, manifest, name)
    for name, query in view.queries.items():
        edges[name] = names_in(query.inputs) | names_in(query.when) if query.run == "auto" else set()
    known = edges.keys()
    return {name: frozenset(used & known) for name, used in edges.items()}


def find_cycle(edges: Edges) -> list[str] | None:
    """One cycle as a path that begins and ends with the same name, or None."""
    done: set[str] = set()
    for start in edges:
        path = _cycle_from(start, edges, done)
        if path:
            return path
    return None


def _cycle_from(start: str, edges: Edges, done: set[str]) -> list[str] | None:
    path: list[str] = []
    waiting: list[tuple[str, bool]] = [(start, True)]
    while waiting:
        name, entering = waiting.pop()
        if not entering:
            path.pop()
            done.add(name)
        elif name in path:
            return [*path[path.index(name) :], name]
        elif name not in done:
            path.append(name)
            waiting.append((name, False))
            waiting.extend((used, True) for used in sorted(edges.get(name, ())))
    return None


def _gathered(view: View, manifest: Manifest, parent: str) -> set[str]:
    """The inputs below a form, and what decides whether they show: a hidden input is not part of the form."""
    found: set[str] = set()
    waiting = [parent]
    seen = {parent}
    while waiting:
        for name in _inside(view, waiting.pop()):
            if name in seen:
                continue
            seen.add(name)
            node = view.nodes[name]
            found |= names_in(node.when)
            component = manifest.components.get(node.type)
            if component and "value" in component.outputs:
                found.add(name)
            if not (component and component.gathers):
                waiting.append(name)
    return found


def _inside(view: View, parent: str) -> Iterable[str]:
    return (name for name, node in view.nodes.items() if node.parent == parent)
