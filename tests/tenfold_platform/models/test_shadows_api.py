"""A version that gets a copy of an alias's calls: beginning, figures, differences, the ways in which it ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.clock import Clock
from tenfold_platform.db import transaction
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS
from tenfold_platform.ids import new_id
from tenfold_platform.models.shadows import forget_old
from tenfold_platform.models.tables import ShadowDifferenceTable, ShadowTable, ShadowTallyTable, VersionTable

ALIAS = "/models/wine/aliases/production"


def put(world: Any, version: int, **more: Any) -> Any:
    return world.client.put(f"{world.url}{ALIAS}/shadow", json={"version": version, **more})


def ids(sessions: sessionmaker[Session]) -> tuple[UUID, dict[int, UUID]]:
    """The shadow's, and the versions'."""
    with sessions() as session:
        versions = {number: id for id, number in session.execute(select(VersionTable.id, VersionTable.number))}
        return session.scalars(select(ShadowTable.id)).one(), versions


@pytest.fixture
def note(sessions: sessionmaker[Session], clock: Clock) -> Callable[..., None]:
    """Comparisons with one version, as a gateway writes them."""

    def write(number: int, *, days_ago: float = 0, **counts: int) -> None:
        shadow_id, versions = ids(sessions)
        names = ("equal", "different", "primary_failed", "shadow_failed", "dropped")
        buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        buckets[3] = counts.get("equal", 0) + counts.get("different", 0)
        with transaction(sessions) as session:
            session.add(
                ShadowTallyTable(
                    shadow_id=shadow_id,
                    version_id=versions[number],
                    **{name: counts.get(name, 0) for name in names},
                    primary_seconds=0.001 * buckets[3],
                    primary_buckets=buckets,
                    shadow_seconds=0.002 * buckets[3],
                    shadow_buckets=buckets,
                )
            )
            for place in range(counts.get("different", 0)):
                session.add(
                    ShadowDifferenceTable(
                        id=new_id(),
                        shadow_id=shadow_id,
                        version_id=versions[number],
                        at=clock() - timedelta(days=days_ago, seconds=place),
                        outcome="different",
                        request_id=f"request-{place}",
                        path="label",
                        request="{}",
                        primary_status=200,
                        primary_answer="1",
                        shadow_status=200,
                        shadow_answer="2",
                    )
                )

    return write


def test_it_runs_beside_the_version_in_production(three: Any, desired: Any) -> None:
    model = put(three, 2, percent=25, tolerance=0.01).json()
    assert model["aliases"] == {"production": 1}
    shadow = model["shadows"]["production"]
    assert {key: shadow[key] for key in ("version", "percent", "tolerance")} == {
        "version": 2,
        "percent": 25,
        "tolerance": 0.01,
    }
    assert desired() == {1: 1, 2: 1, 3: 0}
    lines = {line["version"]: line["shadow_of"] for line in three.get("/load")["lines"]}
    assert lines == {1: [], 2: ["production"]}


def test_the_report_has_figures_by_version_and_the_newest_differences(three: Any, note: Any) -> None:
    put(three, 2)
    empty = three.get(f"{ALIAS}/shadow")
    assert (empty["alias"], empty["version"], empty["percent"], empty["versions"]) == ("production", 2, 10, [])
    note(1, equal=7, different=2, dropped=3)
    note(3, primary_failed=1, shadow_failed=4)
    newer, older = three.get(f"{ALIAS}/shadow")["versions"]
    assert (newer["version"], newer["compared"], newer["primary_failed"], newer["shadow_failed"]) == (3, 0, 1, 4)
    assert newer["shadow"] == {"mean_seconds": None, "p50_seconds": None, "p95_seconds": None, "p99_seconds": None}
    assert (older["version"], older["compared"], older["equal"], older["different"], older["dropped"]) == (
        1,
        9,
        7,
        2,
        3,
    )
    assert older["primary"]["mean_seconds"] == pytest.approx(0.001)
    assert older["shadow"]["mean_seconds"] == pytest.approx(0.002)
    found = three.get(f"{ALIAS}/shadow/differences")["items"]
    assert [one["request_id"] for one in found] == ["request-0", "request-1"]
    assert (found[0]["version"], found[0]["path"], found[0]["shadow_answer"]) == (1, "label", "2")


def test_another_share_goes_on_and_another_version_or_tolerance_begins_anew(
    three: Any, note: Any, desired: Any
) -> None:
    put(three, 2)
    note(1, equal=7, different=2)
    put(three, 2, percent=50)
    assert three.get(f"{ALIAS}/shadow")["versions"][0]["compared"] == 9
    put(three, 2, percent=50, tolerance=0.5)
    assert three.get(f"{ALIAS}/shadow")["versions"] == []
    note(1, equal=7, different=2)
    put(three, 3)
    assert three.get(f"{ALIAS}/shadow")["versions"] == []
    assert three.get(f"{ALIAS}/shadow/differences")["items"] == []
    assert desired() == {1: 1, 2: 0, 3: 1}


def test_it_ends_with_what_it_found(three: Any, note: Any, desired: Any, sessions: sessionmaker[Session]) -> None:
    put(three, 2)
    note(1, equal=7, different=2)
    assert three.client.delete(f"{three.url}{ALIAS}/shadow").json()["shadows"] == {}
    assert desired() == {1: 1, 2: 0, 3: 0}
    for path in ("shadow", "shadow/differences"):
        assert three.client.get(f"{three.url}{ALIAS}/{path}").status_code == 404
    assert three.client.delete(f"{three.url}{ALIAS}/shadow").status_code == 404
    with sessions() as session:
        assert session.scalars(select(ShadowTallyTable)).all() == []
        assert session.scalars(select(ShadowDifferenceTable)).all() == []


def test_promoting_it_ends_it(three: Any, desired: Any) -> None:
    put(three, 2)
    model = three.client.put(f"{three.url}{ALIAS}", json={"version": 2}).json()
    assert (model["aliases"], model["shadows"]) == ({"production": 2}, {})
    assert desired() == {1: 0, 2: 1, 3: 0}


def test_promoting_another_goes_on_beside_that_one(three: Any, note: Any, desired: Any) -> None:
    put(three, 2)
    note(1, equal=7)
    for number in (3, 1):  # out, and back
        model = three.client.put(f"{three.url}{ALIAS}", json={"version": number}).json()
        assert model["shadows"]["production"]["version"] == 2
        assert desired() == {1: 0, 2: 1, 3: 0} | {number: 1}
    assert three.get(f"{ALIAS}/shadow")["versions"][0]["compared"] == 7


def test_it_goes_with_its_alias(three: Any, desired: Any) -> None:
    put(three, 2)
    three.client.delete(f"{three.url}{ALIAS}")
    assert desired() == {1: 0, 2: 0, 3: 0}
    assert three.get("/models/wine")["shadows"] == {}


def test_it_goes_with_its_version_or_its_model(three: Any, note: Any, sessions: sessionmaker[Session]) -> None:
    put(three, 2)
    note(1, equal=7, different=2)
    with transaction(sessions) as session:
        session.execute(delete(VersionTable).where(VersionTable.number == 2))
    assert three.get("/models/wine")["shadows"] == {}
    put(three, 3)
    note(1, equal=7, different=2)
    assert three.client.delete(f"{three.url}/models/wine").status_code == 204
    with sessions() as session:
        assert session.scalars(select(ShadowDifferenceTable)).all() == []


def test_it_may_be_the_canary_too(three: Any, desired: Any) -> None:
    put(three, 2)
    three.client.put(f"{three.url}{ALIAS}/canary", json={"version": 2, "percent": 10})
    three.client.delete(f"{three.url}{ALIAS}/canary")
    assert desired() == {1: 1, 2: 1, 3: 0}


def test_what_cannot_be_one(three: Any) -> None:
    answer = put(three, 1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "shadow_is_main")
    three.create()
    answer = put(three, 4)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_not_ready")
    assert put(three, 9).status_code == 404
    answer = three.client.put(f"{three.url}/models/wine/aliases/staging/shadow", json={"version": 2})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("field", "value"), [("percent", 0), ("percent", 0.5), ("percent", 101), ("percent", "all"), ("tolerance", -1)]
)
def test_bounds(three: Any, field: str, value: Any) -> None:
    answer = put(three, 2, **{field: value})
    assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, field)


def test_differences_are_for_those_who_may_see_what_is_sent(
    three: Any, make_user: Any, as_user: Any, make_key: Any, as_key: Any
) -> None:
    put(three, 2)
    address = f"{three.url}{ALIAS}/shadow"
    for role, allowed in (("viewer", 403), ("operator", 200)):
        someone = make_user(three.workspace, role)
        assert as_user(someone).get(address).status_code == 200
        assert as_user(someone).get(f"{address}/differences").status_code == allowed
        assert as_user(someone).put(address, json={"version": 3}).status_code == 403
        assert as_user(someone).delete(address).status_code == 403
    reader = as_key(make_key(three.workspace, "read").text)
    assert reader.get(f"{address}/differences").status_code == 200
    caller = as_key(make_key(three.workspace, "predict").text)
    assert [caller.get(f"{address}{more}").status_code for more in ("", "/differences")] == [403, 403]


def test_differences_are_forgotten_after_a_week(
    three: Any, note: Any, sessions: sessionmaker[Session], clock: Clock
) -> None:
    put(three, 2)
    note(1, different=2, days_ago=6)
    note(3, different=2, days_ago=8)
    with transaction(sessions) as session:
        forget_old(session, clock())
    assert {one["version"] for one in three.get(f"{ALIAS}/shadow/differences")["items"]} == {1}
    assert [line["different"] for line in three.get(f"{ALIAS}/shadow")["versions"]] == [2, 2]
