"""Is a view right? Everything wrong with it at once, each with its path, its line and what would work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tenfold_expressions import BindingErrors, Expression, Problem, bind, is_expression
from tenfold_expressions.errors import closest, join_path
from tenfold_views.document import ROOT, ActionStep, Node, Query, View
from tenfold_views.graph import dependencies, expressions_of, find_cycle
from tenfold_views.manifest import Component, Prop, load_manifest

QUERY_MEMBERS = ("data", "error", "state", "running", "ok", "seconds", "run")
CONTEXT: Mapping[str, tuple[str, ...]] = {
    "view": ("name", "title"),
    "app": ("name", "title"),
    "viewer": ("name", "role"),
}
SAFE_SCHEMES = ("http", "https", "mailto", "tel")
_MAX_DEPTH = 64


def lint(
    view: View,
    *,
    worklets: Mapping[str, Mapping[str, str]],
    models: Collection[str],
    views: Mapping[str, View],
) -> list[Problem]:
    """Find what must be put right before the view can be released.

    `worklets` gives each worklet's inputs with their types (`{"classify": {"image": "file", "top": "int?"}}`; an input
    whose type ends in `?` may be left out). `models` are the names a query may call, and `views` all views of the app.
    """
    check = _Check(view, worklets, models, views)
    check.everything()
    return view.with_lines(check.problems)


def advise(view: View) -> list[Problem]:
    """Find what is allowed and probably not meant: things that nothing uses."""
    used: set[tuple[str, ...]] = set()
    run: set[str] = set()
    for _, value in _values(view):
        for _, expression in expressions_of(value):
            used.update(expression.dependencies)
    for _, step in _steps(view):
        if step.kind == "run" and isinstance(step.value, str):
            run.add(step.value)
    roots = {path[0] for path in used}
    problems = [
        _unused(f"queries.{name}", f"nothing runs the query `{name}`", "Run it in an event, or write `run: auto`.")
        for name, query in view.queries.items()
        if query.run == "manual" and name not in run
    ]
    problems += [
        _unused(f"queries.{name}", f"nothing shows what `{name}` answers", f"Read `{name}.data` somewhere.")
        for name, query in view.queries.items()
        if query.run != "manual" and name not in roots
    ]
    if ("state",) not in used:
        read = {path[1] for path in used if path[0] == "state" and len(path) > 1}
        problems += [
            _unused(f"state.{item.scope}.{name}", f"nothing reads `state.{name}`", "Remove it.")
            for name, item in view.state.items()
            if name not in read
        ]
    return view.with_lines(problems)


def _unused(path: str, message: str, hint: str) -> Problem:
    return Problem(path, message, hint, code="unused")


class _Check:
    def __init__(
        self,
        view: View,
        worklets: Mapping[str, Mapping[str, str]],
        models: Collection[str],
        views: Mapping[str, View],
    ) -> None:
        self.view = view
        self.worklets = worklets
        self.models = models
        self.views = views
        self.manifest = load_manifest()
        self.problems: list[Problem] = []
        self.roots = [*view.nodes, *view.queries, *CONTEXT, "state", "params"]

    def everything(self) -> None:
        for node in self.view.nodes.values():
            self.node(node)
        self.tree()
        self.orders()
        for query in self.view.queries.values():
            self.query(query)
        cycle = find_cycle(dependencies(self.view, self.manifest))
        if cycle:
            where = f"queries.{cycle[0]}" if cycle[0] in self.view.queries else f"nodes.{cycle[0]}"
            shown = " → ".join(cycle)
            self.wrong(where, f"this depends on itself: {shown}", "Make a query of it manual.", "cycle")

    # nodes

    def node(self, node: Node) -> None:
        path = f"nodes.{node.name}"
        component = self.manifest.components.get(node.type)
        if component is None:
            self.unknown(f"{path}.type", "component", node.type, self.manifest.components)
            self.values(f"{path}.props", dict(node.props))
        else:
            self.root_or_not(path, node)
            self.props(f"{path}.props", component, node.props)
        self.value(f"{path}.when", node.when)
        for event, steps in node.on.items():
            if component and event not in component.events:
                self.unknown(f"{path}.on.{event}", "event", event, component.events)
            for index, step in enumerate(steps):
                self.action(f"{path}.on.{event}[{index}]", step)

    def root_or_not(self, path: str, node: Node) -> None:
        if (node.type == "page") != (node.name == ROOT):
            message = "only the root is a page" if node.type == "page" else "the root must be a page"
            self.wrong(f"{path}.type", message, f"The root is the node named `{ROOT}`, of type `page`.", "placement")

    def props(self, path: str, component: Component, props: Mapping[str, Any]) -> None:
        for name, value in props.items():
            prop = component.props.get(name)
            if prop is None:
                self.unknown(f"{path}.{name}", "prop", name, component.props)
            elif is_expression(value):
                self.value(f"{path}.{name}", value)
            else:
                self.literal(f"{path}.{name}", prop, value)
                self.value(f"{path}.{name}", value)
        for name, prop in component.props.items():
            if prop.required and name not in props:
                message = f"a {component.type} needs `{name}`"
                self.wrong(path, message, prop.description, "missing_prop")

    def literal(self, path: str, prop: Prop, value: Any) -> None:
        if value is None:
            return
        if prop.enum and isinstance(value, str):
            if value not in prop.enum:
                self.unknown(path, "value", value, prop.enum)
        elif complaint := _not_a(prop.type, value):
            self.wrong(path, f"{_shown(value)} is not {complaint}", prop.description, "wrong_type")
        elif isinstance(value, int | float) and not isinstance(value, bool) and not _within(prop, value):
            self.wrong(path, f"{value} is outside {_range(prop)}", prop.description, "out_of_range")

    def tree(self) -> None:
        for node in self.view.nodes.values():
            if node.parent is None:
                continue
            path = f"nodes.{node.name}.at"
            parent = self.view.nodes.get(node.parent)
            if parent is None:
                self.unknown(f"{path}[0]", "parent", node.parent, self.view.nodes)
                continue
            component = self.manifest.components.get(parent.type)
            if component and node.slot not in component.slots:
                if component.slots:
                    self.unknown(f"{path}[1]", "slot", node.slot, component.slots)
                else:
                    hint = "Put it in a stack, a row, a card or a form."
                    self.wrong(f"{path}[0]", f"a {parent.type} holds nothing inside it", hint, "placement")
            if not self.reaches_root(node):
                self.wrong(path, "this is inside itself, so it never shows", "Move it below the page.", "placement")
            if component and node.span and not component.spans:
                message = f"`span` means nothing inside a {parent.type}"
                self.wrong(f"nodes.{node.name}.span", message, "Put it in a row.", "placement")

    def reaches_root(self, node: Node) -> bool:
        current: Node | None = node
        for _ in range(_MAX_DEPTH):
            if current is None or current.parent is None:
                return True
            current = self.view.nodes.get(current.parent)
        return False

    def orders(self) -> None:
        first: dict[tuple[str, str, str], str] = {}
        for node in self.view.nodes.values():
            if node.parent is None:
                continue
            other = first.setdefault((node.parent, node.slot, node.order), node.name)
            if other != node.name:
                message = f"`{other}` stands at the same place, {node.order}"
                self.wrong(f"nodes.{node.name}.at[2]", message, "Give one a key between its neighbours.", "same_order")

    # queries

    def query(self, query: Query) -> None:
        path = f"queries.{query.name}"
        self.value(f"{path}.when", query.when)
        self.value(f"{path}.in", query.inputs)
        if query.run == "auto" and query.confirm:
            self.wrong(f"{path}.confirm", "nobody is there to ask", "Only a manual query can ask first.", "confirm")
        if query.kind == "model":
            name = query.target.partition("@")[0]
            if name not in self.models and query.target not in self.models:
                self.unknown(f"{path}.model", "model", name, self.models)
        elif query.target not in self.worklets:
            self.unknown(f"{path}.worklet", "worklet", query.target, self.worklets)
        elif isinstance(query.inputs, dict):
            self.worklet_inputs(path, query, self.worklets[query.target])

    def worklet_inputs(self, path: str, query: Query, inputs: Mapping[str, str]) -> None:
        for name in query.inputs:
            if name not in inputs:
                self.unknown(f"{path}.in.{name}", f"input of the worklet `{query.target}`", name, inputs)
        missing = [name for name, type_ in inputs.items() if name not in query.inputs and not type_.endswith("?")]
        if missing:
            listed = ", ".join(f"`{name}`" for name in missing)
            self.wrong(f"{path}.in", f"the worklet `{query.target}` also needs {listed}", "Add it.", "missing_input")

    # events

    def action(self, path: str, step: ActionStep) -> None:
        self.value(f"{path}.if", step.condition, event=True)
        at = f"{path}.{step.kind}"
        match step.kind:
            case "run":
                self.target(at, "query", step.value, self.view.queries)
            case "set":
                self.assignments(at, step.value)
            case "navigate":
                self.navigate(at, step.value)
            case "open" | "close":
                opening = [name for name, node in self.view.nodes.items() if self.component_of(node.name, "opens")]
                self.target(at, "dialog", step.value, opening)
            case "reset":
                self.resets(at, step.value)
            case "toast":
                self.toast(at, step.value)
            case "download":
                self.download(at, step.value)
            case _:
                self.value(at, step.value, event=True)

    def target(self, path: str, what: str, value: Any, known: Collection[str]) -> None:
        if not isinstance(value, str) or is_expression(value):
            self.wrong(path, f"{_shown(value)} does not name a {what}", f"Write the name of the {what}.", "target")
        elif value not in known:
            self.unknown(path, what, value, known)

    def assignments(self, path: str, value: Any) -> None:
        if not isinstance(value, dict) or not value:
            self.wrong(path, "`set` says what gets which value", "Write `set: {state.name: =value}`.", "target")
            return
        for name, assigned in value.items():
            self.settable(f"{path}.{name}", name)
            self.value(f"{path}.{name}", assigned, event=True)

    def settable(self, path: str, name: str) -> None:
        root, _, member = name.partition(".")
        if root == "state":
            if member not in self.view.state:
                self.unknown(path, "state", member, self.view.state)
            return
        node = self.view.nodes.get(root)
        if node is None:
            self.unknown(path, "input", root, ["state", *self.view.nodes])
            return
        component = self.manifest.components.get(node.type)
        settable = [key for key, output in component.outputs.items() if output.settable] if component else [member]
        if member not in settable:
            hint = f"It takes {', '.join(f'`{root}.{key}`' for key in settable)}." if settable else "Set state instead."
            self.wrong(path, f"`{name}` cannot be set", hint, "not_settable")

    def navigate(self, path: str, value: Any) -> None:
        if not isinstance(value, dict) or ("view" in value) == ("url" in value):
            self.wrong(
                path, "`navigate` goes to a view or to an address", "Write `{view: name}` or `{url: …}`.", "target"
            )
            return
        self.known(path, value, ("view", "params") if "view" in value else ("url", "new_tab"))
        if "url" in value:
            self.value(f"{path}.url", value["url"], event=True)
            if isinstance(value["url"], str) and not is_expression(value["url"]) and not safe_url(value["url"]):
                message = f"{_shown(value['url'])} is not an address to go to"
                self.wrong(f"{path}.url", message, "Use http, https, mailto or tel.", "unsafe_url")
            return
        params = value.get("params", {})
        self.value(f"{path}.params", params, event=True)
        name = value["view"]
        self.target(f"{path}.view", "view", name, self.views)
        if isinstance(name, str) and name in self.views and isinstance(params, dict):
            taken = self.views[name].params
            for param in params:
                if param not in taken:
                    self.unknown(f"{path}.params.{param}", f"param of the view `{name}`", param, taken)
            for param in taken.values():
                if param.required and param.name not in params:
                    message = f"the view `{name}` needs `{param.name}`"
                    self.wrong(f"{path}.params", message, "Add it.", "missing_param")

    def resets(self, path: str, value: Any) -> None:
        names = value if isinstance(value, list) else [value]
        state = [f"state.{name}" for name in self.view.state]
        for index, name in enumerate(names):
            at = f"{path}[{index}]" if isinstance(value, list) else path
            self.target(at, "thing to reset", name, [*self.view.nodes, *self.view.queries, *state])

    def toast(self, path: str, value: Any) -> None:
        self.value(path, value, event=True)
        if isinstance(value, dict):
            self.known(path, value, ("text", "kind"))
            kind = value.get("kind", "info")
            if not is_expression(kind) and kind not in ("info", "success", "warning", "error"):
                self.unknown(f"{path}.kind", "kind", str(kind), ("info", "success", "warning", "error"))

    def download(self, path: str, value: Any) -> None:
        self.value(path, value, event=True)
        if isinstance(value, dict):
            self.known(path, value, ("data", "name", "type"))
            if "data" not in value:
                self.wrong(
                    path, "there is nothing to download", "Write `download: {data: =…, name: file.csv}`.", "target"
                )

    # expressions

    def values(self, path: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.value(f"{path}.{name}", value)

    def value(self, path: str, value: Any, *, event: bool = False) -> None:
        try:
            binding = bind(value)
        except BindingErrors as error:
            self.problems += [problem.under(path) for problem in error.problems]
            return
        for at, expression in binding.expressions:
            where = Problem(join_path(at), "").under(path).path
            for dependency in expression.dependencies:
                self.dependency(where, expression, dependency, event)

    def dependency(self, path: str, expression: Expression, dependency: tuple[str, ...], event: bool) -> None:
        root, members = dependency[0], dependency[1:]
        column = max(expression.source.find(root), 0)
        known = [*self.roots, "event"] if event else self.roots
        if root not in known:
            if root == "event":
                self.wrong(path, "`event` is known in the actions of an event only", "", "unknown_name", column)
            else:
                self.unknown(path, "name", root, known, column)
            return
        allowed = self.members(root)
        if members and allowed is not None and members[0] not in allowed:
            self.unknown(path, f"member of `{root}`:", members[0], allowed, column)

    def members(self, root: str) -> Collection[str] | None:
        """What may follow the dot; None where anything may."""
        if root in CONTEXT:
            return CONTEXT[root]
        if root == "state":
            return self.view.state
        if root == "params":
            return self.view.params
        if root in self.view.queries:
            return QUERY_MEMBERS
        node = self.view.nodes.get(root)
        component = self.manifest.components.get(node.type) if node else None
        return component.outputs if component else None

    # saying so

    def component_of(self, node: str, trait: str) -> bool:
        component = self.manifest.components.get(self.view.nodes[node].type)
        return bool(component and getattr(component, trait))

    def known(self, path: str, value: Mapping[str, Any], allowed: Sequence[str]) -> None:
        for key in value:
            if key not in allowed:
                self.unknown(f"{path}.{key}", "key", key, allowed)

    def unknown(self, path: str, what: str, name: str, known: Collection[str], column: int | None = None) -> None:
        near = closest(name[:100], known)
        names = sorted(known)
        listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        hint = f"Did you mean `{near}`?" if near else f"There is {listed}." if names else "There are none."
        self.wrong(path, f"unknown {what} `{name}`", hint, "unknown_name", column)

    def wrong(self, path: str, message: str, hint: str, code: str, column: int | None = None) -> None:
        self.problems.append(Problem(path, message, hint, code, column=column))


def safe_url(url: str) -> bool:
    """Whether following it can only ever open a page, a mail or a call. A path on this server is safe too."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    if parts.scheme:
        return parts.scheme.lower() in SAFE_SCHEMES
    return not any(character in url for character in "\\\t\r\n") and not url.strip().startswith("//")


def _values(view: View) -> Iterator[tuple[str, Any]]:
    """Every value of a view that may hold expressions."""
    for name, node in view.nodes.items():
        yield f"nodes.{name}.props", dict(node.props)
        yield f"nodes.{name}.when", node.when
    for name, query in view.queries.items():
        yield f"queries.{name}.in", query.inputs
        yield f"queries.{name}.when", query.when
    for path, step in _steps(view):
        yield f"{path}.{step.kind}", step.value
        yield f"{path}.if", step.condition


def _steps(view: View) -> Iterator[tuple[str, ActionStep]]:
    for name, node in view.nodes.items():
        for event, steps in node.on.items():
            for index, step in enumerate(steps):
                yield f"nodes.{name}.on.{event}[{index}]", step


_EXPECTED = {
    "text": (str, "a text"),
    "image": ((str, dict), "a picture"),
    "number": ((int, float), "a number"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
    "enum": (str, "one of the values"),
    "list": (list, "a list"),
    "names": ((str, list), "a name or a list of names"),
    "rows": (list, "a list of rows"),
    "columns": (list, "a list of columns"),
    "options": (list, "a list of options"),
    "fields": ((list, dict), "a schema or a list of fields"),
    "scores": ((list, dict), "scores"),
}


def _not_a(type_: str, value: Any) -> str | None:
    """What the value should have been, if it is not; expressions inside lists and objects are not looked into."""
    if type_ not in _EXPECTED:
        return None
    expected, said = _EXPECTED[type_]
    if isinstance(value, bool) and type_ != "boolean":
        return said
    return None if isinstance(value, expected) else said  # type: ignore[arg-type]  # a type or a tuple of types


def _within(prop: Prop, value: float) -> bool:
    return (prop.minimum is None or value >= prop.minimum) and (prop.maximum is None or value <= prop.maximum)


def _range(prop: Prop) -> str:
    if prop.minimum is not None and prop.maximum is not None:
        return f"{prop.minimum:g} to {prop.maximum:g}"
    return f"at least {prop.minimum:g}" if prop.minimum is not None else f"at most {prop.maximum:g}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
