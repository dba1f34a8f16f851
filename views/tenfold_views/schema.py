"""The JSON Schema of a view document, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any, get_args

from tenfold_views.document import WIDTHS, QueryKind, Run, ValueType
from tenfold_views.manifest import Component, Prop, load_manifest
from tenfold_views.upgrades import CURRENT

_EXPRESSION = {"type": "string", "pattern": "^=", "description": "An expression."}
_NAME = "^[A-Za-z_$][A-Za-z0-9_$]*$"
_DURATION = {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m)$"}
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array"},
    "rows": {"type": "array"},
    "columns": {"type": "array"},
    "options": {"type": "array"},
    "names": {"type": ["string", "array"]},
    "fields": {"type": ["object", "array"]},
    "scores": {"type": ["object", "array"]},
    "image": {"type": ["object", "string"]},
}


def json_schema() -> dict[str, Any]:
    """The schema of the current version, made from the component manifest."""
    manifest = load_manifest()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tenfold view",
        "type": "object",
        "required": ["view", "name", "nodes"],
        "additionalProperties": False,
        "properties": {
            "view": {"const": CURRENT},
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
            "title": {"type": "string"},
            "description": {"type": "string"},
            "params": _named(_params()),
            "state": _object({"url": _named(_state(url=True)), "page": _named(_state(url=False))}),
            "queries": _named(_query()),
            "nodes": _named({"oneOf": [_node(component) for component in manifest.components.values()]}),
        },
        "$defs": {
            "expression": _EXPRESSION,
            "action": {"oneOf": [_action(kind, entry.description) for kind, entry in manifest.actions.items()]},
        },
    }


def _named(entry: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": _NAME}, "additionalProperties": entry}


def _object(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": list(required)} if required else {})


def _params() -> dict[str, Any]:
    types = [name for name in get_args(ValueType) if name != "json"]
    return _object({"type": {"enum": types}, "in": {"const": "url"}, "default": {}, "required": {"type": "boolean"}})


def _state(*, url: bool) -> dict[str, Any]:
    return _object(
        {"type": {"enum": [name for name in get_args(ValueType) if not (url and name == "json")]}, "default": {}}
    )


def _query() -> dict[str, Any]:
    shared: dict[str, Any] = {
        "run": {"enum": list(get_args(Run))},
        "in": {"oneOf": [{"type": "object"}, {"$ref": "#/$defs/expression"}]},
        "when": {},
        "debounce": _DURATION,
        "timeout": _DURATION,
        "confirm": {"type": "string"},
    }
    return {"oneOf": [_object({kind: {"type": "string"}, **shared}, (kind,)) for kind in get_args(QueryKind)]}


def _node(component: Component) -> dict[str, Any]:
    columns = {"type": "integer", "minimum": 1, "maximum": 12}
    required = tuple(name for name, prop in component.props.items() if prop.required)
    properties: dict[str, Any] = {
        "type": {"const": component.type},
        "props": _object({name: _prop(prop) for name, prop in component.props.items()}, required),
        "when": {},
        "span": {"oneOf": [columns, _object(dict.fromkeys(WIDTHS, columns))]},
    }
    if component.type != "page":
        place = [{"type": "string"}, {"type": "string"}, {"type": "string", "pattern": "^[0-9A-Za-z]{1,64}$"}]
        properties["at"] = {"type": "array", "prefixItems": place, "minItems": 3, "maxItems": 3}
    if component.events:
        actions = {"type": "array", "items": {"$ref": "#/$defs/action"}}
        properties["on"] = _object(
            {name: {"description": event.description, **actions} for name, event in component.events.items()}
        )
    needed = ("type",) if component.type == "page" else ("type", "at")
    if required:
        needed = (*needed, "props")
    return {"title": component.title, "description": component.description} | _object(properties, needed)


def _prop(prop: Prop) -> dict[str, Any]:
    literal: dict[str, Any] = {"enum": list(prop.enum)} if prop.enum else dict(_JSON_TYPES.get(prop.type, {}))
    if prop.minimum is not None:
        literal["minimum"] = prop.minimum
    if prop.maximum is not None:
        literal["maximum"] = prop.maximum
    about: dict[str, Any] = {"description": prop.description}
    if prop.default is not None:
        about["default"] = prop.default
    if not literal or literal == {"type": "string"}:
        return about | literal
    return about | {"anyOf": [literal, {"$ref": "#/$defs/expression"}]}


def _action(kind: str, description: str) -> dict[str, Any]:
    return _object({kind: {"description": description}, "if": {"description": "Only then."}}, (kind,))
