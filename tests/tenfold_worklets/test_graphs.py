"""Made-up graphs: what must hold for every worklet there can be."""

import json
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold_expressions import DocumentError, dump_yaml
from tenfold_worklets import CallError, Plan, compile_worklet, load_worklet
from tenfold_worklets.join import JoinError, holds, parse_join, prepare_join

GENEROUS = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
ANY_NAME = st.sampled_from(["a", "b", "c", "d", "e", "input", "nobody", "a.x", "b.y", "d.x"])


@st.composite
def sound_documents(draw):
    """Documents in which nodes refer to earlier ones, and what may be skipped is always guarded."""
    names: list[str] = []
    atoms: list[str] = []
    nodes = {}
    for index in range(draw(st.integers(0, 8))):
        name = f"n{index}"
        node = {}
        if atoms and draw(st.booleans()):
            chosen = draw(st.lists(st.sampled_from(atoms), min_size=1, max_size=3, unique=True))
            if draw(st.booleans()):
                node["after"] = chosen
            else:
                node["join"] = draw(st.sampled_from([" and ", " or "])).join(chosen)
        if draw(st.integers(0, 4)) == 0:
            node["when"] = draw(st.sampled_from(["=true", "=false", "=input.flag"]))
        kind = draw(st.sampled_from(["pre", "post", "logic", "model", "branch"]))
        read = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
        if kind == "branch":
            test = f"=({' ?? '.join([*read, 'input.flag'])}) != null"
            nodes[name] = {"branch": {"x": test, "y": draw(st.sampled_from(["else", "=input.flag"]))}} | node
            atoms += [f"{name}.x", f"{name}.y"]
        else:
            node["in"] = {f"p{place}": f"={other} ?? 0" for place, other in enumerate(read)}
            whole = [other for other in node.get("after", []) if other in names]
            if whole and draw(st.booleans()):
                node["in"]["whole"] = f"={whole[0]}"
            if draw(st.integers(0, 3)) == 0:
                node["retry"] = {"max": draw(st.integers(1, 2)), "base": "1s", "on": "any"}
            if draw(st.integers(0, 3)) == 0:
                node["fallback"] = draw(st.sampled_from([None, "spare", "=input.flag"]))
            if draw(st.integers(0, 3)) == 0:
                node["timeout"] = "3s"
            nodes[name] = {kind: "m" if kind == "model" else "code/t.py:f"} | node
        names.append(name)
        atoms.append(name)
    used = {word for node in nodes.values() for word in str([node.get("after"), node.get("join")]).split("'")}
    ports = [atom for atom in atoms if "." in atom and not any(atom in part for part in used)]
    if ports:
        nodes["last"] = {"model": "m", "join": " or ".join(ports)}
    returned = {"flag": "=input.flag"} | {name: f"={name} ?? null" for name in names}
    return {"worklet": 1, "name": "made-up", "input": {"flag": "json"}, "nodes": nodes, "return": returned}


@st.composite
def any_documents(draw):
    """Documents that name what may or may not be there, in circles too."""
    reference = ANY_NAME.map(lambda name: f"={name}")
    node = st.fixed_dictionaries(
        {},
        optional={
            "model": st.just("m"),
            "branch": st.dictionaries(
                st.sampled_from(["x", "y"]), st.sampled_from(["=input", "else", "=b"]), max_size=2
            ),
            "pre": st.just("code/t.py:f"),
            "in": st.dictionaries(st.sampled_from(["p", "q"]), reference | st.integers(), max_size=2),
            "after": ANY_NAME | st.lists(ANY_NAME, max_size=3) | st.none() | st.integers(),
            "join": st.lists(ANY_NAME, min_size=1, max_size=3).map(" or ".join) | st.text("ab() .&or nd", max_size=12),
            "when": reference | st.booleans(),
            "retry": st.dictionaries(st.sampled_from(["max", "on", "bass"]), st.integers(-1, 3) | st.text(max_size=3)),
            "fallback": reference | st.none(),
        },
    )
    nodes = draw(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "class", "A b"]), node, max_size=5))
    return {"worklet": 1, "name": "made-up", "nodes": nodes, "return": draw(reference | st.none() | st.integers())}


def attempt(text):
    """The plan, or the problems."""
    try:
        return compile_worklet(load_worklet(text)), []
    except DocumentError as error:
        return None, error.problems


def ran_before(plan):
    """Pairs of nodes of which the first must be settled before the second is decided."""
    return [(before, node.name) for node in plan.nodes for before in node.waits]


@GENEROUS
@given(any_documents())
def test_a_document_compiles_or_says_why_not(data):
    plan, problems = attempt(dump_yaml(data))
    assert bool(plan) != bool(problems)
    assert all(problem.message for problem in problems)
    assert plan is None or Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@GENEROUS
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "worklet",
                        "name",
                        "nodes",
                        "input",
                        "output",
                        "return",
                        "settings",
                        "triggers",
                        "in",
                        "model",
                        "branch",
                    ]
                )
                | st.text(max_size=4),
                inner,
                max_size=5,
            )
        ),
    )
)
def test_nonsense_is_refused_and_never_breaks_the_loader(data):
    document = {"worklet": 1, "name": "a"} | data if isinstance(data, dict) else data
    plan, problems = attempt(dump_yaml(document))
    assert bool(plan) != bool(problems)


@GENEROUS
@given(st.text(max_size=200))
def test_text_is_refused_and_never_breaks_the_loader(text):
    plan, problems = attempt(text)
    assert bool(plan) != bool(problems)


@GENEROUS
@given(sound_documents())
def test_a_sound_document_compiles_and_its_plan_survives_json(data):
    plan = compile_worklet(load_worklet(dump_yaml(data)))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json(), sort_keys=True))) == plan
    assert sorted(name for segment in plan.segments for name in segment) == sorted(data["nodes"])
    graph = plan.graph()
    columns = {node.id: node.column for node in graph.nodes}
    assert all(columns[edge.source] < columns[edge.target] for edge in graph.edges)
    assert len({(node.column, node.row) for node in graph.nodes}) == len(graph.nodes)


@GENEROUS
@given(sound_documents(), st.data())
def test_every_run_settles_every_node_once_and_in_order(world, data, drawn):
    plan = compile_worklet(load_worklet(dump_yaml(data)))
    fresh = type(world)()

    def answer(_given):
        match drawn.draw(st.integers(0, 9)):
            case 0:
                raise CallError("user_error", "no")
            case 1 | 2 | 3:
                return fresh.after(drawn.draw(st.integers(1, 5)), {"n": 1})(None)
            case _:
                return {"n": 1}

    answers = dict.fromkeys(data["nodes"], answer) | {"m@production": answer}
    outcome = fresh.run(
        plan, {"flag": drawn.draw(st.booleans() | st.none())}, answers, max_parallel=drawn.draw(st.integers(1, 4))
    )
    events = fresh.journal.events

    assert outcome.state in ("succeeded", "failed")
    assert set(outcome.states) == set(data["nodes"])
    assert {path: event.state for path, event in fresh.journal.final().items()} == outcome.states
    started = Counter((event.path, event.attempt) for event in events if event.state == "running")
    finished = Counter((event.path, event.attempt) for event in events if event.state != "running")
    assert set(started.values()) <= {1}
    assert set(finished.values()) <= {1}
    assert {key for key in finished if key[1] > 0} == set(started)
    assert all(outcome.states[path] == "skipped" for path, attempt in finished if attempt == 0)

    first = {event.path: place for place, event in reversed(list(enumerate(events)))}
    last = {event.path: place for place, event in enumerate(events)}
    for before, after in ran_before(plan):
        if (after, 1) in started:
            assert last[before] < first[after]

    if outcome.state == "succeeded":
        assert set(outcome.states.values()) <= {"succeeded", "skipped"}
        check_skips(plan, outcome)


def check_skips(plan, outcome):
    """In a run that succeeded, each node ran exactly when its conditions say so."""
    fired = {name for name, state in outcome.states.items() if state == "succeeded"}
    ports = {f"{name}.{port}" for name, port in fired_ports(plan, outcome)}
    for node in plan.nodes:
        if node.when is not None:
            continue
        reached = set(node.after) <= fired | ports and (node.join is None or prepare_join(node.join)(fired | ports))
        assert (outcome.states[node.name] == "succeeded") == reached


def fired_ports(plan, outcome):
    for node in plan.nodes:
        if node.kind == "branch" and outcome.states[node.name] == "succeeded":
            yield node.name, outcome.output[node.name]["port"]


atoms = st.sampled_from(["a", "b.x", "and_", "orbit", "c"])
joins = st.recursive(
    atoms,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
    max_leaves=6,
)


@given(joins, st.sets(atoms))
def test_a_join_means_what_python_would_mean(text, fired):
    expected = eval(
        text.replace("b.x", "b_x"),
        {},
        {name.replace(".", "_"): name in fired for name in ["a", "b.x", "and_", "orbit", "c"]},
    )
    assert prepare_join(text)(fired) == expected
    assert holds(parse_join(text), lambda atom: atom.name in fired) == expected


@given(st.text("ab.() andor&!", max_size=20))
def test_a_join_is_read_or_refused(text):
    column = 0
    try:
        parse_join(text)
    except JoinError as error:
        column = error.column
    assert 0 <= column <= len(text)
