"""What can be done with a deployed model: ask it later or piece by piece, roll it out, compare it, take it home."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tenfold
from tenfold.cli import output
from tenfold.cli.command import make_app
from tenfold.client import Client
from tenfold.errors import Conflict, InvalidInput, ModelFailed, NotFound, TimedOut, Unavailable
from tenfold.models import Model, curl_line, describe_inputs
from tenfold.predictions import AsyncPrediction
from tenfold.schema import Field, ModelSchema

MakeVersion = Callable[..., dict[str, Any]]
TABLE = {"form": "table", "fields": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}]}
ONE_TENSOR = {"form": "tensor", "fields": [{"name": "x", "type": "tensor", "dtype": "float32", "shape": [None, 2]}]}
GATEWAY = "/v1/default/models/churn"
PREDICTION = "0190-id"


def told(state: str, **more: Any) -> dict[str, Any]:
    return {"id": PREDICTION, "state": state, "url": f"http://gateway.test{GATEWAY}/predictions/{PREDICTION}", **more}


@pytest.fixture
def make_model(client: Client, make_version: MakeVersion) -> Callable[..., Model]:
    def make(schema: dict[str, Any] | None = None, reference: str | int | None = None, number: int = 3) -> Model:
        return Model(client, "churn", reference, make_version(number, schema=schema or {}))

    return make


class TestTensors:
    def test_an_array_goes_below_inputs_and_one_comes_back(self, platform: Any, make_model: Any) -> None:
        platform.answers[f"POST {GATEWAY}/predict"] = {"predictions": [[0.5, None], [1, 2]]}
        found = make_model(ONE_TENSOR).predict(np.array([[1, 2], [3, 4]], dtype="float32"))
        assert platform.bodies(f"POST {GATEWAY}/predict") == [{"inputs": [[1.0, 2.0], [3.0, 4.0]]}]
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, [[0.5, np.nan], [1, 2]])

    @pytest.mark.parametrize(
        ("inputs", "arguments"),
        [({"x": np.ones((1, 2)), "y": [[1]]}, {}), (None, {"x": np.ones((1, 2)), "y": [[1]]})],
    )
    def test_several_go_and_come_by_name(
        self, platform: Any, make_model: Any, inputs: Any, arguments: dict[str, Any]
    ) -> None:
        platform.answers[f"POST {GATEWAY}/predict"] = {"predictions": {"out": [[1, 2]], "label": ["a"]}}
        found = make_model(ONE_TENSOR).predict(inputs, **arguments)
        assert platform.bodies(f"POST {GATEWAY}/predict") == [{"inputs": {"x": [[1.0, 1.0]], "y": [[1]]}}]
        assert {name: value.tolist() for name, value in found.items()} == {"out": [[1, 2]], "label": ["a"]}

    def test_float32_arrives_and_returns_exactly(self, platform: Any, make_model: Any) -> None:
        platform.answers[f"POST {GATEWAY}/predict"] = lambda request: {
            "predictions": json.loads(request.content)["inputs"]
        }
        values = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
        found = make_model(ONE_TENSOR).predict(values)
        assert (found.astype("float32") == values).all()

    def test_are_described_with_type_and_shape(self) -> None:
        schema = ModelSchema("tensor", (Field("x", "tensor", dtype="float32", shape=[None, 28, 28]),))
        assert describe_inputs(schema) == "tensor: x float32[?, 28, 28]"

    def test_are_too_long_for_a_line_of_a_terminal(self) -> None:
        line = curl_line("http://g/predict", {"inputs": np.zeros((40, 40)).tolist()})
        assert line.endswith("-d @input.json")


class TestAnsweredLater:
    def accept(self, platform: Any, *states: dict[str, Any]) -> None:
        platform.answers[f"POST {GATEWAY}/predict"] = httpx.Response(202, json=told("queued"))
        platform.answers[f"GET {GATEWAY}/predictions/{PREDICTION}"] = list(states)

    def test_is_accepted_watched_and_read_as_predict_would(self, platform: Any, make_model: Any) -> None:
        self.accept(platform, told("running"), told("succeeded", output={"predictions": ["x", "y"]}))
        asked = make_model(TABLE).predict_async(pd.DataFrame({"a": [1, 2], "b": [3, 4]}))
        assert isinstance(asked, AsyncPrediction)
        assert asked.id == PREDICTION
        assert platform.requests[-1].headers["Prefer"] == "respond-async"
        body = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 3], [2, 4]]}}
        assert platform.bodies(f"POST {GATEWAY}/predict") == [body]
        assert asked.state == "running"
        assert asked.result(timeout=60).tolist() == ["x", "y"]
        count = len(platform.requests)
        assert asked.result().tolist() == ["x", "y"]
        assert len(platform.requests) == count  # it has ended: nothing is asked again

    def test_all_rows_go_in_one_request(self, platform: Any, make_model: Any) -> None:
        self.accept(platform)
        make_model(TABLE).predict_async([[0, 0]] * 25_000)
        (body,) = platform.bodies(f"POST {GATEWAY}/predict")
        assert len(body["inputs"]) == 25_000

    def test_bytes_go_as_they_are(self, platform: Any, make_model: Any) -> None:
        self.accept(platform)
        make_model().predict_async(b"\x00\x01")
        assert platform.requests[-1].content == b"\x00\x01"
        assert platform.requests[-1].headers["Content-Type"] == "application/octet-stream"

    def test_is_waited_for_with_growing_pauses_and_not_for_ever(self, platform: Any, client: Client) -> None:
        platform.answers[f"GET {GATEWAY}/predictions/{PREDICTION}"] = told("running")
        pauses: list[float] = []
        asked = AsyncPrediction(client, told("queued"), sleep=pauses.append)
        platform.answers[f"GET {GATEWAY}/predictions/{PREDICTION}"] = [told("running")] * 4 + [
            told("succeeded", output=1)
        ]
        assert asked.result() == 1
        assert pauses == sorted(pauses)
        late = AsyncPrediction(client, told("queued"), sleep=pauses.append)
        platform.answers[f"GET {GATEWAY}/predictions/{PREDICTION}"] = told("running")
        with pytest.raises(TimedOut, match="is running after 0 s") as raised:
            late.result(timeout=0)
        assert "ask for its result again" in raised.value.hint

    def test_is_waited_for_until_the_time_is_over(
        self, platform: Any, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr("tenfold.predictions.time.monotonic", lambda: now[0])

        def sleep(seconds: float) -> None:
            now[0] += seconds

        platform.answers[f"GET {GATEWAY}/predictions/{PREDICTION}"] = lambda request: (
            told("succeeded", output=1) if now[0] >= 104.9 else told("running")
        )
        assert AsyncPrediction(client, told("queued"), sleep=sleep).result(timeout=5) == 1
        platform.answers[f"GET {GATEWAY}/predictions/{PREDICTION}"] = told("running")
        now[0] = 100.0
        with pytest.raises(TimedOut, match="is running after 5 s"):
            AsyncPrediction(client, told("queued"), sleep=sleep).result(timeout=5)
        assert now[0] == pytest.approx(105.0)

    def test_that_failed_raises_what_predict_would_have(self, platform: Any, client: Client) -> None:
        error = {"code": "user_error", "message": "ValueError: no", "hint": "", "traceback": "Traceback ..."}
        asked = AsyncPrediction(client, told("failed", status=500, error=error))
        with pytest.raises(ModelFailed, match="ValueError: no") as raised:
            asked.result()
        assert raised.value.traceback == "Traceback ..."

    def test_can_be_cancelled_unless_it_has_ended(self, platform: Any, client: Client) -> None:
        platform.answers[f"DELETE {GATEWAY}/predictions/{PREDICTION}"] = told("cancelled")
        asked = AsyncPrediction(client, told("queued"))
        assert asked.cancel()
        with pytest.raises(Conflict, match="was cancelled"):
            asked.result()
        assert not AsyncPrediction(client, told("succeeded", output=1)).cancel()
        platform.answers[f"DELETE {GATEWAY}/predictions/{PREDICTION}"] = told("succeeded", output=1)
        assert not AsyncPrediction(client, told("running")).cancel()

    def test_is_found_again_by_its_id(self, platform: Any, make_model: Any) -> None:
        self.accept(platform, told("succeeded", output={"predictions": [1, 2]}))
        assert make_model(TABLE).prediction(PREDICTION).result().tolist() == [1, 2]
        with pytest.raises(NotFound):
            make_model().prediction("another")


class Parts(httpx.SyncByteStream):
    """A body in pieces; an error among them ends it."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part


class TestStreams:
    def answer(self, platform: Any, kind: str, *parts: bytes | Exception) -> None:
        platform.answers[f"POST {GATEWAY}/predict"] = lambda request: httpx.Response(
            200, headers={"Content-Type": kind}, stream=Parts(*parts)
        )

    def test_texts_come_as_they_are_yielded(self, platform: Any, make_model: Any) -> None:
        self.answer(platform, "text/plain; charset=utf-8", b"one ", b"tw\xc3", b"\xb6")
        assert "".join(make_model().stream({"prompt": "count"})) == "one tw\u00f6"
        assert platform.bodies(f"POST {GATEWAY}/predict") == [{"prompt": "count"}]

    def test_values_come_line_by_line(self, platform: Any, make_model: Any) -> None:
        self.answer(platform, "application/x-ndjson", b'{"n": 1}\n{"n"', b": 2}\n")
        assert list(make_model().stream(None)) == [{"n": 1}, {"n": 2}]

    def test_bytes_come_as_bytes(self, platform: Any, make_model: Any) -> None:
        self.answer(platform, "application/octet-stream", b"\x00", b"\x01")
        assert b"".join(make_model().stream(b"x")) == b"\x00\x01"

    def test_a_model_that_does_not_stream_gives_one_piece(self, platform: Any, make_model: Any) -> None:
        self.answer(platform, "application/json", b'{"predictions": ', b"[1, 2]}")
        (piece,) = make_model(TABLE).stream([[1, 2]])
        assert piece.tolist() == [1, 2]

    def test_a_refusal_is_raised(self, platform: Any, make_model: Any) -> None:
        refusal = httpx.Response(400, json={"error": {"code": "bad_input", "message": "Not so."}})
        platform.answers[f"POST {GATEWAY}/predict"] = refusal
        with pytest.raises(InvalidInput, match="Not so"):
            list(make_model().stream({}))

    def test_one_that_breaks_off_says_so_after_its_pieces(self, platform: Any, make_model: Any) -> None:
        self.answer(platform, "text/plain", b"one ", httpx.RemoteProtocolError("closed"))
        found: list[str] = []
        with pytest.raises(Unavailable, match="broke"):
            found.extend(make_model().stream({}))
        assert found == ["one "]


class TestRollingOut:
    def test_a_canary_is_set_and_ended(self, platform: Any, make_model: Any) -> None:
        for method in ("PUT", "DELETE"):
            platform.answers[f"{method} models/churn/aliases/staging/canary"] = {}
        model = make_model()
        assert model.canary(4, 5, alias="staging") is model
        model.canary(None, alias="staging")
        assert platform.bodies("PUT models/churn/aliases/staging/canary") == [{"version": 4, "percent": 5}]
        assert platform.requests[-1].method == "DELETE"

    @pytest.mark.parametrize(("reference", "alias"), [(None, "production"), (3, "production"), ("staging", "staging")])
    def test_a_canary_is_of_the_alias_that_the_handle_has(
        self, platform: Any, make_model: Any, reference: Any, alias: str
    ) -> None:
        platform.answers[f"PUT models/churn/aliases/{alias}/canary"] = {}
        make_model(reference=reference).canary(4)
        assert platform.bodies(f"PUT models/churn/aliases/{alias}/canary") == [{"version": 4, "percent": 10.0}]

    def test_a_shadow_is_set_and_ended(self, platform: Any, make_model: Any) -> None:
        for method, alias in (("PUT", "production"), ("PUT", "staging"), ("DELETE", "staging")):
            platform.answers[f"{method} models/churn/aliases/{alias}/shadow"] = {}
        model = make_model()
        assert model.shadow(4) is model
        model.shadow(4, 25, alias="staging", tolerance=0.01).shadow(None, alias="staging")
        assert platform.bodies("PUT models/churn/aliases/production/shadow") == [{"version": 4, "percent": 10.0}]
        assert platform.bodies("PUT models/churn/aliases/staging/shadow") == [
            {"version": 4, "percent": 25, "tolerance": 0.01}
        ]
        assert platform.requests[-1].method == "DELETE"

    def test_a_report_has_figures_and_differences(self, platform: Any, make_model: Any) -> None:
        at = "GET models/churn/aliases/staging/shadow"
        platform.answers |= {at: {"version": 4, "versions": []}, f"{at}/differences": {"items": [{"path": "$"}]}}
        assert make_model(reference="staging").shadow_report() == {
            "version": 4,
            "versions": [],
            "differences": [{"path": "$"}],
        }

    def test_a_restart_shows_the_new_state(self, platform: Any, make_model: Any, make_version: MakeVersion) -> None:
        platform.answers["POST models/churn/versions/3/restart"] = make_version(3, deployment={"status": "starting"})
        assert make_model().restart().version == 3

    def test_the_original_takes_the_place_of_what_was_compiled(
        self, platform: Any, make_model: Any, make_version: MakeVersion
    ) -> None:
        platform.answers["POST models/churn/versions/3/serve-original"] = make_version(3)
        assert make_model().serve_original().version == 3

    def test_versions_are_compared_by_number_or_handle(self, platform: Any, make_model: Any) -> None:
        platform.answers["GET models/churn/compare"] = lambda request: dict(request.url.params)
        model = make_model()
        assert model.compare(1, 2) == {"from": "1", "to": "2"}
        assert model.compare(1) == {"from": "1", "to": "3"}
        assert model.compare(model, make_model(number=5)) == {"from": "3", "to": "5"}

    def test_metrics_are_of_the_version_that_the_handle_names(self, platform: Any, make_model: Any) -> None:
        platform.answers["GET models/churn/metrics"] = lambda request: dict(request.url.params)
        assert make_model().metrics() == {"minutes": "60"}
        staging = make_model(reference="staging").metrics(10, step=5)
        assert staging == {"minutes": "10", "step": "5", "version": "3"}
        assert make_model(reference=3).metrics(10) == {"minutes": "10", "version": "3"}


class TestDownloads:
    FILES = {
        "config.yaml": b"model_name: churn\n",
        "model/model.py": b"class Model: ...\n",
        "data/run.sh": b"#!/bin/sh\n",
    }

    def publish(self, platform: Any, *extra: tarfile.TarInfo) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            for path, content in self.FILES.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o755 if path.endswith(".sh") else 0o644
                archive.addfile(entry, io.BytesIO(content))
            for entry in extra:
                archive.addfile(entry)
        platform.answers["GET models/churn/versions/3/package"] = lambda request: httpx.Response(
            200, headers={"Content-Type": "application/gzip"}, content=made.getvalue()
        )
        return made.getvalue()

    def test_a_folder_has_the_files_of_the_package(self, platform: Any, make_model: Any, tmp_path: Path) -> None:
        self.publish(platform)
        folder = make_model().download(tmp_path / "deep" / "churn")
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == self.FILES
        assert (folder / "data" / "run.sh").stat().st_mode & 0o777 == 0o755
        assert [path.name for path in folder.parent.iterdir()] == ["churn"]

    def test_an_archive_is_what_the_platform_sent(self, platform: Any, make_model: Any, tmp_path: Path) -> None:
        content = self.publish(platform)
        file = make_model().download(str(tmp_path / "churn.tar.gz"))
        assert file.read_bytes() == content

    def test_nothing_is_written_over(self, platform: Any, make_model: Any, tmp_path: Path) -> None:
        self.publish(platform)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "file").touch()
        (tmp_path / "mine.tgz").touch()
        for name in ("mine", "mine.tgz", "mine/file"):
            with pytest.raises(Conflict, match="already"):
                make_model().download(tmp_path / name)
        (tmp_path / "empty").mkdir()
        assert (make_model().download(tmp_path / "empty") / "config.yaml").is_file()

    @pytest.mark.parametrize("name", ["../evil", "/evil", "link"])
    def test_what_is_no_file_below_the_folder_is_refused(
        self, platform: Any, make_model: Any, tmp_path: Path, name: str
    ) -> None:
        entry = tarfile.TarInfo(name)
        if name == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        self.publish(platform, entry)
        with pytest.raises(Unavailable, match="not a file of a package"):
            make_model().download(tmp_path / "inside" / "churn")
        assert [path.name for path in tmp_path.iterdir()] == ["inside"]
        assert not (tmp_path / "inside" / ".churn.tar.gz").exists()

    def test_what_did_not_arrive_whole_leaves_room_for_another_try(
        self, platform: Any, make_model: Any, tmp_path: Path
    ) -> None:
        content = self.publish(platform)
        platform.answers["GET models/churn/versions/3/package"] = httpx.Response(
            200, content=content[: len(content) // 2]
        )
        with pytest.raises(Unavailable, match="did not arrive whole"):
            make_model().download(tmp_path / "churn")
        assert list(tmp_path.iterdir()) == []
        self.publish(platform)
        assert (make_model().download(tmp_path / "churn") / "config.yaml").is_file()

    def test_the_folder_where_one_is_may_be_named(
        self, platform: Any, make_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.publish(platform)
        monkeypatch.chdir(tmp_path)
        make_model().download(".")
        assert sorted(one.name for one in Path.cwd().iterdir()) == ["config.yaml", "data", "model"]

    def test_files_beside_it_stay(self, platform: Any, make_model: Any, tmp_path: Path) -> None:
        self.publish(platform)
        (tmp_path / ".churn.tar.gz").write_text("mine")
        make_model().download(tmp_path / "churn")
        assert (tmp_path / ".churn.tar.gz").read_text() == "mine"

    def test_a_download_that_fails_leaves_nothing(self, platform: Any, make_model: Any, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            make_model().download(tmp_path / "churn")
        assert list(tmp_path.iterdir()) == []


# --- the commands


@pytest.fixture
def run(client: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `tenfold ...` against the fake platform."""
    monkeypatch.setattr(output, "connect", lambda profile: client)
    monkeypatch.setattr(output.console, "_width", 200)
    runner, app = CliRunner(), make_app()
    return lambda *arguments: runner.invoke(app, list(arguments))


def test_canary_says_who_answers_how_much(platform: Any, run: Any) -> None:
    platform.answers |= {f"{method} models/churn/aliases/production/canary": {} for method in ("PUT", "DELETE")}
    shown = run("models", "canary", "churn", "4", "--percent", "2.5")
    assert shown.output.strip() == "2.5 % of the calls of churn@production go to version 4."
    assert run("models", "canary", "churn", "--off").output.strip() == "churn@production has no canary any more."
    for arguments in (["churn"], ["churn", "4", "--off"]):
        refused = run("models", "canary", *arguments)
        assert (refused.exit_code, "or say --off" in refused.output + refused.stderr) == (1, True)


def test_shadow_says_which_version_gets_how_much(platform: Any, run: Any) -> None:
    platform.answers |= {f"{method} models/churn/aliases/production/shadow": {} for method in ("PUT", "DELETE")}
    shown = run("models", "shadow", "churn", "4", "--percent", "2.5", "--tolerance", "0.01")
    assert shown.output.strip() == "2.5 % of the calls of churn@production go to version 4 as well."
    assert platform.bodies("PUT models/churn/aliases/production/shadow")[0]["tolerance"] == 0.01
    assert run("models", "shadow", "churn", "--off").output.strip() == "churn@production has no shadow any more."
    refused = run("models", "shadow", "churn", "4", "--off")
    assert (refused.exit_code, "or say --off" in refused.output + refused.stderr) == (1, True)


def test_shadow_without_a_version_tells_what_was_found(platform: Any, run: Any) -> None:
    line = dict.fromkeys(("primary_failed", "shadow_failed"), 0)
    line |= {"version": 3, "compared": 1205, "equal": 1204, "different": 1, "dropped": 7}
    line |= {"primary": {"p95_seconds": 0.012}, "shadow": {"p95_seconds": 1.5}}
    report = {"alias": "production", "version": 4, "percent": 25, "versions": []}
    found = {"at": "2026-01-01T00:00:00+00:00", "outcome": "different", "request_id": "request-17", "path": "label"}
    found |= {"request": '{"x": 1}', "primary_answer": '"rose"', "shadow_answer": '"tulip"'}
    at = "GET models/churn/aliases/production/shadow"
    platform.answers |= {at: report, f"{at}/differences": {"items": []}}
    assert "Nobody has called it since" in run("models", "shadow", "churn").output
    platform.answers |= {at: {**report, "versions": [line]}, f"{at}/differences": {"items": [found]}}
    shown = run("models", "shadow", "churn").output
    assert "25 % of the calls of churn@production go to version 4 as well." in shown
    for text in ("1205", "12 ms", "1.5 s", "label", '"rose"', '"tulip"'):
        assert text in shown
    assert json.loads(run("models", "shadow", "churn", "--json").output)["differences"] == [found]


def test_show_names_the_canary(platform: Any, run: Any, make_version: MakeVersion) -> None:
    model = {
        "aliases": {"production": 3},
        "latest_version": 4,
        "production_version": 3,
        "scaling": {"min": 1, "max": 1, "idle_seconds": 300},
        "canaries": {"production": {"version": 4, "percent": 5}},
        "shadows": {"production": {"version": 2, "percent": 50}},
    }
    model |= {"description": "Says who leaves.\n\nAnd more.", "tags": ["table"], "framework": "scikit-learn"}
    replica = {"ready_at": "2026-01-01T00:00:00+00:00", "memory_bytes": 150_000_000, "cold_start_seconds": 0.95}
    version = make_version(3, deployment={"status": "running", "replicas": [replica]})
    platform.answers |= {"GET models/churn": model, "GET models/churn/versions/3": version}
    platform.answers["GET models/churn/versions"] = {"items": [version], "next_cursor": None}
    shown = run("models", "show", "churn").output
    assert "5 % of the calls of churn@production go to version 4." in shown
    assert "50 % of the calls of churn@production go to version 2 as well." in shown
    assert "Says who leaves." in shown
    assert "150 MB" in shown
    assert "950 ms" in shown


def test_compare_lists_what_differs(platform: Any, run: Any) -> None:
    change = {"path": "resources.memory", "kind": "changed", "before": "2Gi", "after": "4Gi"}
    added = {"path": "owner", "kind": "added", "before": None, "after": {"name": "me"}}
    file = {"path": "data/x", "kind": "removed", "before_digest": "d", "after_digest": None, "before_size": 5}
    told_now = {"config": [change, added], "environment": [], "schema": [], "files": [{**file, "after_size": None}]}
    platform.answers["GET models/churn/compare"] = told_now
    shown = run("models", "compare", "churn", "1", "2").output
    assert [line.split() for line in shown.splitlines() if line.strip()] == [
        ["config"],
        ["1", "2"],
        ["resources.memory", "2Gi", "4Gi"],
        ["owner", '{"name":', '"me"}'],
        ["files"],
        ["1", "2"],
        ["data/x", "5", "bytes"],
    ]
    platform.answers["GET models/churn/compare"] = {part: [] for part in told_now}
    assert "are the same" in run("models", "compare", "churn", "1", "2").output


def test_metrics_has_a_line_for_each_version(platform: Any, run: Any) -> None:
    totals = {"requests": 12, "refused": 1, "failed": 0, "p50_seconds": 0.0123, "p95_seconds": 1.5, "p99_seconds": None}
    line = {"version": 3, "totals": totals, "replicas": 1, "memory_bytes": 150_000_000, "cold_start_seconds": 0.95}
    platform.answers["GET models/churn/metrics"] = {"totals": totals, "versions": [line]}
    shown = [row.split() for row in run("models", "metrics", "churn").output.splitlines()]
    assert shown[1] == ["all", "12", "1", "0", "12.3", "ms", "1.5", "s"]
    assert shown[2] == ["3", "12", "1", "0", "12.3", "ms", "1.5", "s", "1", "150", "MB", "950", "ms"]


def test_download_and_restart_name_the_version(
    platform: Any, run: Any, make_version: MakeVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    TestDownloads().publish(platform)
    platform.answers |= {"GET models/churn/versions/3": make_version(3)}
    platform.answers["POST models/churn/versions/3/restart"] = make_version(3)
    assert run("models", "download", "churn@3").output.strip() == "churn@3 is in churn-3."
    assert (tmp_path / "churn-3" / "model" / "model.py").is_file()
    platform.answers["POST models/churn/versions/3/serve-original"] = make_version(3)
    assert run("models", "restart", "churn@3").output.strip() == "Version 3 of churn gets new replicas."
    said = run("models", "serve-original", "churn@3").output.strip()
    assert said == "Version 3 of churn is served as it was deployed."


class TestLint:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "churn"
        (folder / "data").mkdir(parents=True)
        (folder / "config.yaml").write_text("base_image: {image: x}\n")
        (folder / "model.py").write_text("class Model: ...\n")
        (folder / "data" / "weights.bin").write_bytes(b"\xff" * 100)
        return folder

    NOTES = [
        {"path": "model_name", "status": "honoured", "message": "is the name", "hint": "", "line": 1},
        {"path": "base_image", "status": "container", "message": "is left out", "hint": "Use requirements.", "line": 2},
    ]

    def test_sends_texts_and_names_and_shows_every_key(self, platform: Any, run: Any, folder: Path) -> None:
        platform.answers["POST packages/lint"] = {"deployable": True, "notes": self.NOTES}
        shown = run("models", "lint", str(folder))
        assert shown.exit_code == 0
        assert [" ".join(line.split()) for line in shown.output.splitlines()] == [
            "\u2713 honoured model_name (line 1): is the name",
            "! container base_image (line 2): is left out Use requirements.",
            "It can be deployed.",
        ]
        (body,) = platform.bodies("POST packages/lint")
        assert body == {
            "files": {
                "config.yaml": "base_image: {image: x}\n",
                "model.py": "class Model: ...\n",
                "data/weights.bin": "",
            }
        }
        assert "model_name" not in run("models", "lint", str(folder), "--quiet").output

    def test_hashes_nothing(self, platform: Any, run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        platform.answers["POST packages/lint"] = {"deployable": True, "notes": []}
        monkeypatch.setattr("tenfold.packaging.package.hashlib", None)  # weights may be many gigabytes
        assert run("models", "lint", str(folder)).exit_code == 0

    def test_fails_for_what_cannot_be_deployed(self, platform: Any, run: Any, folder: Path) -> None:
        note = {"path": "trt_llm", "status": "refused", "message": "is not built here", "hint": "", "line": None}
        platform.answers["POST packages/lint"] = {"deployable": False, "notes": [note]}
        shown = run("models", "lint", str(folder))
        assert shown.exit_code == 1
        assert "It cannot be deployed." in shown.output
        assert json.loads(run("models", "lint", str(folder), "--json").output)["deployable"] is False

    def test_of_what_is_no_folder(self, run: Any, tmp_path: Path) -> None:
        assert run("models", "lint", str(tmp_path / "nothing")).exit_code == 1


# --- the zoo


class TestTheZoo:
    ENTRY = {
        "name": "echo",
        "title": "Echo",
        "summary": "Says it again.",
        "task": "echo",
        "framework": "custom",
        "license": "MIT",
        "needs_network": False,
        "download_mb": 2,
        "deployed_as": ["parrot"],
        "description": "**Echo.**",
        "schema": {"form": "record", "fields": [{"name": "text", "type": "str"}], "output": {"kind": "text"}},
        "requirements": ["left-pad"],
    }

    def test_is_listed_and_shown(self, platform: Any, run: Any, client: Client) -> None:
        platform.answers |= {"GET zoo": {"items": [self.ENTRY], "next_cursor": None}, "GET zoo/echo": self.ENTRY}
        assert tenfold.zoo.list(client=client) == [self.ENTRY]
        assert tenfold.zoo.show("echo", client=client) == self.ENTRY
        listed = run("zoo").output
        assert all(word in listed for word in ("echo", "Says it again.", "parrot", "tenfold zoo deploy NAME"))
        shown = run("zoo", "show", "echo").output
        assert all(word in shown for word in ("Licence", "MIT", "record: text str", "left-pad", "**Echo.**"))
        assert json.loads(run("zoo", "list", "--json").output) == [self.ENTRY]

    def test_an_entry_is_deployed_and_watched(self, platform: Any, run: Any, make_version: MakeVersion) -> None:
        warning = {"path": "secrets.HUB_TOKEN", "message": "nobody has set it", "hint": "Set it.", "line": 3}
        version = make_version(1, warnings=[warning])
        platform.answers["POST zoo/echo/deploy"] = httpx.Response(201, json=version)
        platform.answers["GET models/parrot/versions/1/events"] = httpx.Response(
            200, headers={"Content-Type": "text/event-stream"}, text=f"event: version\ndata: {json.dumps(version)}\n\n"
        )
        shown = run("zoo", "deploy", "echo", "--name", "parrot", "--alias", "staging")
        assert shown.exit_code == 0, shown.output
        assert platform.bodies("POST zoo/echo/deploy") == [{"name": "parrot", "alias": "staging"}]
        assert "Deploying echo as parrot" in shown.output
        assert "config.yaml: secrets.HUB_TOKEN (line 3): nobody has set it Set it." in shown.output
        assert "/v1/default/models/parrot" in shown.output

    def test_without_waiting_it_says_where_to_look(self, platform: Any, run: Any, make_version: MakeVersion) -> None:
        platform.answers["POST zoo/echo/deploy"] = httpx.Response(201, json=make_version(2, "pending"))
        shown = run("zoo", "deploy", "echo", "--no-wait")
        assert "Version 2 is being prepared; look with `tenfold models show echo`." in shown.output

    def test_a_deploy_is_sent_with_a_key_so_that_it_is_done_once(
        self, platform: Any, client: Client, make_version: MakeVersion
    ) -> None:
        platform.answers["POST zoo/echo/deploy"] = httpx.Response(201, json=make_version(1))
        model = tenfold.zoo.deploy("echo", client=client, wait=False)
        assert (model.name, model.version) == ("echo", 1)
        assert platform.requests[-1].headers["Idempotency-Key"]
