"""What is said to run for certain, compared with every way the branches and conditions can turn out."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold_worklets.join import holds, parse_join
from tenfold_worklets.skips import Skips


@st.composite
def controls(draw):
    """(order, when, after, join, ports of branches, branches that always fire)"""
    order = [f"n{i}" for i in range(draw(st.integers(2, 9)))]
    when, after, join, ports, always = set(), {}, {}, {}, {}
    atoms = []
    for name in order:
        if atoms and draw(st.booleans()):
            after[name] = draw(st.lists(st.sampled_from(atoms), max_size=2, unique=True))
        if atoms and draw(st.booleans()):
            chosen = draw(st.lists(st.sampled_from(atoms), min_size=1, max_size=3, unique=True))
            join[name] = parse_join(draw(st.sampled_from([" or ", " or ", " and "])).join(chosen))
        if len(when) < 2 and draw(st.integers(0, 4)) == 0:
            when.add(name)
        if len(ports) < 4 and draw(st.booleans()):
            ports[name] = [f"{name}.{port}" for port in "abc"[: draw(st.integers(1, 3))]]
            if draw(st.integers(0, 3)) > 0:
                always[name] = ports[name]
            atoms += ports[name]
        atoms.append(name)
    return order, when, after, join, ports, always


def every_outcome(order, when, after, join, ports, always):
    """What ran, for each way it can turn out."""
    choices = [ports[name] + ([] if name in always else [None]) for name in ports]
    for fired, truths in product(product(*choices), product([True, False], repeat=len(when))):
        port_of = dict(zip(ports, fired, strict=True))
        truth_of = dict(zip(sorted(when), truths, strict=True))
        ran = set()
        for name in order:
            reached = set(after.get(name, ())) <= ran
            reached = reached and (name not in join or holds(join[name], lambda atom, ran=ran: atom.name in ran))
            if reached and truth_of.get(name, True):
                ran.add(name)
                if port_of.get(name):
                    ran.add(port_of[name])
        yield ran


@settings(max_examples=200, deadline=None)
@given(controls())
def test_what_is_said_to_run_does_run(made):
    order, when, after, join, ports, always = made
    skips = Skips(order, when=when, after=after, join=join, ports=always)
    outcomes = list(every_outcome(order, when, after, join, ports, always))
    for name in order:
        if skips.always_runs(name):
            assert all(name in ran for ran in outcomes)
        for other in order:
            if skips.runs_with(name, other):
                assert all(name in ran for ran in outcomes if other in ran)


def test_an_unconditional_node_always_runs():
    skips = Skips(["a", "b"], when=set(), after={"b": ["a"]}, join={}, ports={})
    assert skips.always_runs("a")
    assert skips.always_runs("b")


def test_a_node_behind_a_condition_runs_with_what_follows_it():
    skips = Skips(["a", "b", "c"], when={"a"}, after={"b": ["a"]}, join={}, ports={})
    assert not skips.always_runs("b")
    assert skips.runs_with("a", "b")
    assert not skips.runs_with("a", "c")
