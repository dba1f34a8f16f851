"""Packages that are built from source, under strict isolation: what their code tries, and that the harmless build."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tenfold_deploy import environments
from tenfold_deploy.environments import (
    EnvironmentFailed,
    EnvironmentSpec,
    Tools,
    build,
    installed,
    is_compiled,
    resolve,
)
from tenfold_deploy.index_relay import Relay, with_credentials
from tenfold_deploy.isolation import find_isolation
from tenfold_deploy.isolation.seccomp import DENIED
from tenfold_platform.up.postgres import EmbeddedPostgres

from ..waiting import wait_for

AddSource = Callable[..., None]
AddWheel = Callable[..., None]
STRICT = Tools(isolation="strict")

# What a build tries: expressions that are true when the canary sings; one that raises is silent.
CANARIES = {
    "the platform's keys in the data folder": "bool(open(w['keys']).read())",
    "whether a file of the machine exists": "os.stat(w['keys']).st_size > 0",
    "keys in a home folder": "bool(open(w['ssh']).read())",
    "the platform's variables": "any('planted' in value for value in os.environ.values())",
    "the environment of other processes": "any(b'planted' in environ(pid) for pid in os.listdir('/proc'))",
    "credentials of the index": "any(b'index-word' in environ(pid) for pid in os.listdir('/proc'))",
    "processes of the machine": "name(w['pid']) == w['name'].encode()",
    "TCP services on loopback": "socket.create_connection(('127.0.0.1', w['port']), 2)",
    "PostgreSQL": "socket.create_connection(('127.0.0.1', w['postgres']), 2)",
    "unix sockets in the file system": "socket.socket(socket.AF_UNIX).connect(w['unix']) is None",
    "network devices of the machine": "len(socket.if_nameindex()) > 1",
    "a project that no index has, through the relay": "ask(f\"/index/0/../../{w['keys']}\")",
    "an address of its own, through the relay": "ask(f\"http://127.0.0.1:{w['port']}/\")",
    "the cache of wheels that others use": "bool(open(w['cache'] + '/mine', 'w'))",
    "the environments of the workspace": "bool(open(w['environments'] + '/other', 'r+'))",
    "writing to its Python": "bool(open(os.__file__, 'a'))",
    "writing anywhere else": "os.open('/usr', os.O_TMPFILE | os.O_RDWR) > 0",
    "new namespaces": "allows('unshare', 0)",
    "mounting": "allows('mount', b'none', b'/nowhere', b'tmpfs', 0, 0)",
    "ptrace": "allows('ptrace', 16, 2**22 + 1, 0, 0)",
    "root's number": "0 in (*os.getresuid(), *os.getresgid())",
}
HOSTILE = """
import ctypes, json, os, socket, sys, time
w = json.loads(WORLD)
def environ(pid):
    try: return open(f"/proc/{pid}/environ", "rb").read()
    except OSError: return b""
def name(pid): return open(f"/proc/{pid}/cmdline", "rb").read()
def allows(name, *arguments):
    ctypes.CDLL(None, use_errno=True).syscall(w["calls"][name], *arguments)
    return ctypes.get_errno() != 1
def ask(path):
    with socket.create_connection(("127.0.0.1", 3141), 2) as relay:
        relay.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
        return relay.recv(1000).split()[1] == b"200"
def sings(canary):
    try: return bool(eval(canary))
    except Exception: return False
for _ in range(20):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, w["mark"].encode())
        os.setsid()
        os.closerange(0, 100)
        time.sleep(600)
        os._exit(0)
numbers = [number for number, canary in enumerate(json.loads(CANARIES)) if sings(canary)]
raise RuntimeError(f"sang: {numbers}")
"""
HARMLESS = """
import os, zipfile
METADATA = "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\nREQUIRES"
def prepare_metadata_for_build_wheel(folder, settings=None):
    os.mkdir(folder + "/NAME-1.0.dist-info")
    open(folder + "/NAME-1.0.dist-info/METADATA", "w").write(METADATA)
    return "NAME-1.0.dist-info"
def build_wheel(folder, settings=None, metadata=None):
    print("building NAME")
    with zipfile.ZipFile(folder + "/NAME-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("NAME.py", "WHERE = " + repr(os.getcwd()))
        wheel.writestr("NAME-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("NAME-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("NAME-1.0.dist-info/RECORD", "")
    return "NAME-1.0-py3-none-any.whl"
"""


def harmless(name: str, requires: str = "") -> str:
    required = f"Requires-Dist: {requires}\\n" if requires else ""
    return HARMLESS.replace("NAME", name).replace("REQUIRES", required)


def quiet(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _strict_machine() -> None:
    assert find_isolation("none").level == "strict", find_isolation("none").missing


@pytest.fixture
def world(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: EmbeddedPostgres
) -> Iterator[dict[str, Any]]:
    """What a build must not reach, all of it there, and reachable for an ordinary process."""
    keys, ssh = tmp_path / "data/keys/secrets.key", tmp_path / "home/.ssh/id"
    for file in (keys, ssh):
        file.parent.mkdir(parents=True)
        file.write_text("planted")
    for folder in ("cache", "environments"):
        (tmp_path / folder).mkdir()
    (tmp_path / "environments/other").touch()
    monkeypatch.setenv("CANARY", "planted")
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "index-word")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "service.sock"))
        local.listen()
        yield {
            "keys": str(keys),
            "ssh": str(ssh),
            "pid": os.getpid(),
            "name": Path("/proc/self/cmdline").read_text(),
            "port": listener.getsockname()[1],
            "postgres": postgres_server.port,
            "unix": str(tmp_path / "service.sock"),
            "cache": str(tmp_path / "cache"),
            "environments": str(tmp_path / "environments"),
            "mark": f"mark-{os.getpid()}",
            "calls": {name: DENIED[name][platform.machine() != "x86_64"] for name in ("unshare", "mount", "ptrace")},
        }


def hostile(world: dict[str, Any]) -> str:
    planted = f"WORLD = {json.dumps(world)!r}\nCANARIES = {json.dumps(list(CANARIES.values()))!r}\n"
    return planted + HOSTILE


def what_sang(failure: EnvironmentFailed) -> list[str]:
    assert failure.code == "build_failed", failure.message
    numbers = json.loads(failure.message.rpartition("sang: ")[2])
    return [list(CANARIES)[number] for number in numbers]


def marked(mark: str) -> list[str]:
    """The processes of the machine that go by this name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() == mark:
                found.append(process.name)
    return found


def test_a_hostile_build_reaches_nothing(world: dict[str, Any], add_source: AddSource, tmp_path: Path) -> None:
    add_source("hostile", "1.0", hostile(world))
    lock = resolve(EnvironmentSpec(None, ("hostile",)), on_log=quiet, tools=STRICT)
    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "environments" / "one", on_log=quiet, tools=STRICT)
    assert what_sang(caught.value) == []
    assert marked(world["mark"]) == []
    assert {path.name for path in (tmp_path / "environments").iterdir()} == {".one.lock", "other"}


def test_hostile_metadata_reaches_nothing(world: dict[str, Any], add_source: AddSource) -> None:
    add_source("hostile", "1.0", hostile(world), static=False)
    with pytest.raises(EnvironmentFailed) as caught:
        resolve(EnvironmentSpec(None, ("hostile",)), on_log=quiet, tools=STRICT)
    assert what_sang(caught.value) == []
    assert marked(world["mark"]) == []


def test_without_a_sandbox_they_sing_and_the_log_says_so(world: dict[str, Any], add_source: AddSource) -> None:
    add_source("hostile", "1.0", hostile(world).replace("range(20)", "range(0)"), static=False)
    log: list[str] = []
    with pytest.raises(EnvironmentFailed) as caught:
        resolve(EnvironmentSpec(None, ("hostile",)), on_log=log.append)
    assert {
        "the platform's keys in the data folder",
        "keys in a home folder",
        "processes of the machine",
        "TCP services on loopback",
        "PostgreSQL",
        "unix sockets in the file system",
        "the cache of wheels that others use",
        "the environments of the workspace",
        "credentials of the index",
    } <= set(what_sang(caught.value))
    assert any("runs as the user who runs Tenfold" in line for line in log)


def test_a_harmless_one_is_resolved_and_built_and_then_found(
    index: Path, add_source: AddSource, add_wheel: AddWheel, tmp_path: Path
) -> None:
    add_source("harmless", "1.0", harmless("harmless", "word>=1 ; python_version >= '3.9'"), static=False)
    add_wheel("word", "2.0")
    log: list[str] = []
    lock = resolve(EnvironmentSpec(None, ("harmless",)), on_log=log.append, tools=STRICT)
    assert lock.packages == (("harmless", "1.0"), ("word", "2.0"))
    digest = hashlib.sha256((index / "harmless-1.0.tar.gz").read_bytes()).hexdigest()
    assert f"--hash=sha256:{digest}" in lock.text
    destination = tmp_path / "environments" / "one"

    built = build(lock, destination, on_log=log.append, tools=STRICT)

    assert installed(destination) == [("harmless", "1.0"), ("word", "2.0")]
    assert "harmless==1.0 has no wheel for this machine: building it from source, in a sandbox" in log
    question = [built.python, "-I", "-c", "import harmless; print(harmless.WHERE)"]
    where = subprocess.run(question, capture_output=True, text=True, check=True).stdout
    assert is_compiled(destination)
    assert len(list(destination.glob("lib/python3*/site-packages/__pycache__/*.pyc"))) >= 2
    assert where.startswith(str(tmp_path / "environments"))
    assert not list((tmp_path / "cache").rglob("src"))  # what others use holds no source that was run
    assert {path.name for path in destination.parent.iterdir()} == {"one", ".one.lock", ".wheels"}
    assert (destination / "requirements.lock").read_text() == lock.text

    again: list[str] = []
    build(lock, tmp_path / "environments" / "two", on_log=again.append, tools=STRICT)
    assert installed(tmp_path / "environments" / "two") == installed(destination)
    assert not any("building it from source" in line for line in again)
    anew: list[str] = []
    build(lock, destination, on_log=anew.append, tools=STRICT, anew=True)
    assert any("building it from source" in line for line in anew)


def test_a_version_with_a_wheel_comes_before_a_newer_one_without(
    index: Path, add_source: AddSource, add_wheel: AddWheel
) -> None:
    add_wheel("harmless", "0.9")
    add_source("harmless", "1.0", harmless("harmless"))

    def chosen(requirement: str) -> tuple[tuple[str, str], ...]:
        return resolve(EnvironmentSpec(None, (requirement,)), on_log=quiet, tools=STRICT).packages

    assert chosen("harmless") == (("harmless", "0.9"),)
    assert chosen("harmless==1.0") == (("harmless", "1.0"),)


def test_why_a_build_fails_is_said(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    add_source("broken", "1.0", "raise RuntimeError('the compiler is missing')")
    lock = resolve(EnvironmentSpec(None, ("broken",)), on_log=quiet, tools=STRICT)
    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "one", on_log=quiet, tools=STRICT)
    assert caught.value.message == (
        "broken==1.0 has no ready-made wheel for this machine, and building it from source failed: "
        "RuntimeError: the compiler is missing"
    )


def test_one_without_an_end_is_stopped(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    mark = f"endless-{os.getpid()}"
    code = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {mark!r}.encode()); time.sleep(600)"
    add_source("endless", "1.0", code)
    lock = resolve(EnvironmentSpec(None, ("endless",)), on_log=quiet, tools=STRICT)
    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "environments" / "one", on_log=quiet, tools=STRICT, timeout_seconds=6)
    assert caught.value.code == "timed_out"
    assert marked(mark) == []
    assert {path.name for path in (tmp_path / "environments").iterdir()} == {".one.lock"}


def test_folders_however_deep_are_removed(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    """Left behind, they would stand in the way of every further build."""
    code = (
        "import os\n"
        "at = os.open(os.environ['HOME'], os.O_RDONLY)\n"
        "for _ in range(2500):\n"
        "    os.mkdir('a', dir_fd=at)\n"
        "    below = os.open('a', os.O_RDONLY, dir_fd=at)\n"
        "    os.close(at)\n"
        "    at = below\n"
        "raise RuntimeError('deep')\n"
    )
    add_source("deep", "1.0", code)
    lock = resolve(EnvironmentSpec(None, ("deep",)), on_log=quiet, tools=STRICT)
    for _ in range(2):
        with pytest.raises(EnvironmentFailed, match="RuntimeError: deep"):
            build(lock, tmp_path / "environments" / "one", on_log=quiet, tools=STRICT)
        assert {path.name for path in (tmp_path / "environments").iterdir()} == {".one.lock"}


def test_nothing_is_left_of_a_build_whose_engine_was_killed(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    mark = f"orphan-{os.getpid()}"
    code = f"import ctypes, os, time; os.fork(); ctypes.CDLL(None).prctl(15, {mark!r}.encode()); time.sleep(600)"
    add_source("orphan", "1.0", code)
    engine = (
        "from pathlib import Path\n"
        "from tenfold_deploy.environments import *\n"
        "lock = resolve(EnvironmentSpec(None, ('orphan',)), on_log=print, tools=Tools(isolation='strict'))\n"
        f"build(lock, Path({str(tmp_path / 'one')!r}), on_log=print, tools=Tools(isolation='strict'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: len(marked(mark)) == 2)
        process.kill()
    wait_for(lambda: marked(mark) == [])


MUCH = "import time\nfor n in range(12): open(f'much{n}', 'wb').write(bytes(5_000_000))\ntime.sleep(600)"
BIG = "open('big', 'wb').write(bytes(50_000_000))"


@pytest.mark.parametrize(("code", "why"), [(MUCH, "it kept"), (BIG, "it kept|too large")])
def test_one_that_fills_the_disk_is_stopped(
    code: str, why: str, index: Path, add_source: AddSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_source("greedy", "1.0", code)
    lock = resolve(EnvironmentSpec(None, ("greedy",)), on_log=quiet, tools=STRICT)
    free = shutil.disk_usage(tmp_path)._replace(free=60_000_000)
    monkeypatch.setattr("tenfold_deploy.isolation.builds.shutil.disk_usage", lambda _: free)
    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "one", on_log=quiet, tools=STRICT, timeout_seconds=120)
    assert caught.value.code == "build_failed"
    assert re.search(why, caught.value.message)


@pytest.mark.parametrize(
    "line",
    ["--no-binary word", "-e .", "word @ file:///etc/passwd", "word==1.0 ; x @ y", "/etc/passwd", "word"],
)
def test_a_lock_that_foreign_code_wrote_holds_versions_only(line: str) -> None:
    good = "word==1.0 ; python_version >= '3.9' \\\n    --hash=sha256:00\n"
    assert environments._checked_pins(good) == good
    with pytest.raises(EnvironmentFailed, match="has a line that is none"):
        environments._checked_pins(f"{good}{line}\n")


def test_a_lock_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("word==1.0\n")
    (tmp_path / "lock.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        environments._read_regular(tmp_path / "lock.txt")


# --- the way to the indexes ---


@contextmanager
def index_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """An index that asks for a password and lists the files of a folder; with what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            login = base64.b64encode(b"me:p/w").decode()
            project = self.path.strip("/").rpartition("/")[2]
            if self.headers.get("Authorization") != f"Basic {login}":
                self.answer(401, b"")
            elif self.path.startswith("/files/"):
                self.answer(200, (folder / project).read_bytes())
            elif files := [file for file in folder.iterdir() if file.name.startswith(f"{project}-")]:
                links = (
                    f'<a href="../../files/{file.name}#sha256={digest_of(file)}">{file.name}</a>' for file in files
                )
                self.answer(200, "".join(links).encode())
            else:
                self.answer(404, b"")

        do_HEAD = do_GET

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple", asked
        finally:
            server.shutdown()
            thread.join()


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_build_finds_what_it_needs_on_an_index_whose_password_it_does_not_learn(
    index: Path, add_source: AddSource, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_wheel("helper", "1.0")
    look = "import helper\nseen = open('/proc/self/environ').read() + repr(os.environ)\n"
    look += "for pid in filter(str.isdigit, os.listdir('/proc')): seen += open(f'/proc/{pid}/environ').read()\n"
    look += "assert 'p/w' not in seen and 'p%2Fw' not in seen\n"
    add_source("needy", "1.0", "import os\n" + look + harmless("needy"), static=False, requires=("helper",))
    for variable in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "UV_OFFLINE"):
        monkeypatch.delenv(variable)
    with index_server(index) as (address, asked):
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"mine={address}")
        monkeypatch.setenv("UV_INDEX_MINE_USERNAME", "me")
        monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "p/w")
        lock = resolve(EnvironmentSpec(None, ("needy",)), on_log=quiet, tools=STRICT)
        build(lock, tmp_path / "environments" / "one", on_log=quiet, tools=STRICT)
    assert installed(tmp_path / "environments" / "one") == [("needy", "1.0")]
    assert "/files/helper-1.0-py3-none-any.whl" in asked


def test_a_wheel_for_another_machine_does_not_keep_the_source_from_being_built(
    index: Path, add_source: AddSource, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_wheel("harmless", "1.0", tag="cp27-cp27m-win32")
    add_source("harmless", "1.0", harmless("harmless"), static=False)
    for variable in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "UV_OFFLINE"):
        monkeypatch.delenv(variable)
    with index_server(index) as (address, _):
        monkeypatch.setenv("UV_DEFAULT_INDEX", address.replace("//", "//me:p%2Fw@"))
        lock = resolve(EnvironmentSpec(None, ("harmless==1.0",)), on_log=quiet, tools=STRICT)
        build(lock, tmp_path / "environments" / "one", on_log=quiet, tools=STRICT)
    assert installed(tmp_path / "environments" / "one") == [("harmless", "1.0")]


def test_the_relay_hands_out_what_pages_name_and_nothing_else() -> None:
    relay = Relay(["https://me:word@one.example/pages", "file:///srv/two"], ["https://three.example/links"], {})
    assert relay.find("/index/0/numpy/") == ("https://me:word@one.example/pages/numpy/", True)
    assert relay.find("/index/1/numpy/") == ("file:///srv/two/numpy/index.html", True)
    assert relay.find("/links/0/") == ("https://three.example/links", True)
    for path in ("/", "/index/2/numpy/", "/index/0/../", "/index/0/a/b/", "/file/00/x", "/links/0/x", "http://x/"):
        assert relay.find(path) is None, path
    origin = "https://one.example/pages/numpy/"
    page = b"<a href='../../n-1.whl#sha256=00'>n</a><A HREF=\"https://other.example/n-2.whl\">"
    page += b"<a href='file:///etc/passwd'>p</a>"
    text = relay.rewritten(page, "text/html", origin).decode()
    links = re.findall(r"(?i)href=[\"']([^\"']*)", text)
    assert [link.rpartition("/")[2] for link in links] == ["n-1.whl#sha256=00", "n-2.whl", "#"]
    paths = [urlsplit(link).path for link in links]
    assert relay.find(paths[0]) == ("https://one.example/n-1.whl", False)
    assert relay.find(f"{paths[0]}.metadata") == ("https://one.example/n-1.whl.metadata", False)
    assert relay.find(paths[1]) == ("https://other.example/n-2.whl", False)
    listed = json.dumps({"files": [{"url": "n-3.whl", "hashes": {}}]}).encode()
    file = json.loads(relay.rewritten(listed, "application/vnd.pypi.simple.v1+json", origin))["files"][0]
    assert relay.find(urlsplit(file["url"]).path) == (f"{origin}n-3.whl", False)


def test_the_relay_answers_so_many_callers_at_a_time_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold_deploy.index_relay._MOST_CALLERS", 3)
    (tmp_path / "simple" / "word").mkdir(parents=True)
    (tmp_path / "simple" / "word" / "index.html").write_text("<a href='word-1.0.tar.gz'>word</a>")
    path = tmp_path / "index.sock"
    with Relay([(tmp_path / "simple").as_uri()], [], {}).listening(path), contextlib.ExitStack() as stack:
        callers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(4)]
        answers = []
        for caller in callers:
            caller.connect(str(path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                caller.sendall(b"GET /index/0/word/ HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                answers.append(caller.recv(1000).split(b" ")[1:2])
    assert answers[:3] == [[b"200"]] * 3
    assert answers[3:] in ([], [[]])


def test_credentials_go_to_their_index_only() -> None:
    machine = {
        "UV_INDEX": "mine=https://one.example/pages",
        "UV_INDEX_MINE_USERNAME": "me",
        "UV_INDEX_MINE_PASSWORD": "w",
    }
    (address,) = with_credentials(["https://one.example/pages"], machine)
    assert address == "https://me:w@one.example/pages"
    relay = Relay([address], [], {"NETRC": "/nowhere"})
    asked = relay.request("https://one.example/file.whl", {}, "GET")
    assert asked.get_header("Authorization") == f"Basic {base64.b64encode(b'me:w').decode()}"
    assert asked.full_url == "https://one.example/file.whl"
    assert relay.request("https://other.example/file.whl", {}, "GET").get_header("Authorization") is None
