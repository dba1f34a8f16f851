"""The two halves of a released view: what a browser gets, and what the server keeps to itself."""

from __future__ import annotations

from typing import Any

from tenfold_views.document import ActionStep, Node, Query, View


def client_document(view: View) -> dict[str, Any]:
    """The view as the browser gets it, with no name of a worklet or a model in it.

    `{view, name, title, description?, params?, state?, queries: {name: {run, in, when?, debounce_ms?, confirm?,
    timeout_ms?}}, nodes: {name: {type, at?, props?, span?, when?, on?}}}`; nodes are in the order they are drawn.
    """
    document: dict[str, Any] = {"view": view.document["view"], "name": view.name, "title": view.title}
    if view.description:
        document["description"] = view.description
    if view.params:
        document["params"] = {
            name: _without_defaults({"type": param.type, "default": param.default, "required": param.required})
            for name, param in view.params.items()
        }
    if view.state:
        document["state"] = {
            name: _without_defaults({"scope": item.scope, "type": item.type, "default": item.default})
            for name, item in view.state.items()
        }
    document["queries"] = {name: _client_query(query) for name, query in view.queries.items()}
    document["nodes"] = {node.name: _client_node(node) for node in _drawn(view)}
    return document


def server_queries(view: View) -> dict[str, dict[str, Any]]:
    """What a published view may call: `{name: {kind, target, in, timeout_ms}}`.

    `in` has the names of the inputs, each with None until the release fills in its type; it is None when one
    expression gives all the inputs.
    """
    return {
        name: {
            "kind": query.kind,
            "target": query.target,
            "in": dict.fromkeys(query.inputs) if isinstance(query.inputs, dict) else None,
            "timeout_ms": query.timeout_ms,
        }
        for name, query in view.queries.items()
    }


def _client_query(query: Query) -> dict[str, Any]:
    return {"run": query.run, "in": query.inputs} | _without_defaults(
        {
            "when": query.when,
            "debounce_ms": query.debounce_ms,
            "confirm": query.confirm,
            "timeout_ms": query.timeout_ms,
        }
    )


def _client_node(node: Node) -> dict[str, Any]:
    placed = {"at": [node.parent, node.slot, node.order]} if node.parent is not None else {}
    events = {event: [_client_step(step) for step in steps] for event, steps in node.on.items()}
    return {"type": node.type, **placed} | _without_defaults(
        {"props": dict(node.props), "span": dict(node.span), "when": node.when, "on": events}
    )


def _client_step(step: ActionStep) -> dict[str, Any]:
    return {step.kind: step.value} | _without_defaults({"if": step.condition})


def _without_defaults(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None and value is not False and value != {}}


def _drawn(view: View) -> list[Node]:
    return sorted(view.nodes.values(), key=lambda node: (node.parent or "", node.slot, node.order, node.name))
