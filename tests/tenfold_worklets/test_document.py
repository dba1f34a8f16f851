"""Reading worklet documents: what is accepted, and what is said about everything else."""

import time

import pytest

from tenfold_expressions import DocumentError
from tenfold_worklets import load_worklet, parse_type
from tenfold_worklets.durations import parse_duration
from tenfold_worklets.plan import Port, Retry, Settings

FULL = """
worklet: 1
name: support-triage
title: Support triage
description: Sorts messages.
input:
  text: str
  customer_id: {type: int, default: 7, title: Customer, description: Whose, example: 12}
output: {label: str, score: float}
environment: nlp
settings: {mode: sync, deadline: 20s, concurrency: 64}
nodes:
  clean:
    pre: code/text.py:clean
    in: {text: =input.text}
  classify:
    model: zero-shot
    in: {inputs: =clean.text}
    timeout: 1500ms
    retry: {max: 3, on: [timeout, 5xx], base: 200ms, cap: 5s}
    fallback: {label: other, score: 0.0}
  gate:
    branch: {review: =classify.score < 0.7, auto: else}
  save:
    logic: code/store.py:save
    environment: db
    in: {label: =classify.label}
    join: (gate.review or gate.auto) and classify
    when: =input.customer_id != null
return: {label: =classify.label, score: =classify.score}
triggers: {api: {http: true}}
"""


def test_a_whole_document_is_read():
    worklet = load_worklet(FULL, filename="worklets/support-triage.yaml")
    assert (worklet.name, worklet.title, worklet.description) == ("support-triage", "Support triage", "Sorts messages.")
    assert worklet.input == (
        Port("text", parse_type("str")),
        Port("customer_id", parse_type("int"), True, 7, "Customer", "Whose", 12),
    )
    assert worklet.settings == Settings("sync", 20.0, 64)
    assert (worklet.environment, worklet.http, worklet.filename) == ("nlp", True, "worklets/support-triage.yaml")
    clean, classify, gate, save = worklet.nodes
    assert (clean.kind, clean.spec, clean.inputs) == ("pre", {"target": "code/text.py:clean"}, {"text": "=input.text"})
    assert classify.spec == {"model": "zero-shot@production"}
    assert classify.retry == Retry(3, ("timeout", "5xx"), 0.2, 5.0)
    assert classify.timeout_seconds == 1.5
    assert classify.fallback is not None
    assert classify.fallback.value == {"label": "other", "score": 0.0}
    assert gate.spec == {"ports": [["review", "=classify.score < 0.7"], ["auto", "else"]]}
    assert (save.environment, save.join) == ("db", "(gate.review or gate.auto) and classify")
    assert save.when == "=input.customer_id != null"


def test_a_document_may_be_nearly_empty(document):
    worklet = load_worklet(document("worklet: 1\nname: nothing"))
    assert (worklet.nodes, worklet.returns, worklet.output, worklet.settings) == ((), None, None, Settings())


def test_a_null_fallback_is_a_fallback(document):
    worklet = load_worklet(document("nodes: {a: {model: m, fallback: null}, b: {model: m}}"))
    assert [node.fallback is None for node in worklet.nodes] == [False, True]


# (what is written, path, code, part of the message, part of the hint)
WRONG = {
    "not a mapping": ("worklet: 1\n", None, None, None, None),
    "no version": ("worklet:\nname: a", "worklet", "bad_version", "`worklet:` is missing", "Write `worklet: 1` first"),
    "a newer version": ("worklet: 2\nname: a", "worklet", "bad_version", "reads up to version 1", "Upgrade Tenfold"),
    "a version that is none": (
        "worklet: one\nname: a",
        "worklet",
        "bad_version",
        "`worklet: one` is not",
        "worklet: 1",
    ),
    "no name": ("worklet: 1", "name", "bad_name", "the worklet has no name", "lower-case"),
    "a bad name": ("worklet: 1\nname: Triage", "name", "bad_name", "'Triage' is not a name", "lower-case"),
    "an unknown key": ("ouput: {a: str}", "ouput", "unknown_key", "has no key 'ouput'", "Did you mean `output`?"),
    "a title that is no text": ("title: [a]", "title", "bad_type", "must be a text", ""),
    "an unknown type": ("input: {text: string}", "input.text", "bad_port_type", "unknown type", "`str`"),
    "a port's unknown key": (
        "input: {a: {type: str, defualt: x}}",
        "input.a.defualt",
        "unknown_key",
        "has no key",
        "`default`",
    ),
    "a port without a type": ("input: {a: {default: 1}}", "input.a", "bad_port_type", "a type is a text", "str, int"),
    "a default that does not fit": ("input: {a: {type: int, default: x}}", "input.a.default", "bad_type", "whole", ""),
    "an output with a default": (
        "output: {a: {type: int, default: 1}}",
        "output.a.default",
        "unknown_key",
        "no key 'default'",
        "",
    ),
    "a port's bad name": ("input: {a-b: str}", "input.a-b", "bad_name", "not a name for an input", "underscores"),
    "input that is a list": ("input: [text]", "input", "bad_type", "is a mapping", ""),
    "an unknown setting": ("settings: {dedline: 2s}", "settings.dedline", "unknown_key", "no key", "`deadline`"),
    "an unknown mode": ("settings: {mode: fast}", "settings.mode", "bad_value", "no mode 'fast'", "mode: sync"),
    "a deadline without a unit": ("settings: {deadline: 20}", "settings.deadline", "bad_duration", "20 is not", "20s"),
    "a deadline of nothing": ("settings: {deadline: 0s}", "settings.deadline", "bad_duration", "longer", "20s"),
    "a deadline of a day": ("settings: {deadline: 1d}", "settings.deadline", "bad_value", "longer than an hour", "1h"),
    "no concurrency": ("settings: {concurrency: 0}", "settings.concurrency", "bad_value", "from 1 to 10000", ""),
    "a bad environment": ("environment: My Env", "environment", "bad_name", "'My Env' is not a name", "lower-case"),
    "nodes that are a list": ("nodes: [a]", "nodes", "bad_type", "`nodes` is a mapping", ""),
    "an unknown kind": (
        "nodes: {a: {modle: m}}",
        "nodes.a.modle",
        "unknown_kind",
        "no kind of node 'modle'",
        "Did you mean `model`?",
    ),
    "a kind of a later time": (
        "nodes: {a: {sleep: 2s}}",
        "nodes.a.sleep",
        "unknown_kind",
        "no kind of node 'sleep'",
        "Kinds: pre, post, logic, model, branch.",
    ),
    "two kinds": ("nodes: {a: {pre: code/a.py:f, model: m}}", "nodes.a", "two_kinds", "two kinds: pre, model", "two"),
    "a node that is a text": ("nodes: {a: code/a.py:f}", "nodes.a", "bad_type", "begins with its kind", "Kinds: pre"),
    "a node's unknown key": (
        "nodes: {a: {model: m, timout: 2s}}",
        "nodes.a.timout",
        "unknown_key",
        "a model node has no key 'timout'",
        "`timeout`",
    ),
    "a key of another kind": (
        "nodes: {a: {branch: {x: else}, retry: {max: 1}}}",
        "nodes.a.retry",
        "unknown_key",
        "a branch node has no key 'retry'",
        "after",
    ),
    "a node named as a word of the language": (
        "nodes: {input: {model: m}}",
        "nodes.input",
        "bad_name",
        "'input' is not a name",
        "choose another",
    ),
    "a node named as a word of JavaScript": (
        "nodes: {class: {model: m}}",
        "nodes.class",
        "bad_name",
        "'class' is not a name",
        "choose another",
    ),
    "a node's name with a hyphen": ("nodes: {a-b: {model: m}}", "nodes.a-b", "bad_name", "'a-b' is not", "underscores"),
    "a target without a function": ("nodes: {a: {pre: code/a.py}}", "nodes.a.pre", "bad_target", "does not", "FILE.py"),
    "a target outside code": ("nodes: {a: {pre: a.py:f}}", "nodes.a.pre", "bad_target", "does not", "`code/a.py:f`"),
    "a target with dots": ("nodes: {a: {pre: 'code/../a.py:f'}}", "nodes.a.pre", "bad_target", "does not", "FILE.py"),
    "a model's bad name": ("nodes: {a: {model: My Model}}", "nodes.a.model", "bad_model", "does not name", "churn@3"),
    "a model that is a number": ("nodes: {a: {model: 3}}", "nodes.a.model", "bad_model", "3 does not name", "churn@3"),
    "an empty branch": ("nodes: {a: {branch: {}}}", "nodes.a.branch", "bad_branch", "a mapping of ports", "small"),
    "a branch's else in the middle": (
        "nodes: {a: {branch: {x: else, y: =input}}}",
        "nodes.a.branch.x",
        "bad_branch",
        "can never fire",
        "last",
    ),
    "a port without an expression": (
        "nodes: {a: {branch: {x: score > 1, y: else}}}",
        "nodes.a.branch.x",
        "bad_branch",
        "is an expression",
        "=rank.score",
    ),
    "an input that is a list": (
        "nodes: {a: {pre: code/a.py:f, in: [=input]}}",
        "nodes.a.in",
        "bad_type",
        "is a mapping",
        "parameters",
    ),
    "a whole expression for a function": (
        "nodes: {a: {pre: code/a.py:f, in: =input}}",
        "nodes.a.in",
        "bad_type",
        "is a mapping",
        "parameters",
    ),
    "an argument's bad name": (
        "nodes: {a: {pre: code/a.py:f, in: {a b: 1}}}",
        "nodes.a.in.a b",
        "bad_name",
        "not a name for an input",
        "underscores",
    ),
    "an after that is a number": ("nodes: {a: {model: m, after: 3}}", "nodes.a.after", "bad_after", "3 is not", "list"),
    "an after of three parts": (
        "nodes: {a: {model: m, after: [b, c.d.e]}}",
        "nodes.a.after[1]",
        "bad_after",
        "'c.d.e' is not",
        "node.port",
    ),
    "a join with a sign": ("nodes: {a: {model: m, join: b && c}}", "nodes.a.join", "bad_join", "'&' has no", "and, or"),
    "a join that ends": ("nodes: {a: {model: m, join: b and}}", "nodes.a.join", "bad_join", "not the end", "and, or"),
    "a join without its )": ("nodes: {a: {model: m, join: (b or c}}", "nodes.a.join", "bad_join", "a `)`", "and, or"),
    "a join that is a list": ("nodes: {a: {model: m, join: [b]}}", "nodes.a.join", "bad_join", "is a text", "and, or"),
    "a when without =": ("nodes: {a: {model: m, when: x > 1}}", "nodes.a.when", "bad_type", "begins", "Write =x > 1."),
    "a when that is a number": (
        "nodes: {a: {model: m, when: 1}}",
        "nodes.a.when",
        "bad_type",
        "an expression",
        "=rank",
    ),
    "an expression that is none": (
        "nodes: {a: {model: m, in: {x: {y: [=1 +]}}}}",
        "nodes.a.in.x.y[0]",
        "syntax",
        "",
        "",
    ),
    "a branch's bad expression": ("nodes: {a: {branch: {x: =1 +}}}", "nodes.a.branch.x", "syntax", "", ""),
    "a fallback's bad expression": ("nodes: {a: {model: m, fallback: =1 +}}", "nodes.a.fallback", "syntax", "", ""),
    "a return's bad expression": ("return: {x: =nope(}", "return.x", None, "", ""),
    "a bad timeout": ("nodes: {a: {model: m, timeout: soon}}", "nodes.a.timeout", "bad_duration", "'soon'", "500ms"),
    "a retry that is a number": ("nodes: {a: {model: m, retry: 3}}", "nodes.a.retry", "bad_type", "a mapping", "max"),
    "a retry without max": (
        "nodes: {a: {model: m, retry: {base: 1s}}}",
        "nodes.a.retry.max",
        "bad_value",
        "from 1 to 20",
        "how often",
    ),
    "a retry on what is no reason": (
        "nodes: {a: {model: m, retry: {max: 1, on: [timout]}}}",
        "nodes.a.retry.on",
        "bad_value",
        "'timout' is not a reason",
        "`timeout`",
    ),
    "a trigger of a later time": (
        "triggers: {morning: {cron: '0 8 * * *'}}",
        "triggers.morning.cron",
        "unknown_key",
        "a trigger has no key 'cron'",
        "http",
    ),
    "a trigger that is a text": ("triggers: {api: http}", "triggers.api", "bad_type", "is a mapping", ""),
    "an http that is a text": ("triggers: {api: {http: 'yes'}}", "triggers.api.http", "bad_type", "true or false", ""),
}
del WRONG["not a mapping"]


@pytest.mark.parametrize("name", WRONG)
def test_each_problem_says_where_what_and_what_to_do(name, problems):
    text, path, code, message, hint = WRONG[name]
    (problem,) = problems(text)
    assert problem.path == path
    assert code is None or problem.code == code
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line is not None


@pytest.mark.parametrize("text", ["[]", "hello", "3", ""])
def test_a_document_that_is_no_mapping_is_refused(text):
    with pytest.raises(DocumentError) as caught:
        load_worklet(text)
    (problem,) = caught.value.problems
    assert problem.message == "a worklet is a mapping of keys and values"


def test_two_nodes_of_one_name_are_refused(problems):
    (problem,) = problems("nodes:\n  a: {model: m}\n  a: {model: n}\n")
    assert problem.path == "nodes.a"
    assert "written twice" in problem.message


def test_everything_wrong_is_said_at_once_with_lines(problems):
    found = problems(
        """
        worklet: 1
        name: Bad Name
        input:
          text: string
        nodes:
          clean:
            pre: text.py:clean
            in: {text: =input.text +}
            timout: 3s
          broken: {modle: x}
        """
    )
    assert [(problem.path, problem.line) for problem in found] == [
        ("name", 2),
        ("input.text", 4),
        ("nodes.clean.timout", 9),
        ("nodes.clean.pre", 7),
        ("nodes.clean.in.text", 8),
        ("nodes.broken.modle", 10),
    ]


def test_a_key_that_is_missing_is_reported_where_it_would_stand(problems):
    (problem,) = problems("worklet: 1\nname: a\nnodes:\n  x:\n    model: m\n    retry: {on: timeout}\n")
    assert (problem.path, problem.line) == ("nodes.x.retry.max", 6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("20s", 20), ("2m", 120), ("1h", 3600), ("7d", 604800), ("1.5s", 1.5), (" 2 s ", 2)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "s", "-2s", "2 weeks", "1h30m", "1e3s", 20, None, True, "9" * 400 + "s"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="Write a duration"):
        parse_duration(text)


def test_nonsense_is_refused_quickly_with_as_many_problems_as_anyone_reads(problems):
    began = time.process_time()
    lines = [f"  node_{i}: {{model: m, in: {{a: =nodx_{i}, b: =noody_{i}}}, whn: x}}" for i in range(500)]
    found = problems("nodes:\n" + "\n".join(lines))
    assert (len(found), found[-1].message) == (201, "there are more problems")
    assert time.process_time() - began < 5
