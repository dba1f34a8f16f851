import json
from collections.abc import Callable
from typing import Any

from tenfold_views import (
    View,
    ViewBuilder,
    client_document,
    json_schema,
    lint,
    load_manifest,
    load_view,
    server_queries,
)
from tenfold_views.build import order_key
from tenfold_views.upgrades import CURRENT, STEPS, upgrade


def test_a_browser_gets_no_name_of_a_worklet_or_model(make_view: Callable[..., View]) -> None:
    view = make_view(
        description="What it does",
        params={"doc": {"type": "str", "required": True}},
        state={"url": {"tab": {"type": "int", "default": 1}}},
        queries={
            "ask": {"worklet": "secret-worklet", "run": "auto", "debounce": "300ms", "in": {"text": "=f.value"}},
            "send": {"model": "secret-model@staging", "timeout": "5s", "confirm": "Sure?", "in": "=f.value"},
        },
        nodes={
            "f": {"type": "text-input", "at": ["page", "body", "a0"], "props": {"label": "Text"}},
            "go": {
                "type": "button",
                "at": ["page", "body", "a1"],
                "when": "=f.valid",
                "props": {"label": "Go"},
                "on": {"click": [{"run": "send", "if": "=f.valid"}]},
            },
        },
    )
    document = client_document(view)
    assert "secret" not in json.dumps(document)
    assert document == {
        "view": 1,
        "name": "main",
        "title": "main",
        "description": "What it does",
        "params": {"doc": {"type": "str", "required": True}},
        "state": {"tab": {"scope": "url", "type": "int", "default": 1}},
        "queries": {
            "ask": {"run": "auto", "in": {"text": "=f.value"}, "debounce_ms": 300},
            "send": {"run": "manual", "in": "=f.value", "confirm": "Sure?", "timeout_ms": 5000},
        },
        "nodes": {
            "page": {"type": "page"},
            "f": {"type": "text-input", "at": ["page", "body", "a0"], "props": {"label": "Text"}},
            "go": {
                "type": "button",
                "at": ["page", "body", "a1"],
                "props": {"label": "Go"},
                "when": "=f.valid",
                "on": {"click": [{"run": "send", "if": "=f.valid"}]},
            },
        },
    }
    assert server_queries(view) == {
        "ask": {"kind": "worklet", "target": "secret-worklet", "in": {"text": None}, "timeout_ms": None},
        "send": {"kind": "model", "target": "secret-model@staging", "in": None, "timeout_ms": 5000},
    }


GOLDEN: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {
    0: (
        {
            "name": "old",
            "nodes": {
                "a": {"type": "card", "parent": "page", "slot": "body", "order": "a1"},
                "b": {"type": "divider", "parent": "a", "span": {"md": 6}},
            },
        },
        {
            "view": 1,
            "name": "old",
            "nodes": {
                "a": {"type": "card", "at": ["page", "body", "a1"]},
                "b": {"type": "divider", "at": ["a", "body", "a0"], "span": {"md": 6}},
            },
        },
    )
}


def test_every_version_has_a_step_and_a_golden_pair() -> None:
    assert sorted(STEPS) == sorted(GOLDEN) == list(range(CURRENT))


def test_upgrades_give_the_golden_documents_and_change_nothing_in_place() -> None:
    for version, (before, after) in GOLDEN.items():
        kept = json.loads(json.dumps(before))
        assert upgrade(before, version) == after
        assert before == kept


def test_an_old_document_is_read_as_a_current_one() -> None:
    text = "name: old\nnodes:\n  a: {type: divider, parent: page, order: a3}\n"
    view = load_view(text, filename="old.yaml")
    assert (view.nodes["a"].parent, view.nodes["a"].order) == ("page", "a3")
    assert view.document["view"] == CURRENT


def built() -> ViewBuilder:
    page = ViewBuilder("main", title="Iris", description="Which iris is it?", page={"width": "wide"})
    page.state("last", "json")
    page.query("predict", worklet="predict", inputs={"row": "=form.value"}, timeout="30s")
    columns = page.add("columns", "row")
    left = columns.add("left", "card", {"title": "Flower", "description": None}, span=6)
    left.add("form", "schema-form", {"schema": {"fields": []}}, on={"submit": [{"run": "predict"}]})
    columns.add("scores", "class-scores", {"scores": "=predict.data"}, span={"base": 12, "md": 6}, when="=predict.ok")
    return page


def test_a_built_view_is_one_that_could_have_been_written() -> None:
    builder = built()
    written = load_view(builder.text(), filename="main.yaml")
    assert written.nodes == builder.view().nodes
    assert written.queries == builder.view().queries
    assert [node.name for node in written.children("columns")] == ["left", "scores"]
    assert "description" not in written.nodes["left"].props
    assert lint(written, worklets={"predict": {"row": "json"}}, models=[], views={}) == []


def test_order_keys_rise() -> None:
    keys = [order_key(index) for index in range(5000)]
    assert keys[0] == "a0"
    assert keys == sorted(set(keys))


def test_the_manifest_is_whole() -> None:
    manifest = load_manifest()
    for component in manifest.components.values():
        assert component.title, component.type
        assert component.description, component.type
        assert component.version >= 1
        assert all(prop.description for prop in component.props.values()), component.type
        assert all(prop.default in prop.enum for prop in component.props.values() if prop.enum and prop.default)
        name = component.accessibility.name
        assert name in component.props or component.type in ("page", "schema-form") or not name
    fed = {name for name, entry in manifest.components.items() if any(prop.feeds for prop in entry.props.values())}
    assert all(manifest.components[name].outputs for name in fed)


def test_the_schema_knows_every_component_and_action() -> None:
    schema = json_schema()
    nodes = schema["properties"]["nodes"]["additionalProperties"]["oneOf"]
    manifest = load_manifest()
    assert [entry["properties"]["type"]["const"] for entry in nodes] == list(manifest.components)
    actions = schema["$defs"]["action"]["oneOf"]
    assert [next(iter(entry["properties"])) for entry in actions] == list(manifest.actions)
    number = next(entry for entry in nodes if entry["properties"]["type"]["const"] == "heading")
    assert number["properties"]["props"]["properties"]["level"] == {
        "description": "2 to 4; 1 is the page's title.",
        "default": 2,
        "anyOf": [{"type": "integer", "minimum": 2, "maximum": 4}, {"$ref": "#/$defs/expression"}],
    }
    assert json.loads(json.dumps(schema)) == schema
