"""Old documents stay readable: each version has a golden document, and what it compiles to does not change."""

import json
from pathlib import Path

import pytest

from tenfold_worklets import Plan, compile_worklet, load_worklet
from tenfold_worklets.upgrades import STEPS, VERSION, UpgradeError, upgrade

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_document_of_each_version_compiles_to_the_same_plan_as_ever(version):
    plan = compile_worklet(load_worklet((GOLDEN / f"worklet-{version}.yaml").read_text()))
    expected = json.loads((GOLDEN / f"worklet-{version}.plan.json").read_text())
    assert plan.to_json() == expected
    assert Plan.from_json(expected) == plan


def test_there_is_a_step_from_each_version_to_the_next():
    assert set(STEPS) == set(range(1, VERSION))


def test_steps_are_applied_in_order_and_the_original_is_left_alone():
    steps = {
        1: lambda old: {**old, "seen": [1]},
        2: lambda old: {**old, "seen": [*old["seen"], 2]},
    }
    original = {"worklet": 1, "name": "a"}
    assert upgrade(original, version=3, steps=steps) == {"worklet": 3, "name": "a", "seen": [1, 2]}
    assert upgrade({"worklet": 3}, version=3, steps=steps) == {"worklet": 3}
    assert original == {"worklet": 1, "name": "a"}


@pytest.mark.parametrize("version", [None, 0, -1, 2, 1.0, True, "1", []])
def test_a_version_that_cannot_be_read_is_refused(version):
    with pytest.raises(UpgradeError) as caught:
        upgrade({"worklet": version})
    assert "worklet: 1" in caught.value.hint
