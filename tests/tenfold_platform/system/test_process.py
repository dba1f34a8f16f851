"""The api as a process: real sockets, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import psycopg
import pytest

from tenfold_platform.up.embedded import free_port

from ...waiting import wait_for

pytestmark = pytest.mark.slow

RUN = """
from tenfold_platform.api_main import run
from tenfold_platform.settings import load_settings
run(load_settings())
"""


@pytest.fixture
def process(settings, tmp_path):
    port = free_port()
    environment = {
        **os.environ,
        "TENFOLD_DATABASE_URL": settings.database_url.get_secret_value(),
        "TENFOLD_REDIS_URL": settings.redis_url.get_secret_value(),
        "TENFOLD_DATA_DIR": str(settings.data_dir),
        "TENFOLD_SIGNING_KEY": settings.signing_key.get_secret_value(),
        "TENFOLD_STUDIO_DIR": str(settings.studio_dir),
        "TENFOLD_API_PORT": str(port),
        "TENFOLD_CONSOLE_URL": f"http://localhost:{port}",
    }
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-W", "error", "-c", RUN], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            assert child.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.05)
    child.port = port
    yield child
    if child.poll() is None:
        child.kill()
    child.wait(10)


def say(port: int, request: bytes) -> bytes:
    """Byte for byte, as no well-behaved client would."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def test_a_life(process, database_url, make_workspace, make_key, tmp_path):
    """Started, beating, answering, refusing, and ending politely, with a log of JSON lines and no secret in it."""

    def kinds():
        with psycopg.connect(database_url) as connection:
            return connection.execute("select kind, pid from processes").fetchall()

    wait_for(lambda: kinds() == [("api", process.pid)])
    key = make_key(make_workspace("acme"), "deploy")
    address = f"http://127.0.0.1:{process.port}/api/v1/workspaces/acme"
    with httpx.Client(headers={"Authorization": f"Bearer {key.text}"}, timeout=30) as client:
        assert client.get(address).json()["name"] == "acme"
        digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        headers = {"Content-Type": "application/octet-stream"}
        assert client.put(f"{address}/blobs/{digest}", content=b"hello", headers=headers).json()["size_bytes"] == 5
        assert (
            client.put(f"{address}/blobs/{digest}", content=iter([b"hel", b"p!"]), headers=headers).status_code == 400
        )

    for line in (
        b"GET //api/v1/auth/session HTTP/1.1",
        b"GET /api/v1/../v1/auth/session HTTP/1.1",
        b"GET /api/v1/%2e%2e/v1/auth/session HTTP/1.1",
        b"GET /%2561pi/v1/auth/session%00 HTTP/1.1",
        b"GET http://localhost//api/v1/auth/session HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET /api/v1/auth/session/ HTTP/1.1",
    ):
        answer = say(process.port, line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer.split(b" ", 2)[1] in {b"400", b"404"}, (line, answer)
    for rest in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 1, 2\r\n\r\n{}",
    ):
        answer = say(process.port, b"POST /api/v1/auth/sign-in HTTP/1.1\r\nHost: x\r\n" + rest)
        assert answer.startswith(b"HTTP/1.1 4")

    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert kinds() == []
    log = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(line["process"] == "api" for line in lines)
    assert "\\u001b" not in log
    assert {"get_workspace", "put_blob"} <= {line.get("operation") for line in lines}
    assert key.text[16:] not in log


def test_a_request_in_flight_is_finished_before_the_end(process, make_workspace, make_key):
    key = make_key(make_workspace("acme"), "deploy")
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        connection.sendall(
            f"PUT /api/v1/workspaces/acme/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key.text}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhel".encode()
        )
        time.sleep(0.5)  # it is being received
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(b"lo")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert process.wait(20) == 0
