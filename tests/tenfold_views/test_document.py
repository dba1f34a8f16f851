import pytest

from tenfold_views import DocumentError, View, load_view

REVIEW = """\
view: 1
name: review
title: Invoice review
params: {doc: {type: str, in: url}}
state:
  page: {note: {type: str, default: ""}}
  url: {tab: {type: int, default: 1}}
queries:
  extract: {worklet: ocr, run: auto, timeout: 60s, in: {file: =upload.file}}
  submit: {model: scorer@staging, confirm: "Submit?", debounce: 300ms, in: {inputs: [=form.value]}}
nodes:
  upload: {type: file-picker, at: [page, body, a0], props: {label: Invoice, accept: [application/pdf]}}
  cols: {type: row, at: [page, body, a1]}
  form: {type: form, at: [cols, body, a1], span: 5}
  ok:
    type: button
    at: [form, body, a2]
    when: =form.valid
    props: {label: Submit, disabled: "=!form.valid || submit.running"}
    on: {click: [{run: submit}, {if: =submit.ok, toast: Saved}]}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load_view(text, filename="review.yaml")
    assert caught.value.filename == "review.yaml"
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_view_is_read() -> None:
    view = load_view(REVIEW, filename="review.yaml")
    assert (view.name, view.title, view.description) == ("review", "Invoice review", "")
    assert view.params["doc"].type == "str"
    assert [(item.name, item.scope, item.default) for item in view.state.values()] == [
        ("note", "page", ""),
        ("tab", "url", 1),
    ]
    extract, submit = view.queries.values()
    assert (extract.kind, extract.target, extract.run, extract.timeout_ms) == ("worklet", "ocr", "auto", 60_000)
    assert (submit.kind, submit.target, submit.run, submit.debounce_ms) == ("model", "scorer@staging", "manual", 300)
    ok = view.nodes["ok"]
    assert (ok.parent, ok.slot, ok.order, ok.when) == ("form", "body", "a2", "=form.valid")
    assert [(step.kind, step.value, step.condition) for step in ok.on["click"]] == [
        ("run", "submit", None),
        ("toast", "Saved", "=submit.ok"),
    ]
    assert view.nodes["form"].span == {"base": 12, "md": 5}


def test_the_root_is_there_without_being_written() -> None:
    view = load_view(REVIEW, filename="review.yaml")
    assert view.nodes["page"].type == "page"
    assert [node.name for node in view.children("page")] == ["upload", "cols"]


def test_children_are_in_the_order_of_their_keys() -> None:
    text = """\
view: 1
name: main
nodes:
  last: {type: divider, at: [page, body, b0]}
  between: {type: divider, at: [page, body, a0V]}
  first: {type: divider, at: [page, body, a0]}
"""
    assert [node.name for node in load_view(text, filename="main.yaml").children("page")] == [
        "first",
        "between",
        "last",
    ]


def test_everything_wrong_is_said_at_once_with_its_line() -> None:
    text = """\
view: 1
name: Main View
titles: Oops
state: {session: {x: {type: str}}}
queries:
  a-b: {worklet: ocr}
  both: {worklet: ocr, model: iris, run: sometimes, timeout: 5}
nodes:
  state: {type: heading, at: [page, body, a0]}
  box: {type: card, at: [page, body], span: {md: 13}, on: {click: {run: x}}}
  go: {at: [page, body, a1], on: {click: [{run: x, toast: y}, {jump: x}]}}
"""
    found = problems(text)
    assert found[0] == "line 3, titles: unknown key 'titles'. Did you mean `title`?"
    assert [line.split(": ", 1)[0] for line in found] == [
        "line 3, titles",
        "line 2, name",
        "line 9, nodes.state",
        "line 10, nodes.box.at",
        "line 10, nodes.box.span.md",
        "line 10, nodes.box.on.click",
        "line 11, nodes.go.type",
        "line 11, nodes.go.on.click[0]",
        "line 11, nodes.go.on.click[1].jump",
        "line 6, queries.a-b",
        "line 7, queries.both",
        "line 7, queries.both.run",
        "line 7, queries.both.timeout",
        "line 4, state.session",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "a view is a mapping"),
        ("name: x", "the version of the format is missing"),
        ("view: 99\nname: x", "version 99 is newer than this server knows"),
        ("view: true\nname: x", "the version of the format is missing"),
    ],
)
def test_what_is_no_view_of_a_known_version_is_refused(text: str, message: str) -> None:
    assert message in problems(text)[0]


def test_a_name_means_one_thing() -> None:
    text = "view: 1\nname: x\nqueries: {a: {worklet: w}}\nnodes: {a: {type: divider, at: [page, body, a0]}}"
    assert "`a` is a node and a query" in problems(text)[0]


def test_a_default_is_of_its_type() -> None:
    text = "view: 1\nname: x\nnodes: {}\nstate: {page: {n: {type: int, default: one}, b: {type: bool, default: 1}}}"
    assert ["default" in problem for problem in problems(text)] == [True, True]


def test_a_view_is_a_value() -> None:
    assert isinstance(load_view(REVIEW, filename="a"), View)
    assert load_view(REVIEW, filename="a") == load_view(REVIEW, filename="a")
