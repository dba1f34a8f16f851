from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

import tenfold
from tenfold.apps import Worklet
from tenfold.client import Client
from tenfold.credentials import Profile
from tenfold.errors import Conflict, Forbidden, InvalidInput, ModelFailed, NotFound, NotSignedIn, TimedOut, Unavailable
from tenfold.http import Event, read_events
from tenfold.models import Model, json_value, table_bodies

MakeVersion = Callable[..., dict[str, Any]]
TABLE = {
    "version": 1,
    "form": "table",
    "fields": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}],
    "output": {"kind": "classification", "classes": ["x", "y"], "probabilities": True},
}
PREDICT = "POST /v1/default/models/churn/predict"


def refusal(status: int, code: str, message: str = "No.", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return httpx.Response(status, headers=headers, json={"error": {"code": code, "message": message, **more}})


@pytest.fixture
def churn(client: Client, make_version: MakeVersion) -> Model:
    return Model(client, "churn", None, make_version(3, schema=TABLE))


# --- errors and retries


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "bad_input", InvalidInput),
        (401, "unauthenticated", NotSignedIn),
        (403, "forbidden", Forbidden),
        (404, "not_found", NotFound),
        (409, "conflict", Conflict),
        (422, "invalid_document", InvalidInput),
        (500, "user_error", ModelFailed),
        (504, "timeout", TimedOut),
    ],
)
def test_an_answer_becomes_its_exception(
    platform: Any, client: Client, status: int, code: str, kind: type[tenfold.TenfoldError]
) -> None:
    platform.answers["POST blobs/missing"] = refusal(status, code, "Not so.", hint="Like this.", request_id="r1")
    with pytest.raises(kind, match=r"Not so\.\nLike this\.") as raised:
        client.ask("blobs", "missing", body={})
    assert (raised.value.code, raised.value.status, raised.value.request_id) == (code, status, "r1")


def test_every_problem_of_a_document_is_in_the_message(platform: Any, client: Client) -> None:
    details = [
        {"path": "requirements[0]", "message": "is an option", "hint": "List packages only.", "line": 3},
        {"path": "python_version", "message": "is too old"},
    ]
    platform.answers["PUT apps/a/draft"] = refusal(422, "invalid_document", "2 problems.", details=details)
    with pytest.raises(InvalidInput) as raised:
        client.put("apps", "a", "draft", body={})
    assert str(raised.value).splitlines() == [
        "2 problems.",
        "  - requirements[0] (line 3): is an option List packages only.",
        "  - python_version: is too old",
    ]


def test_a_read_is_tried_again_with_growing_pauses(platform: Any, client: Client, waits: list[float]) -> None:
    platform.answers["GET models"] = [
        httpx.ReadError("gone"),
        refusal(503, "unavailable"),
        {"items": [{"name": "churn"}], "next_cursor": None},
    ]
    assert client.models() == [{"name": "churn"}]
    assert waits == [0.2, 0.4]


def test_a_post_without_a_key_is_not_sent_twice(platform: Any, churn: Model, waits: list[float]) -> None:
    platform.answers[PREDICT] = httpx.ReadError("gone")
    with pytest.raises(Unavailable, match=r"The connection to http://gateway\.test broke"):
        churn.raw({})
    assert len(platform.requests) == 1


def test_a_prediction_that_nobody_has_seen_is_sent_again(platform: Any, churn: Model, waits: list[float]) -> None:
    platform.answers[PREDICT] = [refusal(503, "not_ready", headers={"Retry-After": "2"}), {"predictions": ["x"]}]
    assert churn.raw({}) == {"predictions": ["x"]}
    assert waits == [2.0]


def test_a_create_is_sent_again_with_the_same_key(platform: Any, client: Client) -> None:
    platform.answers["POST models/m/versions"] = [httpx.ReadError("gone"), {"number": 1}]
    assert client.create("models", "m", "versions", body={}) == {"number": 1}
    keys = [one.headers["Idempotency-Key"] for one in platform.requests]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_nobody_there_is_said_with_what_to_do(platform: Any, client: Client) -> None:
    platform.answers["GET models"] = httpx.ConnectError("Connection refused")
    with pytest.raises(Unavailable, match=r"Nothing answers at http://console\.test") as raised:
        client.models()
    assert "Is `tenfold up` running?" in raised.value.hint


def test_lists_are_read_page_after_page(platform: Any, client: Client) -> None:
    platform.answers["GET runs"] = lambda request: (
        {"items": [{"id": 3}], "next_cursor": None}
        if request.url.params.get("cursor") == "c"
        else {"items": [{"id": 1}, {"id": 2}], "next_cursor": "c"}
    )
    assert [one["id"] for one in client.items("runs", app="a")] == [1, 2, 3]
    assert [one["id"] for one in client.items("runs", limit=2)] == [1, 2]


def test_the_key_is_sent_and_not_shown(platform: Any, client: Client) -> None:
    platform.answers["GET models"] = {"items": [], "next_cursor": None}
    client.models()
    assert platform.requests[0].headers["Authorization"] == "Bearer tf_abc_secret"
    assert "secret" not in repr(client)
    assert "secret" not in repr(client.profile)


def test_the_workspace_is_asked_for_when_it_is_not_known(platform: Any) -> None:
    platform.answers["GET /api/v1/auth/key"] = {"workspace": "team", "gateway_url": "http://g.test/"}
    profile = Profile("http://console.test", "k")
    with Client(profile, transport=httpx.MockTransport(platform.handle)) as client:
        assert (client.workspace, client.gateway_url) == ("team", "http://g.test")


def test_events_are_read_from_a_stream() -> None:
    lines = [": hello", "event: log", "id: 7", 'data: {"text":', 'data: "a"}', "", "data: 1", ""]
    assert list(read_events(iter(lines))) == [Event("log", {"text": "a"}, "7"), Event("message", 1, "7")]


# --- predicting


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        (
            pd.DataFrame({"a": [1.0, np.nan], "b": [3, 4]}),
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 3], [None, 4]]}},
        ),
        (np.array([[1.0, 2.0]]), {"inputs": [[1.0, 2.0]]}),
        (np.array([1.0, np.nan]), {"inputs": [[1.0, None]]}),
        ([[1, 2], [3, 4]], {"inputs": [[1, 2], [3, 4]]}),
        ([1, 2], {"inputs": [[1, 2]]}),
        ({"a": np.float32(1.5), "b": 2}, {"inputs": [{"a": 1.5, "b": 2}]}),
        ([{"a": 1, "b": 2}], {"inputs": [{"a": 1, "b": 2}]}),
        (pd.Series({"a": 1.0, "b": 2.0}), {"inputs": [{"a": 1.0, "b": 2.0}]}),
        (pd.Series(["one", "two"]), {"inputs": ["one", "two"]}),
        ("one", {"inputs": ["one"]}),
    ],
)
def test_rows_travel_in_every_form(inputs: Any, body: Any) -> None:
    assert list(table_bodies(inputs)) == [body]


def test_many_rows_travel_in_several_requests() -> None:
    bodies = list(table_bodies(np.zeros((25_000, 1))))
    assert [len(body["inputs"]) for body in bodies] == [10_000, 10_000, 5_000]


def test_predictions_come_back_as_an_array(platform: Any, churn: Model) -> None:
    platform.answers[PREDICT] = {"predictions": ["x", "y"], "probabilities": [[1.0, 0.0], [0.25, 0.75]]}
    assert churn.predict([[1, 2], [3, 4]]).tolist() == ["x", "y"]
    probabilities = churn.predict_proba([[1, 2], [3, 4]])
    assert probabilities.shape == (2, 2)
    assert churn.classes == ["x", "y"]


def test_a_model_without_probabilities_says_so(platform: Any, churn: Model) -> None:
    platform.answers[PREDICT] = {"predictions": ["x"]}
    with pytest.raises(Conflict, match="gives no probabilities"):
        churn.predict_proba([[1, 2]])


def test_arguments_are_given_by_name_or_alone(platform: Any, client: Client, make_version: MakeVersion) -> None:
    schema = {"form": "record", "fields": [{"name": "text", "type": "str"}, {"name": "n", "type": "int"}], "output": {}}
    model = Model(client, "shout", 2, make_version(2, schema=schema))
    platform.answers["POST /v1/default/models/shout@2/predict"] = "A!"
    assert model.predict("a", n=2) == "A!"
    model.predict(text="a")
    model.predict({"text": "a"})
    assert platform.bodies("POST /v1/default/models/shout@2/predict") == [
        {"text": "a", "n": 2},
        {"text": "a"},
        {"text": "a"},
    ]


def test_what_json_cannot_carry_is_refused_here() -> None:
    with pytest.raises(TypeError, match="class object cannot be sent"):
        json_value({"a": object()})


def test_a_models_own_failure_has_its_traceback(platform: Any, churn: Model) -> None:
    platform.answers[PREDICT] = refusal(
        500, "user_error", "ValueError: no", details=[{"traceback": "Traceback: line 3"}]
    )
    with pytest.raises(ModelFailed) as raised:
        churn.predict([[1, 2]])
    assert raised.value.traceback == "Traceback: line 3"


# --- the handle


def test_a_reference_finds_its_version(platform: Any, client: Client, make_version: MakeVersion) -> None:
    platform.answers["GET models/churn"] = {"aliases": {"production": 2, "staging": 3}, "latest_version": 3}
    platform.answers["GET models/churn/versions/2"] = make_version(2)
    platform.answers["GET models/churn/versions/3"] = make_version(3)
    assert client.model("churn").version == 2
    assert client.model("churn@staging").version == 3
    assert client.model("churn@3").url == "http://gateway.test/v1/default/models/churn@3/predict"
    with pytest.raises(NotFound, match="no alias 'best'") as raised:
        client.model("churn@best")
    assert raised.value.hint == "It has: production, staging."


def test_rollback_takes_the_ready_version_before(platform: Any, client: Client, make_version: MakeVersion) -> None:
    platform.answers["GET models/churn"] = {"aliases": {"production": 4}, "latest_version": 5}
    versions = [make_version(5), make_version(4), make_version(3, "failed"), make_version(2)]
    platform.answers["GET models/churn/versions"] = {"items": versions, "next_cursor": None}
    platform.answers["PUT models/churn/aliases/production"] = {}
    platform.answers["GET models/churn/versions/4"] = make_version(4)
    Model(client, "churn").rollback()
    assert platform.bodies("PUT models/churn/aliases/production") == [{"version": 2}]


def test_rollback_without_an_older_version_says_so(platform: Any, client: Client, make_version: MakeVersion) -> None:
    platform.answers["GET models/churn"] = {"aliases": {"production": 1}, "latest_version": 1}
    platform.answers["GET models/churn/versions"] = {"items": [make_version(1)], "next_cursor": None}
    with pytest.raises(Conflict, match="no ready version of churn before version 1"):
        Model(client, "churn").rollback()


def test_a_notebook_shows_the_model_escaped(platform: Any, client: Client, make_version: MakeVersion) -> None:
    version = make_version(1, app={"name": "churn", "url": "http://g.test/<b>", "state": "ready"})
    platform.answers["GET models/churn/versions/1"] = version
    shown = Model(client, "churn", 1, version)._repr_html_()
    assert "<a href='http://g.test/&lt;b&gt;'" in shown
    assert "$TENFOLD_KEY" in shown


def test_a_worklet_is_run_by_name(platform: Any, client: Client) -> None:
    url = "http://gateway.test/v1/default/apps/desk/worklets/route"
    ports = [{"name": "text", "type": "str", "required": True, "example": "hi"}]
    platform.answers["GET apps/desk"] = {
        "name": "desk",
        "live_release": 1,
        "url": "http://gateway.test/default/desk",
        "views": [],
        "worklets": [{"name": "route", "endpoint": url, "input": ports, "output": []}],
    }
    answer = httpx.Response(200, json={"team": "billing"}, headers={"X-Tenfold-Run": "r7"})
    platform.answers["POST /v1/default/apps/desk/worklets/route"] = answer
    app = tenfold.app("desk", client=client)
    worklet = app.worklet("route")
    assert worklet.run(text="hello") == {"team": "billing"}
    assert worklet.last_run == "r7"
    assert json.loads(worklet.curl().split("-d '")[1].rstrip("'")) == {"text": "hi"}
    silent = Worklet(client, "desk", {**app.details["worklets"][0], "endpoint": None})
    assert silent.url is None
    for call in (silent.run, silent.curl):
        with pytest.raises(Conflict, match="desk/route has no HTTP trigger"):
            call()
    with pytest.raises(NotFound, match="no worklet 'rote'") as raised:
        app.worklet("rote")
    assert raised.value.hint == "It has: route."
