"""A whole installation, as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from tenfold.client import Client
from tenfold.credentials import Profile

from .waiting import wait_for

WHEELS = Path.home() / ".cache" / "uv"
ROOT = Path(__file__).resolve().parents[1]
TENFOLD = Path(sys.executable).with_name("tenfold")
START_SECONDS = 120
TLS = httpx.create_ssl_context()  # one for all: to read the certificates takes longer than a request

# what the shared installation is set to, each for one file's tests and out of the way of the others': one more
# installation is one more start, and five more processes beside everything that follows
QUEUE_LENGTH = 100
LARGEST_PACKAGE = 2 * 1024**3
FETCHED_FROM = "127.0.0.1"  # what the operator lets the platform fetch from
SHARED_SETTINGS = {
    "TENFOLD_QUEUE_LENGTH": str(QUEUE_LENGTH),
    "TENFOLD_MAX_PACKAGE_BYTES": str(LARGEST_PACKAGE),
    "TENFOLD_EGRESS_ALLOW": FETCHED_FROM,
}


@dataclass
class Installation:
    """One `tenfold up` on a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.folder / "up.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def env(self) -> dict[str, str]:
        own = {"TENFOLD_CREDENTIALS": str(self.folder / "credentials.json"), "NO_COLOR": "1"}
        own |= {"TENFOLD_COMPILE_MODELS": "false"}  # but where a test is about it: it would replace replicas meanwhile
        own |= {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(WHEELS))}  # shared, or each would download anew
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, **own, **self.variables}

    def start(self) -> None:
        with self.output.open("wb") as log:
            self.process = subprocess.Popen(
                [TENFOLD, "up", "--data", self.data, "--port", "0", "--gateway-port", "0"]
                if not self.data.exists()
                else [TENFOLD, "up", "--data", self.data],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.folder,
            )
        wait_for(lambda: "Tenfold is ready" in self.said() or self.process_ended(), START_SECONDS)
        assert not self.process_ended(), self.said()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def process_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    @property
    def profile(self) -> dict[str, str]:
        profile: dict[str, str] = json.loads((self.folder / "credentials.json").read_text())["profiles"]["local"]
        return profile

    @property
    def sign_in_link(self) -> str:
        return subprocess.run(
            [TENFOLD, "sign-in-link", "--data", self.data], env=self.env, capture_output=True, text=True, check=True
        ).stdout.strip()

    @property
    def gateway(self) -> str:
        return self.profile["gateway_url"]

    def api(self, workspace: str = "default", key: str | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.profile['url']}/api/v1/workspaces/{workspace}",
            headers={"Authorization": f"Bearer {key or self.profile['key']}"},
            timeout=60,
            verify=TLS,
        )

    def client(self) -> Client:
        """The SDK's, as whoever started it."""
        told = self.profile
        return Client(Profile(told["url"], told["key"], "default", told["gateway_url"]))

    def pids(self) -> dict[str, int]:
        """Of the platform's processes, as they are now."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute("select kind, pid from processes order by started_at").fetchall()
        return {kind: pid for kind, pid in rows if Path(f"/proc/{pid}").exists()}

    @property
    def database_url(self) -> str:
        ports = json.loads((self.data / "ports.json").read_text())
        password = (self.data / "postgres" / "password").read_text()
        return f"postgresql://tenfold:{password}@127.0.0.1:{ports['postgres']}/tenfold"

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command as a data scientist would type it, in the repository."""
        done = subprocess.run(
            [str(part) for part in command], env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def tenfold(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(TENFOLD, *arguments, check=check)


@pytest.fixture
def new_installation() -> Iterator[Callable[[], Installation]]:
    """Installations of one test's own; not started yet."""
    made: list[Installation] = []

    def make() -> Installation:
        installation = Installation(_new_folder())
        made.append(installation)
        return installation

    yield make
    for installation in made:
        _end(installation)


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """One for all tests that do not break it."""
    with running(**SHARED_SETTINGS) as installation:
        yield installation


@contextmanager
def running(**variables: str) -> Iterator[Installation]:
    """An installation of somebody's own, started with these settings (`TENFOLD_...`), and gone afterwards."""
    installation = Installation(_new_folder(), variables=variables)
    try:
        installation.start()
        yield installation
    finally:
        _end(installation)


def _new_folder() -> Path:
    """Of its own, and open to pass through: as root, PostgreSQL runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-e2e-"))
    folder.chmod(0o711)
    return folder


def _end(installation: Installation) -> None:
    if not installation.process_ended():
        installation.stop()
    if "CI" in os.environ:
        logs = ROOT / "test-output" / "logs" / installation.folder.name
        if (installation.data / "logs").exists():
            shutil.copytree(installation.data / "logs", logs, dirs_exist_ok=True)
    shutil.rmtree(installation.folder, ignore_errors=True)
