"""Views written in Python, for apps that are made and not drawn.

page = ViewBuilder("main", title="Iris")
page.query("predict", worklet="predict", inputs={"row": "=form.value"})
row = page.add("columns", "row")
row.add("form", "schema-form", {"schema": schema}, span=6, on={"submit": [{"run": "predict"}]})
row.add("scores", "class-scores", {"scores": "=predict.data.scores"}, span=6)
page.view()
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold_expressions import dump_yaml
from tenfold_views.document import ROOT, View, view_of
from tenfold_views.upgrades import CURRENT

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Place:
    """Somewhere nodes can be added: the page, or a node's slot."""

    def __init__(self, builder: ViewBuilder, parent: str, slot: str) -> None:
        self._builder = builder
        self._parent = parent
        self._slot = slot

    def add(
        self,
        name: str,
        type: str,
        props: Mapping[str, Any] | None = None,
        *,
        slot: str = "body",
        span: int | Mapping[str, int] | None = None,
        when: str | None = None,
        on: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> Place:
        """Add a node below those that are here, and give the place inside it (its `slot`)."""
        entry: dict[str, Any] = {"type": type, "at": [self._parent, self._slot, self._builder.next_order(self)]}
        if span is not None:
            entry["span"] = span if isinstance(span, int) else dict(span)
        if when is not None:
            entry["when"] = when
        if props:
            entry["props"] = {key: value for key, value in props.items() if value is not None}
        if on:
            entry["on"] = {event: [dict(step) for step in steps] for event, steps in on.items()}
        self._builder.put(name, entry)
        return Place(self._builder, name, slot)

    @property
    def key(self) -> tuple[str, str]:
        return self._parent, self._slot


class ViewBuilder(Place):
    """Collects the parts of one view; `view()` checks its structure and gives it."""

    def __init__(self, name: str, *, title: str, description: str = "", page: Mapping[str, Any] | None = None) -> None:
        super().__init__(self, ROOT, "body")
        self._head: dict[str, Any] = {"view": CURRENT, "name": name, "title": title}
        if description:
            self._head["description"] = description
        self._state: dict[str, dict[str, Any]] = {}
        self._queries: dict[str, Any] = {}
        self._nodes: dict[str, Any] = {ROOT: {"type": "page", "props": dict(page)}} if page else {}
        self._counts: dict[tuple[str, str], int] = defaultdict(int)

    def query(
        self,
        name: str,
        *,
        worklet: str | None = None,
        model: str | None = None,
        inputs: Mapping[str, Any] | str | None = None,
        **options: Any,
    ) -> None:
        """Add a query of a worklet or a model. Options are the document's: run, when, debounce, timeout, confirm."""
        target = {"worklet": worklet} if worklet is not None else {"model": model}
        taken = inputs if isinstance(inputs, str) else dict(inputs or {})
        self._queries[name] = {**target, **options, **({"in": taken} if taken else {})}

    def state(self, name: str, type: str, *, default: Any = None, scope: str = "page") -> None:
        entry = {"type": type} if default is None else {"type": type, "default": default}
        self._state.setdefault(scope, {})[name] = entry

    def document(self) -> dict[str, Any]:
        """The document as written to a file: nothing that is empty, nothing that is a default."""
        parts = {"state": self._state, "queries": self._queries, "nodes": self._nodes}
        return self._head | {key: value for key, value in parts.items() if value or key == "nodes"}

    def text(self) -> str:
        return dump_yaml(self.document())

    def view(self) -> View:
        return view_of(self.document(), filename=f"{self._head['name']}.yaml")

    def put(self, name: str, entry: dict[str, Any]) -> None:
        if name in self._nodes:
            raise ValueError(f"the view already has a node {name!r}")
        self._nodes[name] = entry

    def next_order(self, place: Place) -> str:
        count = self._counts[place.key]
        self._counts[place.key] += 1
        return order_key(count)


def order_key(index: int) -> str:
    """The index-th of a rising series of order keys: a0 … az, b00 … bzz, c000 … that sort as text."""
    letters = "abcdefghij"
    width, first = 1, 0
    while index >= first + len(_DIGITS) ** width:
        first += len(_DIGITS) ** width
        width += 1
    rest = index - first
    digits = ""
    for _ in range(width):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return letters[width - 1] + digits
