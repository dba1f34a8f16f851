"""Rolling a version out and looking at it: canaries, restarts, traffic, what differs, the package back again."""

from __future__ import annotations

import gzip
import io
import tarfile
from bisect import bisect_left
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.clock import Clock
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaState, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS, Cell
from tenfold_platform.models.tables import CompilationTable, TrafficTable, VersionTable
from tenfold_platform.models.traffic import forget_old, percentile, step_for

SCHEMA = {"form": "table", "fields": [{"name": "x", "type": "float"}], "output": {"kind": "regression"}}


def alias_url(world: Any, alias: str = "production") -> str:
    return f"{world.url}/models/wine/aliases/{alias}"


class TestACanary:
    def put(self, world: Any, version: int, percent: float, alias: str = "production") -> Any:
        body = {"version": version, "percent": percent}
        return world.client.put(f"{alias_url(world, alias)}/canary", json=body)

    def test_answers_its_share_beside_the_version_in_production(self, three: Any, desired: Any) -> None:
        assert desired() == {1: 1, 2: 0, 3: 0}
        model = self.put(three, 2, 12.5).json()
        assert model["aliases"] == {"production": 1}
        assert model["canaries"] == {"production": {"version": 2, "percent": 12.5}}
        assert desired() == {1: 1, 2: 1, 3: 0}
        assert three.get("/models")["items"][0]["canaries"] == model["canaries"]

    def test_can_be_another_version_or_share_at_once(self, three: Any, desired: Any) -> None:
        self.put(three, 2, 5)
        model = self.put(three, 3, 50).json()
        assert model["canaries"] == {"production": {"version": 3, "percent": 50}}
        assert desired() == {1: 1, 2: 0, 3: 1}

    def test_ends_when_it_is_taken_away(self, three: Any, desired: Any) -> None:
        self.put(three, 2, 5)
        assert three.client.delete(f"{alias_url(three)}/canary").json()["canaries"] == {}
        assert desired() == {1: 1, 2: 0, 3: 0}
        assert three.client.delete(f"{alias_url(three)}/canary").status_code == 404

    def test_ends_when_a_version_is_promoted(self, three: Any, desired: Any) -> None:
        self.put(three, 2, 5)
        model = three.client.put(alias_url(three), json={"version": 2}).json()
        assert (model["aliases"], model["canaries"]) == ({"production": 2}, {})
        assert desired() == {1: 0, 2: 1, 3: 0}

    def test_goes_with_its_alias(self, three: Any, desired: Any) -> None:
        self.put(three, 2, 5)
        three.client.delete(alias_url(three))
        assert desired() == {1: 0, 2: 0, 3: 0}

    def test_of_the_same_version_means_nothing(self, three: Any) -> None:
        answer = self.put(three, 1, 5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "canary_is_main")

    def test_of_an_alias_that_is_not_there(self, three: Any) -> None:
        assert self.put(three, 2, 5, alias="staging").status_code == 404

    @pytest.mark.parametrize("percent", [0, -1, 100.5, "many", None])
    def test_has_a_share_of_more_than_nothing_and_at_most_all(self, three: Any, percent: Any) -> None:
        answer = self.put(three, 2, percent)
        assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, "percent")

    def test_that_is_not_ready_is_refused(self, three: Any) -> None:
        three.create()
        answer = self.put(three, 4, 5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_not_ready")


def test_a_restart_marks_the_running_replicas_and_wants_one(world: Any, sessions: sessionmaker[Session]) -> None:
    world.create()
    world.make_ready(1)
    with transaction(sessions) as session:
        deployment = session.scalars(select(DeploymentTable)).one()
        session.add(ReplicaTable(deployment_id=deployment.id, state=ReplicaState.READY))
    answer = world.client.post(f"{world.url}/models/wine/versions/1/restart")
    assert answer.status_code == 200
    assert answer.json()["deployment"]["desired_replicas"] == 1
    with sessions() as session:
        assert session.scalars(select(ReplicaTable.draining_since)).one() is not None


def test_the_original_takes_the_place_of_a_compiled_form(world: Any, sessions: sessionmaker[Session]) -> None:
    world.create()
    world.make_ready(1)
    with transaction(sessions) as session:
        deployment = session.scalars(select(DeploymentTable)).one()
        session.add(ReplicaTable(deployment_id=deployment.id, state=ReplicaState.READY))
        session.add(CompilationTable(version_id=deployment.version_id, state="serving", report={"rows": 500}))
    answer = world.client.post(f"{world.url}/models/wine/versions/1/serve-original")
    told = answer.json()["compiled"]
    assert (answer.status_code, told["state"]) == (200, "refused")
    assert told["says"].startswith("No. ")
    assert told["says"].endswith(" asked for the original.")
    with sessions() as session:
        assert session.scalars(select(ReplicaTable.draining_since)).one() is not None


def test_a_version_that_failed_cannot_be_restarted(world: Any, sessions: sessionmaker[Session]) -> None:
    world.create()
    with transaction(sessions) as session:
        session.scalars(select(VersionTable)).one().state = "failed"
    answer = world.client.post(f"{world.url}/models/wine/versions/1/restart")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_failed")


class TestTraffic:
    @pytest.fixture
    def note(self, world: Any, sessions: sessionmaker[Session], clock: Clock) -> Callable[..., None]:
        """Calls of a version, so many minutes ago, as the gateway counts them."""

        def write(number: int, minutes_ago: int, *calls: tuple[int, float]) -> None:
            cell = Cell(ends_at=float("inf"))
            for status, seconds in calls:
                cell.note(status, seconds, bisect_left(BOUNDS_SECONDS, seconds))
            with transaction(sessions) as session:
                version = session.scalars(select(VersionTable).where(VersionTable.number == number)).one()
                minute = clock().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
                names = ("requests", "refused", "failed", "seconds", "buckets")
                counted = {name: getattr(cell, name) for name in names}
                session.add(TrafficTable(version_id=version.id, minute=minute, **counted))

        return write

    def test_adds_up_versions_and_minutes(self, world: Any, note: Callable[..., None], clock: Clock) -> None:
        world.create()
        world.create()
        note(1, 3, (200, 0.010), (200, 0.030), (422, 0.001))
        note(1, 0, (503, 1.0))
        note(2, 3, (200, 0.020))
        note(2, 200, (200, 5.0))  # before the span
        told = world.get("/models/wine/metrics?minutes=10")
        assert (told["step_minutes"], len(told["points"])) == (1, 10)
        assert {key: told["totals"][key] for key in ("requests", "refused", "failed")} == {
            "requests": 5,
            "refused": 1,
            "failed": 1,
        }
        assert told["totals"]["mean_seconds"] == pytest.approx(1.061 / 5)
        assert [point["requests"] for point in told["points"]] == [0, 0, 0, 0, 0, 0, 4, 0, 0, 1]
        assert told["points"][0]["p95_seconds"] is None
        assert 0.5 < told["points"][-1]["p50_seconds"] <= 1.2
        assert {line["version"]: line["totals"]["requests"] for line in told["versions"]} == {1: 4, 2: 1}

    def test_of_one_version_in_longer_steps(self, world: Any, note: Callable[..., None]) -> None:
        world.create()
        world.create()
        note(1, 3, (200, 0.010))
        note(2, 3, (200, 0.010))
        note(2, 95, (200, 0.010))
        told = world.get("/models/wine/metrics?minutes=120&step=30&version=2")
        assert told["totals"]["requests"] == 2
        assert [line["version"] for line in told["versions"]] == [2]
        assert len(told["points"]) in (4, 5)  # whole half hours
        assert all(point["at"][14:16] in ("00", "30") for point in told["points"])

    def test_shows_what_the_replicas_were_measured_to_need(
        self, world: Any, sessions: sessionmaker[Session], clock: Clock
    ) -> None:
        world.create()
        with transaction(sessions) as session:
            deployment = session.scalars(select(DeploymentTable)).one()
            session.add(
                ReplicaTable(
                    deployment_id=deployment.id,
                    state=ReplicaState.READY,
                    started_at=clock(),
                    ready_at=clock() + timedelta(seconds=1.5),
                    memory_bytes=100,
                    peak_memory_bytes=150,
                )
            )
        (line,) = world.get("/models/wine/metrics")["versions"]
        assert (line["replicas"], line["memory_bytes"], line["peak_memory_bytes"]) == (1, 100, 150)
        assert line["cold_start_seconds"] == 1.5
        (replica,) = world.get("/models/wine/versions/1")["deployment"]["replicas"]
        assert (replica["cold_start_seconds"], replica["peak_memory_bytes"]) == (1.5, 150)

    def test_is_kept_as_long_as_it_can_be_asked_for(
        self, world: Any, note: Callable[..., None], sessions: sessionmaker[Session], clock: Clock
    ) -> None:
        world.create()
        for days in (0, 31, 33):
            note(1, days * 24 * 60, (200, 0.01))
        with transaction(sessions) as session:
            assert forget_old(session, clock()) == 1
        assert world.get(f"/models/wine/metrics?minutes={31 * 24 * 60}")["totals"]["requests"] == 2

    def test_has_no_more_points_than_can_be_drawn(self, world: Any) -> None:
        world.create()
        told = world.get(f"/models/wine/metrics?minutes={31 * 24 * 60}&step=1")
        assert told["step_minutes"] == 30
        assert len(told["points"]) <= 1501

    def test_of_what_does_not_exist(self, world: Any) -> None:
        world.create()
        for path in ("/models/beer/metrics", "/models/wine/metrics?version=7"):
            assert world.client.get(f"{world.url}{path}").status_code == 404
        assert world.client.get(f"{world.url}/models/wine/metrics?minutes=0").status_code == 400

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 0.99, 1.0])
    def test_percentiles_are_right_to_within_a_bucket(self, share: float) -> None:
        durations = [0.0007 * 1.01**index for index in range(1000)]
        cell = Cell(ends_at=float("inf"))
        for seconds in durations:
            cell.note(200, seconds, bisect_left(BOUNDS_SECONDS, seconds))
        exact = durations[min(999, int(share * 1000))]
        found = percentile(cell.buckets, share)
        assert found is not None
        assert exact / 1.5 <= found <= exact * 1.5

    def test_percentiles_at_the_ends(self) -> None:
        assert percentile([], 0.5) is None
        assert percentile([0] * 34, 0.5) is None
        assert percentile([4], 0.5) == BOUNDS_SECONDS[0] / 2
        assert percentile([0] * 33 + [9], 0.5) == BOUNDS_SECONDS[-1]

    def test_the_step_suits_the_span(self) -> None:
        spans = {60: 1, 24 * 60: 15, 7 * 24 * 60: 120, 31 * 24 * 60: 720}
        assert {span: step_for(span) for span in spans} == spans


def test_what_differs_between_two_versions(world: Any, sessions: sessionmaker[Session]) -> None:
    first = {**world.PACKAGE, "data/a": b"a", "data/b": b"b"}
    config = b"requirements: [left-pad]\nresources: {memory: 4Gi}\nmodel_metadata: {tenfold: {}, owner: me}\n"
    second = {**first, "config.yaml": config, "data/b": b"bb", "data/c": b"c"}
    del second["data/a"]
    world.create(first, schema=SCHEMA)
    fields = [{"name": "x", "type": "int"}, {"name": "y", "type": "str", "choices": ["a"]}]
    world.create(second, schema={**SCHEMA, "fields": fields, "output": {"kind": "classification"}})
    with transaction(sessions) as session:
        numbers = {version.environment_id: version.number for version in session.scalars(select(VersionTable))}
        for row in session.scalars(select(EnvironmentTable)):
            row.state, row.lock_python = EnvironmentState.READY, f"3.1{numbers[row.id]}.0"
            row.packages = [{"name": "numpy", "version": f"2.{numbers[row.id]}"}, {"name": "same", "version": "1"}]
    told = world.get("/models/wine/compare?from=1&to=2")
    assert (told["from"], told["to"]) == (1, 2)

    def brief(changes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return [(one["path"], one["kind"], one["before"], one["after"]) for one in changes]

    assert brief(told["config"]) == [
        ("requirements", "changed", [], ["left-pad"]),
        ("resources.memory", "changed", "2Gi", "4Gi"),
        ("model_metadata.owner", "added", None, "me"),
    ]
    assert brief(told["environment"]) == [
        ("python", "changed", "3.11.0", "3.12.0"),
        ("numpy", "changed", "2.1", "2.2"),
    ]
    assert brief(told["schema"]) == [
        ("output.kind", "changed", "regression", "classification"),
        ("fields.x.type", "changed", "float", "int"),
        ("fields.y", "added", None, {"type": "str", "choices": ["a"], "nullable": False}),
    ]
    assert [(one["path"], one["kind"], one["before_size"], one["after_size"]) for one in told["files"]] == [
        ("config.yaml", "changed", len(first["config.yaml"]), len(config)),
        ("data/a", "removed", 1, None),
        ("data/b", "changed", 1, 2),
        ("data/c", "added", None, 1),
    ]
    same = world.get("/models/wine/compare?from=1&to=1")
    assert [same[part] for part in ("config", "environment", "schema", "files")] == [[], [], [], []]
    assert world.client.get(f"{world.url}/models/wine/compare?from=1&to=9").status_code == 404
    assert world.client.get(f"{world.url}/models/wine/compare?from=1").status_code == 400


def test_fields_in_another_order_are_a_difference(world: Any) -> None:
    fields = [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]
    world.create(schema={**SCHEMA, "fields": fields})
    world.create(schema={**SCHEMA, "fields": fields[::-1]})
    (change,) = world.get("/models/wine/compare?from=1&to=2")["schema"]
    assert (change["path"], change["before"], change["after"]) == ("fields", ["x", "y"], ["y", "x"])


class TestThePackageBackAgain:
    FILES = {
        "config.yaml": b"# kept as it was written\n"
        b"model_metadata: {tenfold: {framework: mine, schema: {form: value}}, example_model_input: 5}\n",
        "model/model.py": b"class Model:\n    def predict(self, inputs):\n        return inputs\n",
        "data/" + "deep/" * 30 + "weights.bin": bytes(range(256)) * 5000,
        "data/empty": b"",
    }

    def download(self, world: Any, number: int = 1) -> bytes:
        answer = world.client.get(f"{world.url}/models/wine/versions/{number}/package")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/gzip"
        assert answer.headers["content-disposition"] == f'attachment; filename="wine-{number}.tar.gz"'
        return bytes(answer.content)

    def test_has_the_files_as_they_were(self, world: Any) -> None:
        entries = world.upload(self.FILES)
        entries[1]["executable"] = True
        world.client.post(f"{world.url}/models/wine/versions", json={"files": entries})
        content = self.download(world)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = archive.getmembers()
            found = {one.name: archive.extractfile(one).read() for one in members}  # type: ignore[union-attr]
            assert found == self.FILES
            assert {one.name: one.mode for one in members if one.mode != 0o644} == {entries[1]["path"]: 0o755}
            assert {(one.mtime, one.uid, one.uname) for one in members} == {(0, 0, "")}
        assert content == self.download(world)
        assert gzip.decompress(content).endswith(b"\0" * 1024)

    def test_deployed_again_is_the_same_package_with_the_same_schema(self, world: Any) -> None:
        first = world.create(self.FILES).json()
        again = world.client.post(
            f"{world.url}/models/other/versions/archive",
            content=self.download(world),
            headers={"Content-Type": "application/gzip"},
        )
        assert again.status_code == 201, again.text
        for part in ("package_digest", "schema", "framework", "example"):
            assert again.json()[part] == first[part]
        assert (first["framework"], first["schema"]["form"], first["example"]) == ("mine", "value", 5)

    def test_of_a_file_that_is_gone_from_the_store(self, world: Any, settings: Any) -> None:
        version = world.create(self.FILES).json()
        digest = next(file["digest"] for file in version["files"] if file["path"] == "data/empty")
        (settings.artifacts_dir / digest[:2] / digest).unlink()
        answer = world.client.get(f"{world.url}/models/wine/versions/1/package")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "missing_artifact")
        assert "data/empty" in answer.json()["error"]["message"]


def test_a_schema_in_the_package_that_is_none_is_refused_with_its_place(world: Any) -> None:
    config = b"model_metadata: {tenfold: {schema: {form: cube, fields: [{name: x, type: complex}]}}}\n"
    answer = world.create({**world.PACKAGE, "config.yaml": config})
    assert answer.status_code == 422
    assert {one["path"] for one in answer.json()["error"]["details"]} == {
        "model_metadata.tenfold.schema.form",
        "model_metadata.tenfold.schema.fields.0.type",
    }


def archive_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def test_an_archive_that_is_sent_twice_makes_one_version(world: Any) -> None:
    url = f"{world.url}/models/wine/versions/archive"
    headers = {"Content-Type": "application/gzip", "Idempotency-Key": "once"}
    content = archive_of(world.PACKAGE)
    first = world.client.post(url, content=content, headers=headers)
    again = world.client.post(url, content=content, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = world.client.post(url, content=archive_of({**world.PACKAGE, "data/x": b"x"}), headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert len(world.get("/models/wine/versions")["items"]) == 1


class TestANamedEnvironment:
    @pytest.fixture(autouse=True)
    def nlp(self, world: Any) -> None:
        answer = world.client.put(f"{world.url}/named-environments/nlp", json={"requirements": ["left-pad==1.0"]})
        assert answer.is_success, answer.text

    def test_takes_the_place_of_what_the_package_asks_for(self, world: Any) -> None:
        config = b"requirements: [numpy]\nmodel_metadata: {tenfold: {}}\n"
        version = world.create({**world.PACKAGE, "config.yaml": config}, environment="nlp").json()
        assert version["environment_name"] == "nlp"
        assert version["environment"]["requirements"] == ["left-pad==1.0"]
        assert world.create().json()["environment_name"] is None

    def test_that_does_not_exist(self, world: Any) -> None:
        assert world.create(environment="vision").status_code == 404
        assert world.client.get(f"{world.url}/models/wine").status_code == 404

    def test_together_with_requirements_is_refused(self, world: Any) -> None:
        answer = world.create(environment="nlp", requirements=["numpy"])
        assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, "environment")


class TestLinting:
    def lint(self, world: Any, files: dict[str, str]) -> Any:
        answer = world.client.post(f"{world.url}/packages/lint", json={"files": files})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_says_of_each_key_what_becomes_of_it(self, world: Any) -> None:
        config = "model_name: wine\nbase_image: {image: x}\npredict_concurency: 4\nresources: {memory: 2Gi}\n"
        told = self.lint(world, {"config.yaml": config, "model/model.py": "class Model: ..."})
        by_path = {note["path"]: note for note in told["notes"]}
        assert told["deployable"]
        assert by_path["model_name"]["status"] == "honoured"
        assert by_path["base_image"]["status"] == "container"
        assert by_path["predict_concurency"]["status"] == "unknown"
        assert by_path["base_image"]["line"] == 2

    def test_of_what_cannot_be_deployed(self, world: Any) -> None:
        config = "trt_llm: {build: {}}\nresources: {memory: lots}\n"
        told = self.lint(world, {"config.yaml": config, "model/model.py": "", "../evil": "", "a.txt": "x"})
        assert not told["deployable"]
        status = {note["path"]: note["status"] for note in told["notes"]}
        assert (status["trt_llm"], status["resources.memory"], status["../evil"]) == ("refused", "wrong", "wrong")

    def test_of_no_package(self, world: Any) -> None:
        told = self.lint(world, {"config.yml": ""})
        assert not told["deployable"]
        assert "config.yml" in told["notes"][0]["message"]

    def test_keeps_nothing(self, world: Any, sessions: sessionmaker[Session]) -> None:
        self.lint(world, {"config.yaml": "", "model/model.py": ""})
        assert world.get("/models")["items"] == []
