"""Stages: what people watch while something is prepared."""

from datetime import UTC, datetime, timedelta

from tenfold_platform import stages

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def states(value: list[dict[str, object]]) -> dict[object, object]:
    return {stage["name"]: stage["state"] for stage in value}


def test_a_stage_knows_how_long_it_took() -> None:
    value = stages.fresh(stages.VERSION_STAGES)
    value = stages.moved(value, "start", "running", NOW)
    value = stages.moved(value, "start", "done", NOW + timedelta(seconds=1.5))
    (start,) = [stage for stage in value if stage["name"] == "start"]
    assert start["seconds"] == 1.5


def test_moving_makes_a_new_list_and_leaves_the_old_one_alone() -> None:
    before = stages.fresh(stages.RELEASE_STAGES)
    after = stages.moved(before, "code", "running", NOW)
    assert states(before)["code"] == "waiting"
    assert states(after)["code"] == "running"


def test_a_failure_ends_the_open_stage_and_skips_the_rest() -> None:
    value = stages.moved(stages.fresh(stages.VERSION_STAGES), "upload", "done", NOW)
    value = stages.failed_at(stages.moved(value, "fetch", "running", NOW), NOW, "no such file")
    assert list(states(value).values()) == ["done", "failed", *["skipped"] * 5]
    assert stages.all_ended(value)
    assert value[1]["detail"] == "no such file"
    assert stages.failed_at(value, NOW, "again") == value
