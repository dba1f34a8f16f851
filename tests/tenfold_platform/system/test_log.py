"""Logs: one JSON object a line, and nobody's secrets in any of them."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from tenfold_platform.app import create_app
from tenfold_platform.auth import service
from tenfold_platform.log import configure_logging, get_logger, redact
from tenfold_platform.routing import PUBLIC, Router

KEY = "tf_abcdefghijkl_" + "s" * 43


@pytest.fixture
def logged():
    """What the process writes."""
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    configure_logging("api", stream=stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    structlog.configure(**before[2])


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line_without_its_query(logged, client):
    client.get("/api/v1/auth/session?token=hidden", headers={"X-Request-Id": "request-0001"})
    (line,) = lines(logged)
    assert line.pop("ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "tenfold.api",
        "method": "GET",
        "operation": "get_session",
        "process": "api",
        "request_id": "request-0001",
        "status": 401,
    }


def test_no_secret_of_a_whole_visit_is_logged(logged, sessions, settings, clock, call, as_key, make_user, as_user):
    first = service.bootstrap(sessions, settings, want_local_key=True, clock=clock)
    token = first.first_admin_link.partition("#")[2]
    client = call()
    cookie = client.post("/api/v1/auth/redeem", json={"token": token}).cookies["tenfold_session"]
    browser = call(headers={"Cookie": f"tenfold_session={cookie}", "Origin": settings.console_url})
    browser.put("/api/v1/auth/profile", json={"password": "correct horse battery"})
    made = browser.post("/api/v1/workspaces/default/keys", json={"name": "x", "scopes": ["admin"]}).json()["key"]
    console = browser.post("/api/v1/workspaces/default/console-token").json()["token"]
    for secret in (first.local_key, made, console, token, cookie):
        call(headers={"Authorization": f"Bearer {secret}"}).get(f"/api/v1/auth/key?key={secret}")
        client.get(f"/api/v1/workspaces/{secret}")
        client.get(f"/{secret}?x={secret}", headers={"Referer": secret, "X-Request-Id": secret, "User-Agent": secret})
    written = logged.getvalue()
    assert len(lines(logged)) > 10
    hidden = [first.local_key[16:], made[16:], console, token, cookie, settings.signing_key.get_secret_value()]
    for secret in (*hidden, "correct horse"):
        assert secret not in written


def test_not_even_in_the_traceback_of_a_crash(logged, settings, engine, call):
    router = Router()

    @router.get("/crash", allow=PUBLIC)
    def crash() -> None:
        raise RuntimeError(
            f"no such key: {KEY}, {{'Authorization': 'Bearer abcdefgh12345678'}} at redis://:pa55@host/0"
        )

    answer = call(app=create_app(settings, engine=engine, routers=[router])).get("/api/v1/crash")
    assert answer.status_code == 500
    written = logged.getvalue()
    assert "Traceback" in written
    assert "no such key: tf_abcdefghijkl_[redacted]" in written
    assert not any(secret in written for secret in ("s" * 20, "abcdefgh12345678", "pa55"))


def test_in_nested_values_and_other_peoples_loggers(logged):
    get_logger("x").warning("deep", values=[{"key": KEY, KEY: ("tft.abc.def",)}], raw=KEY.encode())
    logging.getLogger("uvicorn.error").error("from %s", KEY)
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("celery").exception("caught")
    assert len(lines(logged)) == 3
    assert "s" * 20 not in logged.getvalue()
    assert "tft.abc" not in logged.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, "tf_abcdefghijkl_[redacted]"),
        (f"a {KEY} b", "a tf_abcdefghijkl_[redacted] b"),
        ("tft.eyJrIjo.Zm9v!", "tft.[redacted]!"),
        ("postgresql://tenfold:pass@host/db", "postgresql://tenfold:[redacted]@host/db"),
        ("redis://:pass@host", "redis://:[redacted]@host"),
        ("Cookie: tenfold_session=abc; x=1", "Cookie: tenfold_session=[redacted]; x=1"),
        ("http://localhost:7070/sign-in#abc", "http://localhost:7070/sign-in#[redacted]"),
        ("nothing to hide at http://localhost:7070/x", "nothing to hide at http://localhost:7070/x"),
    ],
)
def test_what_is_taken_out(text, shown):
    assert redact(text) == shown
