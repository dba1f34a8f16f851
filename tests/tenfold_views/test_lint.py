from collections.abc import Callable
from typing import Any

import pytest

from tenfold_views import View, advise, lint, load_view

Report = Callable[..., list[tuple[str, str]]]


def node(type: str, order: str = "a0", **rest: Any) -> dict[str, Any]:
    return {"type": type, "at": ["page", "body", order], **rest}


def button(*actions: dict[str, Any], order: str = "b0") -> dict[str, Any]:
    return node("button", order, props={"label": "Go"}, on={"click": list(actions)})


FIELD = node("text-input", props={"label": "Name"})


def test_a_good_view_has_no_problems(problems_of: Report) -> None:
    assert (
        problems_of(
            params={"doc": {"type": "str"}},
            state={"page": {"note": {"type": "str"}}},
            queries={
                "ask": {"worklet": "classify", "run": "auto", "in": {"image": "=up.file"}, "when": "=up.valid"},
                "score": {"model": "iris@production", "in": {"inputs": ["=form.value"]}},
            },
            nodes={
                "up": node("file-picker", "a0", props={"label": "Photo"}),
                "form": node("schema-form", "a1", props={"schema": {"fields": []}}, on={"submit": [{"run": "score"}]}),
                "out": node("class-scores", "a2", props={"scores": "=score.data.probabilities[0]"}, when="=score.ok"),
                "box": node("modal", "a3", props={"title": "Box"}),
                "go": button(
                    {"set": {"state.note": "=event.value ?? params.doc", "up.file": None}},
                    {"open": "box"},
                    {"if": "=ask.data != null", "copy": "=json(ask.data)"},
                    {"reset": ["form", "score", "state.note"]},
                    {"navigate": {"view": "main", "params": {"doc": "=state.note"}}},
                    {"navigate": {"url": "https://example.com"}},
                    {"download": {"data": "=up.file"}},
                    {"toast": {"text": "=viewer.name", "kind": "success"}},
                ),
            },
        )
        == []
    )


@pytest.mark.parametrize(
    ("parts", "path", "message"),
    [
        ({"nodes": {"a": node("buton")}}, "nodes.a.type", "unknown component `buton`. Did you mean `button`?"),
        (
            {"nodes": {"a": node("heading", props={"text": "x", "texts": "x"})}},
            "nodes.a.props.texts",
            "unknown prop `texts`. Did you mean `text`?",
        ),
        ({"nodes": {"a": node("heading", props={})}}, "nodes.a.props", "a heading needs `text`. The heading."),
        (
            {"nodes": {"a": node("heading", props={"text": 5})}},
            "nodes.a.props.text",
            "5 is not a text. The heading.",
        ),
        (
            {"nodes": {"a": node("heading", props={"text": "x", "level": 9})}},
            "nodes.a.props.level",
            "9 is outside 2 to 4. 2 to 4; 1 is the page's title.",
        ),
        (
            {"nodes": {"a": node("alert", props={"text": "x", "kind": "eror"})}},
            "nodes.a.props.kind",
            "unknown value `eror`. Did you mean `error`?",
        ),
        (
            {"nodes": {"a": node("switch", props={"label": "x", "default": 1})}},
            "nodes.a.props.default",
            "1 is not true or false. The value before anyone enters one. When it changes, an untouched field follows.",
        ),
        (
            {"nodes": {"a": node("heading", props={"text": "x"}, on={"click": []})}},
            "nodes.a.on.click",
            "unknown event `click`. There are none.",
        ),
        (
            {"nodes": {"a": {"type": "divider", "at": ["nowhere", "body", "a0"]}}},
            "nodes.a.at[0]",
            "unknown parent `nowhere`. There is a, page.",
        ),
        (
            {"nodes": {"c": node("card"), "a": {"type": "divider", "at": ["c", "actoins", "a0"]}}},
            "nodes.a.at[1]",
            "unknown slot `actoins`. Did you mean `actions`?",
        ),
        (
            {"nodes": {"d": node("divider"), "a": {"type": "divider", "at": ["d", "body", "a0"]}}},
            "nodes.a.at[0]",
            "a divider holds nothing inside it. Put it in a stack, a row, a card or a form.",
        ),
        (
            {"nodes": {"a": node("divider"), "b": node("divider")}},
            "nodes.b.at[2]",
            "`a` stands at the same place, a0. Give one a key between its neighbours.",
        ),
        (
            {"nodes": {"a": node("divider", span=6)}},
            "nodes.a.span",
            "`span` means nothing inside a page. Put it in a row.",
        ),
        (
            {"nodes": {"a": node("page")}},
            "nodes.a.type",
            "only the root is a page. The root is the node named `page`, of type `page`.",
        ),
        (
            {"queries": {"q": {"worklet": "clasify"}}},
            "queries.q.worklet",
            "unknown worklet `clasify`. Did you mean `classify`?",
        ),
        ({"queries": {"q": {"model": "rose"}}}, "queries.q.model", "unknown model `rose`. There is iris."),
        (
            {"queries": {"q": {"worklet": "classify", "in": {"image": 1, "topp": 3}}}},
            "queries.q.in.topp",
            "unknown input of the worklet `classify` `topp`. Did you mean `top`?",
        ),
        (
            {"queries": {"q": {"worklet": "store", "in": {"id": "x"}}}},
            "queries.q.in",
            "the worklet `store` also needs `result`. Add it.",
        ),
        (
            {"queries": {"q": {"worklet": "classify", "run": "auto", "confirm": "?", "in": {"image": 1}}}},
            "queries.q.confirm",
            "nobody is there to ask. Only a manual query can ask first.",
        ),
        ({"nodes": {"a": button({"run": "qq"})}}, "nodes.a.on.click[0].run", "unknown query `qq`. There are none."),
        (
            {"nodes": {"a": button({"open": "a"})}},
            "nodes.a.on.click[0].open",
            "unknown dialog `a`. There are none.",
        ),
        (
            {"nodes": {"a": button({"navigate": {"view": "mainn"}})}},
            "nodes.a.on.click[0].navigate.view",
            "unknown view `mainn`. Did you mean `main`?",
        ),
        (
            {"nodes": {"a": button({"navigate": {"url": "javascript:alert(1)"}})}},
            "nodes.a.on.click[0].navigate.url",
            "'javascript:alert(1)' is not an address to go to. Use http, https, mailto or tel.",
        ),
        (
            {"nodes": {"a": button({"set": {"state.x": 1}})}},
            "nodes.a.on.click[0].set.state.x",
            "unknown state `x`. There are none.",
        ),
        (
            {"nodes": {"f": FIELD, "a": button({"set": {"f.valid": True}})}},
            "nodes.a.on.click[0].set.f.valid",
            "`f.valid` cannot be set. It takes `f.value`.",
        ),
        (
            {"nodes": {"a": button({"reset": "form"})}},
            "nodes.a.on.click[0].reset",
            "unknown thing to reset `form`. There is a, page.",
        ),
    ],
)
def test_each_mistake_is_said_with_its_path(
    problems_of: Report, parts: dict[str, Any], path: str, message: str
) -> None:
    assert problems_of(**parts) == [(path, message)]


def test_expressions_are_checked_with_path_and_column(make_view: Callable[..., View]) -> None:
    view = make_view(
        state={"page": {"note": {"type": "str"}}},
        queries={"q": {"model": "iris", "in": {"inputs": [{"a": "=f.value"}, {"b": "=1 + frm.value"}]}}},
        nodes={
            "f": FIELD,
            "bad": node("markdown", "a1", props={"text": "=f.value +"}),
            "gone": node("markdown", "a2", props={"text": "=q.dat"}, when="=state.nte"),
            "early": node("markdown", "a3", props={"text": "=event.value"}),
        },
    )
    found = lint(view, worklets={}, models=["iris"], views={})
    assert [(p.path, p.column, p.code) for p in found] == [
        ("nodes.bad.props.text", 9, "syntax"),
        ("nodes.gone.props.text", 0, "unknown_name"),
        ("nodes.gone.when", 0, "unknown_name"),
        ("nodes.early.props.text", 0, "unknown_name"),
        ("queries.q.in.inputs[1].b", 4, "unknown_name"),
    ]
    assert "Did you mean `data`?" in str(found[1])
    assert "Did you mean `note`?" in str(found[2])


def test_the_required_params_of_another_view_are_asked_for(problems_of: Report, make_view: Callable[..., View]) -> None:
    other = make_view(name="detail", params={"id": {"type": "int", "required": True}})
    nodes = {"a": button({"navigate": {"view": "detail", "params": {"idd": 1}}})}
    assert [path for path, _ in problems_of(others={"detail": other}, nodes=nodes)] == [
        "nodes.a.on.click[0].navigate.params.idd",
        "nodes.a.on.click[0].navigate.params",
    ]


def test_a_loop_is_refused_with_its_path(problems_of: Report) -> None:
    loop = {
        "queries": {"q": {"model": "iris", "run": "auto", "in": {"x": "=a.value"}}},
        "nodes": {
            "a": node("text-input", "a0", props={"label": "A", "default": "=b.value"}),
            "b": node("text-input", "a1", props={"label": "B", "default": "=q.data"}),
        },
    }
    assert problems_of(**loop) == [("nodes.a", "this depends on itself: a → b → q → a. Make a query of it manual.")]
    loop["queries"]["q"]["run"] = "manual"
    assert problems_of(**loop) == []


def test_what_only_changes_the_looks_closes_no_loop(problems_of: Report) -> None:
    assert (
        problems_of(
            queries={"q": {"model": "iris", "run": "auto", "in": {"x": "=a.value"}}},
            nodes={"a": node("text-input", props={"label": "A", "disabled": "=q.running"})},
        )
        == []
    )


def test_a_form_depends_on_what_is_inside_it_and_on_what_hides_it(problems_of: Report) -> None:
    nodes = {
        "form": node("form"),
        "box": {"type": "card", "at": ["form", "body", "a0"], "when": "=form.valid"},
        "name": {"type": "text-input", "at": ["box", "body", "a0"], "props": {"label": "Name"}},
    }
    assert [message for _, message in problems_of(nodes=nodes)] == [
        "this depends on itself: form → form. Make a query of it manual."
    ]


def test_nodes_that_hold_each_other_never_show(problems_of: Report) -> None:
    nodes = {
        "a": {"type": "card", "at": ["b", "body", "a0"]},
        "b": {"type": "card", "at": ["a", "body", "a0"]},
    }
    assert [path for path, _ in problems_of(nodes=nodes)] == ["nodes.a.at", "nodes.b.at"]


def test_advice_names_what_nothing_uses() -> None:
    text = """\
view: 1
name: main
state: {page: {used: {type: str}, unused: {type: str}}}
queries:
  never: {model: iris}
  silent: {model: iris, run: load}
  good: {model: iris, run: load}
nodes:
  a: {type: markdown, at: [page, body, a0], props: {text: "=`${state.used} ${good.data}`"}}
"""
    view = load_view(text, filename="main.yaml")
    assert [(p.path, p.line, p.code) for p in advise(view)] == [
        ("queries.never", 5, "unused"),
        ("queries.silent", 6, "unused"),
        ("state.page.unused", 3, "unused"),
    ]
