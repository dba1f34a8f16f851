"""Compiling: what is refused, what is fused, what a plan holds."""

import json
import time

import pytest

from tenfold_worklets import Parameter, Plan, PlanError, Signature, model_signature, parse_type
from tenfold_worklets.compile import compile_worklet
from tenfold_worklets.document import load_worklet
from tenfold_worklets.signatures import function_signatures

GATE = """
input: {text: str, score: float}
nodes:
  rank: {model: m, in: {x: =input.text}}
  gate: {branch: {big: =rank.score > 1, small: else}}
  big: {logic: code/a.py:f, in: {x: =rank}, after: gate.big}
  small: {logic: code/a.py:f, in: {x: =rank}, after: gate.small}
"""


def flow(text: str) -> str:
    return GATE + text


WRONG = {
    "an unknown node": (
        "nodes: {clean: {model: m}, b: {model: m, in: {x: =claen.text}}}",
        "nodes.b.in.x",
        "unknown_node",
        "no node named `claen`",
        "Did you mean `clean`?",
    ),
    "an input without its prefix": (
        "input: {text: str}\nnodes: {b: {model: m, in: {x: =text}}}",
        "nodes.b.in.x",
        "unknown_node",
        "no node named `text`",
        "Did you mean `input.text`?",
    ),
    "an unknown input": (
        "input: {text: str}\nnodes: {b: {model: m, in: {x: =input.txt}}}",
        "nodes.b.in.x",
        "unknown_input",
        "no input named `txt`",
        "Did you mean `text`?",
    ),
    "an input where there is none": (
        "return: {x: =input.a}",
        "return.x",
        "unknown_input",
        "no input named `a`",
        "Inputs: there are none.",
    ),
    "an unknown node in after": (
        "nodes: {a: {model: m}, b: {model: m, after: aa}}",
        "nodes.b.after",
        "unknown_node",
        "no node named `aa`",
        "`a`",
    ),
    "an unknown node in join": (
        "nodes: {a: {model: m}, b: {model: m, join: a and bb}}",
        "nodes.b.join",
        "unknown_node",
        "no node named `bb`",
        "`b`",
    ),
    "an unknown port in after": (
        flow("  c: {model: m, after: gate.bigg}"),
        "nodes.c.after",
        "unknown_port",
        "no port `bigg`",
        "`big`",
    ),
    "a port of what is no branch": (
        flow("  c: {model: m, after: [gate.big, rank.done]}"),
        "nodes.c.after[1]",
        "unknown_port",
        "is no branch",
        "Write `rank`.",
    ),
    "a port read as a value": (
        flow("  c: {model: m, in: {x: =gate.big}}"),
        "nodes.c.in.x",
        "unknown_port",
        "`gate.big` is not a value",
        "`after: gate.big`",
    ),
    "an unknown member of a branch": (
        flow("  c: {model: m, in: {x: =gate.bug}}"),
        "nodes.c.in.x",
        "unknown_port",
        "`gate.bug` is not a value",
        "`gate.port`",
    ),
    "a port that nothing follows": (
        "nodes: {g: {branch: {yes: =1 > 0, no: else}}, a: {model: m, after: g.yes}}",
        "nodes.g.branch.no",
        "unused_port",
        "nothing follows the port `no`",
        "`after: g.no`",
    ),
    "a cycle": (
        "nodes: {a: {model: m, in: {x: =c}}, b: {model: m, in: {x: =a}}, c: {model: m, after: b}}",
        "nodes.a",
        "cycle",
        "the nodes form a cycle: a → b → c → a",
        "remove one",
    ),
    "a node that refers to itself": (
        "nodes: {a: {model: m, in: {x: =a.y}}}",
        "nodes.a",
        "cycle",
        "the nodes form a cycle: a → a",
        "needs what comes of itself",
    ),
    "a node behind a branch": (
        flow("  c: {model: m, in: {x: =big.y}}"),
        "nodes.c.in.x",
        "may_be_skipped",
        "`big` may be skipped",
        "`after: big`",
    ),
    "a node behind the other port": (
        flow("  c: {model: m, in: {x: =big.y}, after: gate.small}"),
        "nodes.c.in.x",
        "may_be_skipped",
        "and then `big.y` is missing",
        "`big.y ?? …`",
    ),
    "a node with a condition": (
        "nodes: {a: {model: m, when: =1 > 2}, b: {model: m, in: {x: =a}}}",
        "nodes.b.in.x",
        "may_be_skipped",
        "`a` may be skipped",
        "`a ?? …`",
    ),
    "a node behind a node with a condition": (
        "nodes: {a: {model: m, when: =1 > 2}, b: {model: m, after: a}, c: {model: m, in: {x: =b}}}",
        "nodes.c.in.x",
        "may_be_skipped",
        "`b` may be skipped",
        "",
    ),
    "a return of what may be skipped": (
        flow("return: {x: =big.y}"),
        "return.x",
        "may_be_skipped",
        "`big` may be skipped",
        "`big.y ?? null`",
    ),
    "a condition on what may be skipped": (
        flow("  c: {model: m, when: =big.y > 1}"),
        "nodes.c.when",
        "may_be_skipped",
        "`big` may be skipped",
        "",
    ),
    "a fallback to what may be skipped": (
        flow("  c: {model: m, fallback: =big.y}"),
        "nodes.c.fallback",
        "may_be_skipped",
        "`big` may be skipped",
        "",
    ),
    "a return that refers to nothing": ("return: {}", "return", "no_return", "refers to nothing", ""),
    "a return of an unknown node": ("return: {x: =a.b}", "return.x", "unknown_node", "no node named `a`", ""),
    "an output without a return": (
        "output: {x: str}",
        "return",
        "no_return",
        "nothing is returned",
        "`return: {x: =…}`",
    ),
    "a return of an undeclared output": (
        "input: {a: str}\noutput: {label: str}\nreturn: {label: =input.a, lable: =input.a}",
        "return.lable",
        "unknown_output",
        "no output named `lable`",
        "`label`",
    ),
    "an output that is not returned": (
        "input: {a: str}\noutput: {x: str, y: str}\nreturn: {x: =input.a}",
        "return",
        "missing_output",
        "`y` is not returned",
        "`y: =…`",
    ),
    "a return that is a list": ("output: {x: str}\nreturn: [=input]", "return", "", "must give the declared", "x"),
    "a return of the wrong type": (
        "input: {a: str}\noutput: {x: int}\nreturn: {x: =input.a}",
        "return.x",
        "bad_type",
        "str does not fit int",
        "The output `x` is int; `input.a` is str.",
    ),
    "a return that may be null": (
        "input: {a: str?}\noutput: {x: str}\nreturn: {x: =input.a}",
        "return.x",
        "bad_type",
        "str? may be null, and str may not",
        "",
    ),
    "a returned constant of the wrong type": (
        "output: {x: int}\nreturn: {x: three}",
        "return.x",
        "bad_type",
        "must be a whole number, not a text",
        "The output `x` is int.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_problem_says_where_what_and_what_to_do(name, problems):
    text, path, code, message, hint = WRONG[name]
    (problem,) = problems(text)
    assert (problem.path, problem.code) == (path, code)
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line is not None


RIGHT = {
    "a fallback value": "  c: {model: m, in: {x: =big.y ?? 0}}",
    "either of two arms": "  c: {model: m, in: {x: =big.y ?? small.y}}",
    "inside a ??": "  c: {model: m, in: {x: '=`${(big.y ?? 1) + 1}`'}}",
    "after the node": "  c: {model: m, in: {x: =big.y}, after: big}",
    "after the same port": "  c: {model: m, in: {x: =big.y}, after: gate.big}",
    "after what comes after it": "  c: {model: m, after: big}\n  d: {model: m, in: {x: =big.y}, after: c}",
    "a join that names it": "  c: {model: m, in: {x: =big.y}, join: big or small}",
    "a join that needs it": "  c: {model: m, join: big and rank}\n  d: {model: m, in: {x: =big.y}, after: c}",
    "a join of both arms, each needing it": (
        "  c: {model: m, after: big}\n  d: {model: m, after: big}\n"
        "  e: {model: m, join: c or d}\n  f: {model: m, in: {x: =big.y}, after: e}"
    ),
    "a join of all ports of a branch": "  c: {model: m, join: gate.big or gate.small}\n  d: {model: m, in: {x: =c.y}}",
    "a join of all arms": "  c: {model: m, join: big or small}\n  d: {model: m, in: {x: =c.y}}",
    "a join of arms of arms": (
        "  inner: {branch: {a: =big.y, b: else}, after: big}\n  ia: {model: m, after: inner.a}\n"
        "  ib: {model: m, after: inner.b}\n  c: {model: m, join: ia or ib or small}\n  d: {model: m, in: {x: =c}}"
    ),
    "a branch itself": "  c: {model: m, in: {x: =gate.port}}",
    "a whole input": "  c: {model: m, in: =input}",
}


@pytest.mark.parametrize("name", RIGHT)
def test_references_that_are_guarded_are_accepted(name, compiled):
    assert compiled(GATE + RIGHT[name]).nodes


def test_a_branch_without_else_may_fire_nothing(problems):
    (problem,) = problems(
        """
        nodes:
          g: {branch: {a: =1 > 2, b: =2 > 1}}
          x: {model: m, join: g.a or g.b}
          y: {model: m, in: {v: =x}}
        """
    )
    assert problem.code == "may_be_skipped"


def test_everything_wrong_is_said_at_once(problems):
    found = problems(
        """
        output: {x: str}
        nodes:
          a: {pre: code/t.py:clea, in: {x: =nope}, environment: gpu}
          g: {branch: {yes: =a, no: else}}
        return: {y: =b}
        """,
        functions={"code/t.py:clean": Signature((Parameter("text"),))},
        environments={"default", "cpu"},
    )
    assert {(problem.path, problem.code) for problem in found} == {
        ("nodes.a.in.x", "unknown_node"),
        ("nodes.a.pre", "unknown_target"),
        ("nodes.a.environment", "unknown_environment"),
        ("nodes.g.branch.yes", "unused_port"),
        ("nodes.g.branch.no", "unused_port"),
        ("return.y", "unknown_node"),
        ("return.y", "unknown_output"),
        ("return", "missing_output"),
    }


def test_two_cycles_are_both_named(problems):
    found = problems(
        "nodes: {a: {model: m, after: b}, b: {model: m, after: a}, c: {model: m, after: [d, a]},"
        " d: {model: m, after: c}}"
    )
    assert [problem.message for problem in found] == [
        "the nodes form a cycle: a → b → a",
        "the nodes form a cycle: c → d → c",
    ]


FUNCTIONS = function_signatures(
    '''
def clean(text: str, limit: int = 10) -> dict:
    """Tidy up."""

async def length(text: str) -> int: ...

def half(n: float, *, exact: bool = False) -> "float": ...

def anything(block_input, env, context): ...

def aware(text: str, context, env): ...

@lru_cache(maxsize=3)
def cached(text: str) -> str: ...

@rewritten
def wrapped(text: str) -> str: ...

def loose(first, **rest): ...

class Thing:
    def method(self): ...

if True:
    def conditional(items: list[str] | None): ...
''',
    "code/t.py",
)


def test_signatures_are_read_from_syntax():
    assert set(FUNCTIONS) == {
        f"code/t.py:{name}"
        for name in ["clean", "length", "half", "anything", "aware", "cached", "wrapped", "loose", "conditional"]
    }
    clean = FUNCTIONS["code/t.py:clean"]
    assert (clean.doc, clean.returns, clean.line) == ("Tidy up.", parse_type("json"), 2)
    assert clean.parameters == (
        Parameter("text", parse_type("str"), True, "str"),
        Parameter("limit", parse_type("int"), False, "int"),
    )
    assert FUNCTIONS["code/t.py:half"].returns == parse_type("float")
    assert FUNCTIONS["code/t.py:conditional"].parameters[0].type == parse_type("list[str]?")
    assert [name[10:] for name, signature in FUNCTIONS.items() if signature.open] == ["anything", "wrapped", "loose"]
    assert [p.name for p in FUNCTIONS["code/t.py:aware"].parameters if p.required] == ["text"]
    assert FUNCTIONS["code/t.py:cached"].parameters[0].type == parse_type("str")


@pytest.mark.parametrize(
    ("node", "path", "code", "message", "hint"),
    [
        ("{pre: 'code/t.py:claen', in: {text: a}}", "pre", "unknown_target", "no function `claen`", "`clean`"),
        ("{pre: 'code/s.py:clean', in: {text: a}}", "pre", "unknown_target", "in code/s.py", "`code/t.py`"),
        ("{pre: 'code/t.py:clean', in: {txt: a, text: b}}", "in.txt", "unknown_input", "no input `txt`", "`text`"),
        ("{pre: 'code/t.py:clean'}", "in", "missing_input", "needs the input `text`", "`text: =…`"),
        ("{pre: 'code/t.py:clean', in: {text: 3}}", "in.text", "bad_type", "must be a text", "is str"),
        ("{pre: 'code/t.py:clean', in: {text: =input.n}}", "in.text", "bad_type", "int does not fit str", "is int"),
        ("{pre: 'code/t.py:half', in: {n: =input.t}}", "in.n", "bad_type", "str does not fit float", "is str"),
        ("{pre: 'code/t.py:clean', in: {text: =count}}", "in.text", "bad_type", "int does not fit str", "`count`"),
        ("{pre: 'code/t.py:clean', in: {text: =input.o}}", "in.text", "bad_type", "may be null", "str?"),
    ],
)
def test_inputs_are_compared_with_the_functions_signature(node, path, code, message, hint, problems):
    (problem,) = problems(
        f"""
        input: {{n: int, t: str, o: str?}}
        nodes:
          count: {{pre: code/t.py:length, in: {{text: =input.t}}}}
          a: {node}
        """,
        functions=FUNCTIONS,
    )
    assert (problem.path, problem.code) == (f"nodes.a.{path}", code)
    assert message in problem.message
    assert hint in problem.hint


def test_inputs_that_fit_the_functions_signature_are_accepted(compiled):
    plan = compiled(
        r"""
        input: {n: int, t: str, o: {type: str?, default: x}}
        nodes:
          a: {pre: 'code/t.py:half', in: {n: =input.n}}
          b: {pre: 'code/t.py:clean', in: {text: "\\=x", limit: =len(input.t)}}
          c: {pre: 'code/t.py:loose', in: {first: =a, other: 3}}
          d: {pre: 'code/t.py:anything', in: {whatever: =b.text}}
          e: {pre: 'code/t.py:clean', in: {text: =input.o}}
        """,
        functions=FUNCTIONS,
    )
    assert plan.targets == (
        ("default", "code/t.py:anything"),
        ("default", "code/t.py:clean"),
        ("default", "code/t.py:half"),
        ("default", "code/t.py:loose"),
    )


TABLE = model_signature({"form": "table", "fields": [], "output": {"kind": "classification", "classes": []}})
RECORD = model_signature(
    {
        "form": "record",
        "fields": [{"name": "text", "type": "str"}, {"name": "limit", "type": "int", "default": 3}],
        "output": {"kind": "text"},
    }
)


@pytest.mark.parametrize(
    ("node", "path", "message", "hint"),
    [
        ("{model: chrun, in: {text: a}}", "model", "no model named `chrun`", "`churn`"),
        ("{model: iris@prod}", "model", "iris has no alias or version `prod`", "iris has 3, production."),
        ("{model: churn, in: {txt: a, text: b}}", "in.txt", "takes no input `txt`", "`text`"),
        ("{model: churn}", "in", "needs the input `text`", ""),
        ("{model: churn, in: {text: a, limit: b}}", "in.limit", "must be a whole number", "is int"),
        ("{model: iris, in: {input: []}}", "in.input", "takes no input `input`", "`inputs`"),
    ],
)
def test_inputs_are_compared_with_the_models_schema(node, path, message, hint, problems):
    (problem,) = problems(f"nodes: {{a: {node}}}", models={"churn": RECORD, "iris@production": TABLE, "iris@3": TABLE})
    assert problem.path == f"nodes.a.{path}"
    assert message in problem.message
    assert hint in problem.hint


def test_models_may_be_known_by_name_or_by_alias(compiled):
    plan = compiled(
        "nodes: {a: {model: churn@7, in: {text: x}}, b: {model: iris, in: =a}, c: {model: iris@3}}",
        models={"churn": RECORD, "iris@production": TABLE, "iris@3": TABLE},
    )
    assert plan.models == ("churn@7", "iris@3", "iris@production")


@pytest.mark.parametrize(("name", "path"), [("nlp2", "environment"), ("gpu", "nodes.a.environment")])
def test_an_unknown_environment_is_reported_where_it_is_written(name, path, problems):
    text = f"environment: {'nlp2' if path == 'environment' else 'nlp'}\nnodes: {{a: {{pre: code/a.py:f"
    text += ", environment: gpu}}" if path != "environment" else "}}"
    (problem,) = problems(text, environments={"nlp"})
    assert (problem.path, problem.code) == (path, "unknown_environment")
    assert f"`{name}`" in problem.message


def test_environments_come_from_the_node_the_worklet_or_the_default(compiled):
    plan = compiled("nodes: {a: {pre: code/a.py:f}, b: {pre: code/a.py:f, environment: gpu}}")
    assert plan.environments == ("default", "gpu")
    plan = compiled("environment: nlp\nnodes: {a: {pre: code/a.py:f}, b: {model: m}}", environments={"nlp"})
    assert [node.environment for node in plan.nodes] == ["nlp", None]


FUSED = {
    "a chain of whole values": (
        "{a: {pre: code/x.py:f}, b: {post: code/x.py:f, in: {v: =a}}, c: {logic: code/x.py:f, in: {v: =b, w: =a}}}",
        [["a", "b", "c"]],
    ),
    "a chain by after alone": ("{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, after: a}}", [["a", "b"]]),
    "with a value of the input": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a, w: =input.t.u, z: 3}}}",
        [["a", "b"]],
    ),
    "in parentheses": ("{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =(a)}}}", [["a", "b"]]),
    "not with a path": ("{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a.text}}}", [["a"], ["b"]]),
    "not nested": ("{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: {w: =a}}}}", [["a"], ["b"]]),
    "not in an expression": ("{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a ?? 1}}}", [["a"], ["b"]]),
    "not in another environment": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, environment: gpu, in: {v: =a}}}",
        [["a"], ["b"]],
    ),
    "not with a model between": (
        "{a: {pre: code/x.py:f}, m: {model: m, in: {v: =a}}, b: {post: code/x.py:f, in: {v: =m}}}",
        [["a"], ["m"], ["b"]],
    ),
    "not where another follows at once": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a}}, c: {pre: code/x.py:f, in: {v: =a}}}",
        [["a"], ["b"], ["c"]],
    ),
    "not where a model waits": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a}}, m: {model: m, in: {v: =a}}}",
        [["a"], ["b"], ["m"]],
    ),
    "where the model waits for the end": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a}}, m: {model: m, in: {v: =a, w: =b}}}",
        [["a", "b"], ["m"]],
    ),
    "not where it waits for something else": (
        "{m: {model: m}, a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a, w: =m}}}",
        [["m"], ["a"], ["b"]],
    ),
    "where the first waited for it already": (
        "{m: {model: m}, a: {pre: code/x.py:f, in: {v: =m}}, b: {pre: code/x.py:f, in: {v: =a, w: =m.x}}}",
        [["m"], ["a", "b"]],
    ),
    "not with a condition": ("{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a}, when: =a.x}}", [["a"], ["b"]]),
    "not with a retry": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f, in: {v: =a}, retry: {max: 1}}}",
        [["a"], ["b"]],
    ),
    "not after a timeout": ("{a: {pre: code/x.py:f, timeout: 1s}, b: {pre: code/x.py:f, in: {v: =a}}}", [["a"], ["b"]]),
    "not after a fallback": (
        "{a: {pre: code/x.py:f, fallback: 1}, b: {pre: code/x.py:f, in: {v: =a}}}",
        [["a"], ["b"]],
    ),
    "behind one condition": (
        "{a: {pre: code/x.py:f, when: =input.t}, b: {pre: code/x.py:f, in: {v: =a}, after: a}}",
        [["a", "b"]],
    ),
    "two chains": (
        "{a: {pre: code/x.py:f}, b: {pre: code/x.py:f}, c: {pre: code/x.py:f, in: {v: =a}},"
        " d: {pre: code/x.py:f, in: {v: =b}}}",
        [["a", "c"], ["b", "d"]],
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_code_nodes_travel_together_when_nothing_is_between_them(name, compiled):
    nodes, segments = FUSED[name]
    plan = compiled(f"input: {{t: json}}\nnodes: {nodes}")
    assert [list(segment) for segment in plan.segments] == segments


def test_a_plan_survives_json(compiled):
    plan = compiled(
        GATE
        + "  last: {model: m, in: =rank, join: big or small, timeout: 1s, retry: {max: 2}, fallback: null}\n"
        + "return: {x: =last}"
    )
    data = json.loads(json.dumps(plan.to_json(), sort_keys=True))
    assert Plan.from_json(data) == plan
    assert Plan.from_json(data).to_json() == plan.to_json()


@pytest.mark.parametrize(
    "damage",
    [
        {"plan": 2},
        {"plan": None},
        {"nodes": [{"name": "a", "kind": "sleep", "spec": {}}], "segments": [["a"]]},
        {"nodes": [{"name": "a", "kind": "model", "spec": {}}], "segments": [["a"]]},
        {"nodes": [{"name": "a"}]},
        {"segments": [["nobody"]]},
        {"returns": "=1 +"},
        {"input": [{"name": "a", "type": "string"}]},
        {"settings": {"speed": 3}},
        {"edges": [["a"]]},
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(damage, compiled):
    with pytest.raises(PlanError):
        Plan.from_json(compiled("nodes: {a: {model: m}}").to_json() | damage)


def test_the_graph_has_every_node_in_columns_and_every_line(compiled):
    graph = compiled(GATE + "return: {x: =big.y ?? small.y}").graph()
    assert [(node.id, node.kind, node.column, node.row) for node in graph.nodes] == [
        ("input", "input", 0, 0),
        ("rank", "model", 1, 0),
        ("gate", "branch", 2, 0),
        ("big", "logic", 3, 0),
        ("small", "logic", 3, 1),
        ("return", "return", 4, 0),
    ]
    assert [(edge.source, edge.target, edge.port, edge.kind) for edge in graph.edges] == [
        ("input", "rank", "x", "data"),
        ("rank", "gate", "branch", "data"),
        ("rank", "big", "x", "data"),
        ("gate", "big", "big", "control"),
        ("rank", "small", "x", "data"),
        ("gate", "small", "small", "control"),
        ("big", "return", "x", "data"),
        ("small", "return", "x", "data"),
    ]
    assert graph.to_json()["nodes"][2]["ports"] == ["big", "small"]


def test_nodes_are_ordered_by_what_they_wait_for(compiled):
    plan = compiled("nodes: {c: {model: m, in: {x: =b}}, b: {model: m, after: a}, a: {model: m}}")
    assert [node.name for node in plan.nodes] == ["a", "b", "c"]


LARGE = {
    "a wide web": [f"n{i}: {{pre: code/x.py:f, in: {{v: =n{i - 1}, w: =n{i // 2}.x}}}}" for i in range(1, 500)],
    "a long chain": [f"n{i}: {{model: m, after: n{i - 1}}}" for i in range(1, 500)],
    "a ladder": [
        f"n{i}: {{model: m, after: [n{i - 1}, n{max(i - 2, 0)}], in: {{v: =n{i - 1}}}}}" for i in range(1, 500)
    ],
    "a hundred branches in a row": [
        line
        for i in range(1, 100)
        for line in (
            f"g{i}: {{branch: {{a: =n{i - 1}.x, b: else}}}}",
            f"a{i}: {{model: m, after: g{i}.a}}",
            f"b{i}: {{model: m, after: g{i}.b}}",
            f"n{i}: {{model: m, join: a{i} or b{i}, in: {{v: =a{i}.x ?? b{i}.x}}}}",
        )
    ],
    "a hundred branches side by side": [
        *(f"g{i}: {{branch: {{a: =n0.x, b: else}}}}" for i in range(1, 100)),
        *(f"n{i}: {{model: m, join: g{i}.a or g{100 - i}.b}}" for i in range(1, 100)),
    ],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_worklet_compiles_quickly(name, document):
    text = document("\n  ".join(["nodes:", "n0: {model: m}", *LARGE[name]]))
    began = time.process_time()
    plan = compile_worklet(load_worklet(text))
    assert time.process_time() - began < 3
    assert len(plan.nodes) == len(LARGE[name]) + 1
