"""A whole Tenfold of a benchmark's own: started in a folder, asked for its processes, ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.processes import command_lines, descendants, last_line, parents, process, wait_for

START_SECONDS = 180
SETTLE_SECONDS = 600


@dataclass(frozen=True)
class Installation:
    """One `tenfold up`. `folder` holds its data, its log and its credentials, and goes with it."""

    folder: Path
    root_pid: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def env(self) -> dict[str, str]:
        """What the SDK needs to find it."""
        return {"TENFOLD_CREDENTIALS": str(self.folder / "credentials.json"), "NO_COLOR": "1"}

    @property
    def profile(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "credentials.json").read_text())["profiles"]["local"]
        return found

    @property
    def database_url(self) -> str:
        ports = json.loads((self.data / "ports.json").read_text())
        password = (self.data / "postgres" / "password").read_text()
        return f"postgresql://tenfold:{password}@127.0.0.1:{ports['postgres']}/tenfold"

    def pids(self) -> set[int]:
        """All its processes: what `tenfold up` runs, and the workers with what started them, which outlive it."""
        lines = command_lines()
        inside = {pid for pid, line in lines.items() if str(self.data) in line}
        return descendants({self.root_pid} | inside | _starters(inside, lines))

    def worker_pids(self) -> set[int]:
        """The workers, with their supervisors and whatever else was started for them alone."""
        lines = command_lines()
        workers = {pid for pid, line in lines.items() if str(self.data) in line and "tenfold_runtime" in line}
        return descendants(workers | _starters(workers, lines))

    def gateway_pid(self) -> int:
        lines = command_lines()
        family = descendants({self.root_pid})
        return next(pid for pid in sorted(family) if lines.get(pid, "").endswith(" gateway"))


def _starters(pids: set[int], lines: dict[int, str]) -> set[int]:
    """The parents of workers, as far up as they are there for workers."""
    above = parents()
    found: set[int] = set()
    left = list(pids)
    while left:
        parent = above.get(left.pop(), 0)
        if "tenfold_deploy" in lines.get(parent, "") and parent not in found:
            found.add(parent)
            left.append(parent)
    return found


@contextlib.contextmanager
def tenfold_up(folder: Path, **env: str) -> Iterator[Installation]:
    """Starts one in `folder`, on free ports, and points this process's SDK at it. Raises TimeoutError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # started by root, PostgreSQL runs as another user
    log = folder / "up.log"
    command = [str(Path(sys.executable).with_name("tenfold")), "up", "--data", str(folder / "data")]
    command += ["--port", "0", "--gateway-port", "0"]
    credentials = {"TENFOLD_CREDENTIALS": str(folder / "credentials.json")}
    with process(command, cwd=folder, log=log, env=credentials | env) as child:
        installation = Installation(folder, child.pid)
        before = os.environ.get("TENFOLD_CREDENTIALS")
        os.environ["TENFOLD_CREDENTIALS"] = credentials["TENFOLD_CREDENTIALS"]
        try:
            _wait_until_ready(child, log)
            yield installation
        finally:
            if before is None:
                del os.environ["TENFOLD_CREDENTIALS"]
            else:
                os.environ["TENFOLD_CREDENTIALS"] = before


def _wait_until_ready(child: subprocess.Popen[bytes], log: Path) -> None:
    wait_for(
        lambda: "Tenfold is ready" in log.read_text() or child.poll() is not None, START_SECONDS, "no Tenfold is ready"
    )
    if child.poll() is not None:
        raise RuntimeError(f"`tenfold up` ended: {last_line(log.read_text())}")


def quiet() -> Any:
    """What `tenfold.deploy` may tell its progress to, for nobody to see."""
    from rich.console import Console

    from tenfold.progress import make_progress

    return make_progress(Console(file=io.StringIO()))


def settled(model: Any) -> None:
    """Waits until a version that was deployed is served as it will be from then on: compiled, or for good not, and the
    replicas that this has replaced have ended.
    """

    def is_settled() -> bool:
        version = model.client.get("models", model.name, "versions", model.version)
        states = {replica["state"] for replica in version["deployment"]["replicas"]}
        is_final = (version.get("compiled") or {}).get("state") in (None, "serving", "refused")
        return is_final and states <= {"ready", "stopped", "failed"}

    wait_for(is_settled, SETTLE_SECONDS, f"{model.name} was not compiled")
    model.refresh()
