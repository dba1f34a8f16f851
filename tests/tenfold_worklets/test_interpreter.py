"""Running plans: order, skips, retries, timeouts, fallbacks, failures, cancelling, deadlines."""

import asyncio
import json
import time

import pytest

from tenfold_worklets import CallError, InputError, Plan, RunContext, StepResult, SystemClock, execute

LINE = """
input: {text: str}
output: {label: str}
nodes:
  clean: {pre: code/t.py:clean, in: {text: =input.text}}
  rank: {model: ranker, in: {inputs: =clean.text}}
  top: {post: code/t.py:top, in: {raw: =rank}}
  shout: {post: code/t.py:shout, in: {label: =top, twice: true}}
return: {label: =shout}
"""


def lines(journal):
    return [(event.path, event.attempt, event.state) for event in journal.events]


def states(outcome):
    return dict(outcome.states)


def test_a_line_runs_from_input_to_return(compiled, world):
    answers = {
        "clean": lambda given: {"text": given["text"].strip()},
        "ranker@production": lambda given: [given["inputs"], 0.9],
        "top": lambda given: given["raw"][0],
        "shout": lambda given: given["label"].upper(),
    }
    outcome = world.run(compiled(LINE), {"text": " hi "}, answers)
    assert (outcome.state, outcome.output, outcome.error) == ("succeeded", {"label": "HI"}, None)
    assert lines(world.journal) == [
        ("clean", 1, "running"),
        ("clean", 1, "succeeded"),
        ("rank", 1, "running"),
        ("rank", 1, "succeeded"),
        ("top", 1, "running"),
        ("top", 1, "succeeded"),
        ("shout", 1, "running"),
        ("shout", 1, "succeeded"),
    ]


def test_the_journal_has_what_each_node_was_given_and_gave(compiled, world):
    world.run(compiled(LINE), {"text": "hi"}, {"clean": {"text": "x"}, "top": "a", "shout": "A"})
    given = {event.path: (event.kind, event.input) for event in world.journal.events if event.state == "running"}
    assert given == {
        "clean": ("pre", {"text": "hi"}),
        "rank": ("model", {"inputs": "x"}),
        "top": ("post", {"raw": {"from": "ranker@production"}}),
        "shout": ("post", {"label": "a", "twice": True}),
    }
    assert {path: event.output for path, event in world.journal.final().items()} == {
        "clean": {"text": "x"},
        "rank": {"from": "ranker@production"},
        "top": "a",
        "shout": "A",
    }
    assert world.journal.final()["top"].logs == "log of top"


def test_fused_nodes_are_one_call_with_references_between_the_steps(compiled, world):
    world.run(compiled(LINE), {"text": "hi"}, {"clean": {"text": "x"}, "top": "a", "shout": "A"})
    first, second = world.caller.code_calls
    assert [step.to_frame() for step in first.steps] == [
        {"name": "clean", "target": "code/t.py:clean", "arguments": {"text": {"$ref": "=input.text"}}}
    ]
    assert [step.to_frame() for step in second.steps] == [
        {"name": "top", "target": "code/t.py:top", "arguments": {"raw": {"$ref": "=rank"}}},
        {
            "name": "shout",
            "target": "code/t.py:shout",
            "arguments": {"label": {"$ref": "top"}, "twice": {"$ref": "shout.twice"}},
        },
    ]
    assert second.values == {"=rank": {"from": "ranker@production"}, "shout.twice": True}
    assert (second.environment, second.run_id, second.idempotency_key) == ("default", "run-1", "run-1:top")


def test_a_value_that_several_arguments_use_travels_once(compiled, world):
    world.run(
        compiled(
            """
            input: {photo: json}
            nodes:
              a: {pre: code/t.py:a, in: {x: =input.photo, y: =input.photo}}
              b: {pre: code/t.py:b, in: {x: =a, y: =input.photo}}
            """
        ),
        {"photo": "big"},
    )
    (call,) = world.caller.code_calls
    assert call.values == {"=input.photo": "big"}


def test_a_text_that_looks_like_a_reference_is_passed_as_it_is(compiled, world):
    plan = compiled(
        r"""
        nodes:
          a: {pre: code/t.py:a, in: {x: "\\=a", y: {$ref: a}}}
          b: {pre: code/t.py:b, in: {v: =a, w: a}}
        """
    )
    seen = {}
    world.run(plan, {}, {"a": lambda given: seen.update(a=given) or 1, "b": lambda given: seen.update(b=given) or 2})
    assert seen == {"a": {"x": "=a", "y": {"$ref": "a"}}, "b": {"v": 1, "w": "a"}}


WIDE = """
nodes:
  a: {model: a}
  b: {model: b}
  c: {model: c, in: {x: =a, y: =b}}
return: {x: =c}
"""


def test_what_does_not_wait_for_each_other_runs_at_once(compiled, world):
    outcome = world.run(
        compiled(WIDE), {}, {"a@production": world.after(3, 1), "b@production": world.after(2, 2), "c@production": 3}
    )
    assert world.caller.ended == ["b@production", "a@production", "c@production"]
    assert (outcome.seconds, outcome.output) == (3.0, {"x": 3})


def test_no_more_steps_run_at_once_than_allowed(compiled, world):
    running, most = 0, 0

    async def answer(_given):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await world.clock.sleep(1)
        running -= 1

    plan = compiled("nodes: {" + ", ".join(f"n{i}: {{model: m}}" for i in range(10)) + "}")
    outcome = world.run(plan, {}, {"m@production": answer}, max_parallel=3)
    assert (most, outcome.state, outcome.seconds) == (3, "succeeded", 4.0)


GATE = """
input: {score: float}
nodes:
  gate: {branch: {big: =input.score > 10, middle: =input.score > 5, small: else}}
  big: {model: big, after: gate.big}
  middle: {model: middle, after: gate.middle}
  small: {model: small, after: gate.small}
  after_small: {model: m, in: {x: =small}, after: small}
  joined: {model: m, join: (big or middle) and gate}
return: {fired: =gate.port, value: =big ?? middle ?? small, joined: =joined ?? null}
"""


@pytest.mark.parametrize(
    ("score", "fired", "ran"),
    [(11, "big", {"big", "joined"}), (6, "middle", {"middle", "joined"}), (1, "small", {"small", "after_small"})],
)
def test_the_first_true_port_fires_and_the_rest_is_skipped(score, fired, ran, compiled, world):
    outcome = world.run(compiled(GATE), {"score": score})
    assert outcome.output["fired"] == fired
    assert outcome.output["value"] == {"from": f"{fired}@production"}
    assert {name for name, state in states(outcome).items() if state == "succeeded"} == {"gate", *ran}
    assert {name for name, state in states(outcome).items() if state == "skipped"} == set(states(outcome)) - {
        "gate",
        *ran,
    }
    skipped = [event for event in world.journal.events if event.state == "skipped"]
    assert {(event.path, event.attempt) for event in skipped} == {
        (name, 0) for name in states(outcome) if name not in ran and name != "gate"
    }


def test_conditions_after_the_first_true_one_are_not_computed(compiled, world):
    plan = compiled(
        """
        input: {x: json}
        nodes:
          g: {branch: {a: =true, b: =round(input.x) > 1}}
          a: {model: m, after: g.a}
          b: {model: m, after: g.b}
        """
    )
    assert world.run(plan, {"x": {}}).state == "succeeded"
    assert world.journal.final()["g"].output == {"port": "a"}


def test_when_no_port_fires_everything_behind_is_skipped(compiled, world):
    plan = compiled("nodes: {g: {branch: {a: =1 > 2}}, x: {model: m, after: g.a}}\nreturn: {port: =g.port}")
    outcome = world.run(plan, {})
    assert (outcome.output, states(outcome)) == ({"port": None}, {"g": "succeeded", "x": "skipped"})


@pytest.mark.parametrize(("value", "state"), [(True, "succeeded"), (0, "skipped"), ("", "skipped"), ([], "succeeded")])
def test_a_node_runs_when_its_condition_is_true(value, state, compiled, world):
    plan = compiled("input: {v: json}\nnodes: {a: {model: m, when: =input.v}, b: {model: m, after: a}}")
    assert states(world.run(plan, {"v": value})) == {"a": state, "b": state}


def test_a_fused_chain_is_skipped_as_one(compiled, world):
    plan = compiled(
        "input: {v: bool}\nnodes: {a: {pre: code/t.py:f, when: =input.v}, b: {pre: code/t.py:g, in: {x: =a}, after: a}}"
    )
    assert plan.segments == (("a", "b"),)
    assert states(world.run(plan, {"v": False})) == {"a": "skipped", "b": "skipped"}


def test_a_join_waits_for_everything_it_names(compiled, world):
    plan = compiled("nodes: {a: {model: a}, b: {model: b}, c: {model: c, join: a or b}}")
    world.run(plan, {}, {"a@production": world.after(1, 1), "b@production": world.after(5, 2)})
    assert world.caller.started == ["a@production", "b@production", "c@production"]
    assert world.journal.final()["c"].at == world.journal.final()["b"].at


RETRY = """
nodes:
  a: {model: m, retry: {max: 3, on: [5xx], base: 1s, cap: 3s}, timeout: 10s}
return: {x: =a}
"""


def test_a_failed_call_is_tried_again_after_growing_pauses(compiled, world, call_error):
    outcome = world.run(compiled(RETRY), {}, {"m@production": [call_error(), call_error(), call_error(), "ok"]})
    assert (outcome.state, outcome.output) == ("succeeded", {"x": "ok"})
    assert outcome.seconds == 1 + 2 + 3
    assert lines(world.journal) == [
        ("a", 1, "running"), ("a", 1, "failed"),
        ("a", 2, "running"), ("a", 2, "failed"),
        ("a", 3, "running"), ("a", 3, "failed"),
        ("a", 4, "running"), ("a", 4, "succeeded"),
    ]  # fmt: skip
    assert [call.attempt for call in world.caller.model_calls] == [1, 2, 3, 4]
    assert {call.idempotency_key for call in world.caller.model_calls} == {"run-1:a"}


def test_pauses_are_shortened_at_random_by_up_to_half(compiled, world, call_error):
    async def go():
        world.caller.answers["m@production"] = [call_error(), "ok"]
        return await world.clock.drive(
            execute(
                compiled(RETRY),
                {},
                caller=world.caller,
                journal=world.journal,
                clock=world.clock,
                context=RunContext("r", random=lambda: 0.0),
            )
        )

    assert asyncio.run(go()).seconds == 0.5


def test_when_every_attempt_fails_the_last_error_is_the_runs(compiled, world, call_error):
    outcome = world.run(compiled(RETRY), {}, {"m@production": call_error("user_error", "no luck", traceback="line 3")})
    assert (outcome.state, states(outcome)) == ("failed", {"a": "failed"})
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.node, outcome.error.traceback) == ("user_error", "a", "line 3")
    assert len(world.caller.model_calls) == 4


@pytest.mark.parametrize(
    ("on", "error", "attempts"),
    [
        ("[5xx]", {"status": 503}, 2),
        ("[5xx]", {"status": 400}, 1),
        ("[5xx]", {"status": 504, "source": "timeout"}, 1),
        ("[timeout]", {"status": 504, "source": "timeout"}, 2),
        ("[timeout]", {"status": 503}, 1),
        ("['429']", {"status": 429}, 2),
        ("any", {"status": 400, "source": "input"}, 2),
        ("[timeout]", {"status": 400, "retryable": True}, 2),
    ],
)
def test_only_the_named_reasons_are_tried_again(on, error, attempts, compiled, world, call_error):
    plan = compiled(f"nodes: {{a: {{model: m, retry: {{max: 1, on: {on}}}}}}}")
    world.run(plan, {}, {"m@production": call_error(**error)})
    assert len(world.caller.model_calls) == attempts


def test_a_call_that_takes_too_long_is_cancelled_and_tried_again(compiled, world):
    plan = compiled("nodes: {a: {model: m, timeout: 2s, retry: {max: 1, base: 1s}}}\nreturn: {x: =a}")
    outcome = world.run(plan, {}, {"m@production": [world.after(60, "late"), world.after(1, "ok")]})
    assert (outcome.output, outcome.seconds) == ({"x": "ok"}, 2 + 1 + 1)
    assert world.caller.cancelled == ["m@production"]
    first = world.journal.events[1]
    assert (first.state, first.seconds) == ("failed", 2.0)
    assert first.error is not None
    assert (first.error.code, first.error.source, first.error.status) == ("timeout", "timeout", 504)
    assert "2 s" in first.error.message


def test_a_fallback_stands_in_for_a_node_that_failed(compiled, world, call_error):
    plan = compiled(
        """
        input: {d: str}
        nodes:
          a: {model: m, retry: {max: 1, base: 1s}, fallback: {label: =input.d}}
          b: {model: n, in: =a}
        return: {x: =a.label}
        """
    )
    outcome = world.run(plan, {"d": "other"}, {"m@production": call_error()})
    assert (outcome.state, outcome.output) == ("succeeded", {"x": "other"})
    assert states(outcome) == {"a": "succeeded", "b": "succeeded"}
    final = world.journal.final()["a"]
    assert (final.attempt, final.state, final.output) == (2, "succeeded", {"label": "other"})
    assert final.error is not None
    assert world.caller.model_calls[-1].inputs == {"label": "other"}


def test_a_null_fallback_stands_in_too(compiled, world, call_error):
    outcome = world.run(compiled("nodes: {a: {model: m, fallback: null}}"), {}, {"m@production": call_error()})
    assert states(outcome) == {"a": "succeeded"}


def test_a_failed_node_fails_the_run_and_stops_the_others(compiled, world, call_error):
    async def fail(_given):
        await world.clock.sleep(1)
        raise call_error("user_error", "division by zero")

    plan = compiled("nodes: {a: {model: a}, b: {model: b}, c: {model: c, in: {x: =a}}, d: {model: d, in: {x: =b}}}")
    outcome = world.run(plan, {}, {"a@production": fail, "b@production": world.after(60, 1)})
    assert (outcome.state, outcome.seconds, outcome.output) == ("failed", 1.0, None)
    assert outcome.error is not None
    assert (outcome.error.node, outcome.error.message) == ("a", "division by zero")
    assert states(outcome) == {"a": "failed", "b": "cancelled", "c": "skipped", "d": "skipped"}
    assert world.caller.cancelled == ["b@production"]
    assert world.journal.final()["b"].seconds == 1.0


def test_two_nodes_that_fail_together_are_both_recorded(compiled, world, call_error):
    plan = compiled("nodes: {a: {model: a}, b: {model: b}}")
    outcome = world.run(plan, {}, {"a@production": call_error("e1"), "b@production": call_error("e2")})
    assert states(outcome) == {"a": "failed", "b": "failed"}
    assert outcome.error is not None
    assert outcome.error.code in ("e1", "e2")


def test_a_step_that_fails_in_a_chain_leaves_what_came_before(compiled, world, call_error):
    plan = compiled(
        "nodes: {a: {pre: code/t.py:a}, b: {pre: code/t.py:b, in: {x: =a}}, c: {pre: code/t.py:c, in: {x: =b}}}"
    )
    outcome = world.run(plan, {}, {"b": call_error("user_error", "bad", traceback="File code/t.py, line 3")})
    assert len(world.caller.code_calls) == 1
    assert states(outcome) == {"a": "succeeded", "b": "failed", "c": "skipped"}
    assert outcome.error is not None
    assert (outcome.error.node, outcome.error.traceback) == ("b", "File code/t.py, line 3")
    assert world.journal.final()["b"].logs == "log of b"


def test_a_worker_that_dies_under_a_chain_fails_its_first_step(compiled, world):
    async def die(_call):
        raise CallError("worker_lost", "the process ended", status=503)

    world.caller.call_code = die
    outcome = world.run(compiled("nodes: {a: {pre: code/t.py:a}, b: {pre: code/t.py:b, in: {x: =a}}}"), {})
    assert states(outcome) == {"a": "failed", "b": "skipped"}
    assert outcome.error is not None
    assert outcome.error.status == 503


@pytest.mark.parametrize("results", [[], [StepResult("a", 1)]])
def test_a_worker_that_leaves_out_a_result_is_at_fault(results, compiled, world):
    async def answer(_call):
        return results

    world.caller.call_code = answer
    outcome = world.run(compiled("nodes: {a: {pre: code/t.py:a}, b: {pre: code/t.py:b, in: {x: =a}}}"), {})
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.source) == ("no_result", "worker")


def test_a_caller_that_breaks_is_the_platforms_fault(compiled, world):
    outcome = world.run(compiled("nodes: {a: {model: m}}"), {}, {"m@production": KeyError("x")})
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.source, outcome.error.status) == ("internal", "platform", 500)
    assert "KeyError" in outcome.error.message


@pytest.mark.parametrize(
    ("node", "where"),
    [
        ("{model: m, in: {y: =round(input.x)}}", "`a.y`"),
        ("{model: m, when: =round(input.x)}", "`a.when`"),
        ("{branch: {p: =round(input.x)}}, b: {model: m, after: a.p}", "`a`"),
        ("{model: broken, fallback: =round(input.x)}", "`a.fallback`"),
    ],
)
def test_an_expression_that_cannot_be_computed_fails_the_node(node, where, compiled, world, call_error):
    outcome = world.run(
        compiled(f"input: {{x: json}}\nnodes: {{a: {node}}}"), {"x": {}}, {"broken@production": call_error()}
    )
    assert (outcome.state, states(outcome)["a"]) == ("failed", "failed")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.node) == ("expression", "a")
    assert where in outcome.error.message
    assert lines(world.journal)[0] == ("a", 1, "running")


def test_a_return_that_cannot_be_computed_fails_the_run(compiled, world):
    outcome = world.run(compiled("input: {x: json}\nreturn: {y: =round(input.x)}"), {"x": {}})
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.node) == ("expression", None)
    assert "return.y" in outcome.error.message


def test_the_deadline_ends_the_run(compiled, world):
    plan = compiled(
        "settings: {deadline: 5s}\nnodes: {a: {model: a}, b: {model: b}, c: {model: c, in: {x: =a, y: =b}}}"
    )
    outcome = world.run(plan, {}, {"a@production": world.after(60, 1), "b@production": world.after(1, 1)})
    assert (outcome.state, outcome.seconds) == ("failed", 5.0)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.status) == ("deadline", 504)
    assert states(outcome) == {"a": "cancelled", "b": "succeeded", "c": "skipped"}


@pytest.mark.parametrize(("given", "seconds"), [(2.0, 2.0), (60.0, 5.0), (None, 5.0), (0.0, 0.0)])
def test_the_shorter_of_both_deadlines_holds(given, seconds, compiled, world):
    plan = compiled("settings: {deadline: 5s}\nnodes: {a: {model: a}}")
    outcome = world.run(plan, {}, {"a@production": world.after(60, 1)}, deadline=given)
    assert (outcome.seconds, outcome.error and outcome.error.code) == (seconds, "deadline")


def test_the_deadline_ends_a_pause_between_attempts(compiled, world, call_error):
    plan = compiled("settings: {deadline: 5s}\nnodes: {a: {model: m, retry: {max: 5, base: 10s, cap: 10s}}}")
    outcome = world.run(plan, {}, {"m@production": call_error()})
    assert (outcome.seconds, states(outcome)) == (5.0, {"a": "failed"})
    assert outcome.error is not None
    assert outcome.error.code == "deadline"


def test_calls_know_how_much_time_they_have(compiled, world):
    plan = compiled(
        "settings: {deadline: 10s}\nnodes: {a: {model: a}, b: {model: b, in: =a, timeout: 2s}, c: {model: c, in: =b}}"
    )
    world.run(plan, {}, {"a@production": world.after(4, 1)})
    assert [call.timeout_seconds for call in world.caller.model_calls] == [10.0, 2.0, 6.0]


@pytest.mark.parametrize(
    "nodes", ["{a: {model: a}, b: {model: b, in: =a}}", "{a: {model: a}, c: {model: c}, b: {model: b, in: =a}}"]
)
def test_cancelling_the_task_cancels_the_run(nodes, compiled, world):
    async def go():
        slow = {"a@production": world.after(60, 1), "c@production": world.after(60, 1)}
        task = asyncio.create_task(world.execute(compiled(f"nodes: {nodes}"), {}, slow))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        outcome = await task
        return outcome, task.cancelled(), task.cancelling()

    outcome, was_cancelled, still_cancelling = asyncio.run(go())
    assert (outcome.state, was_cancelled, still_cancelling) == ("cancelled", False, 0)
    assert outcome.error is not None
    assert outcome.error.code == "cancelled"
    assert outcome.states["a"] == "cancelled"
    assert outcome.states["b"] == "skipped"
    assert "a@production" in world.caller.cancelled
    assert {path: event.state for path, event in world.journal.final().items()} == states(outcome)


def test_nothing_is_left_behind_after_a_run(compiled, world, call_error):
    async def go():
        answers = {"a@production": world.after(1, 1), "b@production": call_error()}
        await world.clock.drive(world.execute(compiled(WIDE), {}, answers))
        return asyncio.all_tasks() - {asyncio.current_task()}, [t for t in world.clock.timers if not t.cancelled]

    assert asyncio.run(go()) == (set(), [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("text", "is missing"), ("count", "is missing")]),
        ({"text": 3, "count": "x"}, [("text", "must be a text"), ("count", "must be a whole number")]),
        ({"text": None, "count": 1}, [("text", "must be a text, not null")]),
        ({"text": "a", "count": 1, "txet": 1}, [("txet", "there is no input named `txet`")]),
        (
            {"text": "a", "count": 1, "files": [{}]},
            [(f"files[0].{key}", "is missing") for key in ("name", "type", "size", "data")],
        ),
        ([], [("", "the input must be an object")]),
        (None, [("", "the input must be an object")]),
        ("text", [("", "the input must be an object")]),
    ],
)
def test_input_that_does_not_match_is_refused_before_anything_runs(given, expected, compiled, world):
    plan = compiled(
        "input: {text: str, count: int, files: 'list[file]?', limit: {type: int, default: 3}}\nnodes: {a: {model: m}}"
    )
    with pytest.raises(InputError) as caught:
        world.run(plan, given)
    found = [(problem.path, problem.message) for problem in caught.value.problems]
    assert len(found) == len(expected)
    for (path, message), (wanted_path, wanted_message) in zip(found, expected, strict=True):
        assert path == wanted_path
        assert wanted_message in message
    assert world.journal.events == []
    assert world.caller.started == []


def test_an_input_named_nearly_right_is_recognised(compiled, world):
    with pytest.raises(InputError) as caught:
        world.run(compiled("input: {text: str?}"), {"txet": "a"})
    assert caught.value.problems[0].hint == "Did you mean `text`?"


def test_defaults_are_filled_in_and_what_is_optional_is_null(compiled, world):
    plan = compiled("input: {a: {type: int, default: 3}, b: str?}\nreturn: {a: =input.a, b: =input.b, all: =input}")
    given = {}
    assert world.run(plan, given).output == {"a": 3, "b": None, "all": {"a": 3}}
    assert world.run(plan, {"a": 4, "b": "x"}).output == {"a": 4, "b": "x", "all": {"a": 4, "b": "x"}}
    assert given == {}


def test_output_that_does_not_match_fails_the_run(compiled, world):
    plan = compiled("output: {label: str, score: float?}\nnodes: {a: {model: m}}\nreturn: {label: =a.l, score: =a.s}")
    assert world.run(plan, {}, {"m@production": {"l": "x", "s": 1}}).output == {"label": "x", "score": 1}
    outcome = world.run(plan, {}, {"m@production": {"l": 3, "s": "y"}})
    assert (outcome.state, outcome.output) == ("failed", None)
    assert outcome.error is not None
    assert outcome.error.code == "bad_output"
    assert "label must be a text, not a whole number; score must be a number, not a text" in outcome.error.message


def test_a_whole_returned_value_must_be_an_object_with_the_outputs(compiled, world):
    plan = compiled("output: {label: str}\nnodes: {a: {model: m}}\nreturn: =a")
    assert world.run(plan, {}, {"m@production": {"label": "x", "more": 1}}).output == {"label": "x", "more": 1}
    assert world.run(plan, {}, {"m@production": "x"}).error.code == "bad_output"
    assert world.run(plan, {}, {"m@production": {}}).error.code == "bad_output"


def test_a_worklet_without_a_return_gives_an_empty_object(compiled, world):
    assert world.run(compiled("nodes: {a: {model: m}}"), {}).output == {}


def test_a_long_chain_does_not_deepen_the_stack(compiled, world):
    lines = ["n0: {model: m}"] + [f"n{i}: {{model: m, in: {{x: =n{i - 1}}}}}" for i in range(1, 500)]
    outcome = world.run(compiled("nodes:\n  " + "\n  ".join(lines)), {})
    assert set(outcome.states.values()) == {"succeeded"}


def test_a_plan_from_json_runs_like_the_one_it_came_from(compiled, world):
    plan = Plan.from_json(json.loads(json.dumps(compiled(GATE).to_json(), sort_keys=True)))
    assert world.run(plan, {"score": 6}).output["fired"] == "middle"


def test_the_interpreter_itself_costs_little(compiled):
    class Quick:
        async def call_code(self, call):
            return [StepResult(step.name, "x") for step in call.steps]

        async def call_model(self, call):
            return {"x": 1}

    class Silent:
        def step_started(self, **event):
            pass

        def step_finished(self, **event):
            pass

    plan, caller, journal, clock, context = compiled(LINE), Quick(), Silent(), SystemClock(), RunContext("r")

    async def go():
        best = float("inf")
        for _ in range(20):
            began = time.process_time()
            for _ in range(50):
                await execute(plan, {"text": "a"}, caller=caller, journal=journal, clock=clock, context=context)
            best = min(best, (time.process_time() - began) / 50)
        return best

    # Measured 70 to 90 µs on a busy machine; the bound only catches what makes it several times slower.
    assert asyncio.run(go()) < 500e-6


def test_by_the_systems_clock_a_deadline_of_nothing_ends_a_run_at_once(compiled, world):
    async def never(_call):
        await asyncio.Event().wait()

    world.caller.call_model = never
    world.clock = SystemClock()
    outcome = asyncio.run(world.execute(compiled("nodes: {a: {model: m}}"), {}, deadline=0.0))
    assert (outcome.error.code, dict(outcome.states)) == ("deadline", {"a": "cancelled"})


def test_a_flood_of_unknown_inputs_is_answered_with_a_few(compiled, world):
    with pytest.raises(InputError) as caught:
        world.run(compiled("input: {text: str?}"), {f"x{i}": 1 for i in range(10_000)})
    assert len(caught.value.problems) == 20
