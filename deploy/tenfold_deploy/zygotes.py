"""The zygotes of the local scheduler: which there are, what they import, when one starts and ends.

All of it is in files below one folder, so that restarts lose nothing. Of each key:

- `imports.json`  what workers have told that they import, checked: user code can write what they tell
- `given_up`      why there never is a zygote for it
- `z-<time>`      a folder for each zygote that was started, kept by a shim like a replica's; `outdated` in it says that
                  another one should take its place, `retired` that nothing is forked from it any more
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tenfold_deploy import shim
from tenfold_deploy.locking import only_one
from tenfold_runtime.imports import MOST_BYTES
from tenfold_runtime.zygote import THREADS_STATUS

log = logging.getLogger(__name__)

KNOWN_LIBRARIES: Final = frozenset(
    (
        *("numpy", "scipy", "pandas", "sklearn", "joblib", "skops", "threadpoolctl", "cloudpickle", "statsmodels"),
        *("onnxruntime", "onnx", "xgboost", "lightgbm", "catboost", "PIL", "cv2", "imageio", "skimage"),
        *("torch", "torchvision", "torchaudio", "safetensors", "tokenizers", "sentencepiece", "einops"),
        *("pyarrow", "polars", "narwhals", "pydantic", "pydantic_core", "annotated_types", "attr", "attrs"),
        *("typing_extensions", "typing_inspection", "yaml", "jinja2", "markupsafe", "packaging", "prettytable"),
        *("dateutil", "pytz", "tzdata", "six", "requests", "urllib3", "certifi", "idna", "charset_normalizer"),
        *("httpx", "httpcore", "h11", "anyio", "sniffio", "numexpr", "bottleneck", "networkx", "sympy", "mpmath"),
        *("filelock", "fsspec", "tqdm", "regex", "orjson", "msgpack", "google"),
    )
)
"""What a zygote may import, by its first name. Left out is what must not be imported before a fork, or remembers at
import where HOME is (transformers, huggingface_hub, matplotlib, tensorflow).
"""

_MODULE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(\.[A-Za-z_][A-Za-z0-9_]{0,99}){0,20}")
_END_SECONDS: Final = 10.0
_RECIPES: Final = 256
_START_AGAIN_SECONDS: Final = 60.0
_MOST_DECLINES: Final = 3

MakePlan = Callable[[Path, list[str]], dict[str, Any]]
"""The shim's plan for a zygote, from its folder and what it imports."""


@dataclass(frozen=True)
class Zygote:
    """One that has been started. `pid` and `started` name its process, `shim` and `shim_started` that of its shim."""

    folder: Path
    socket: str
    pid: int
    started: str
    shim: int
    shim_started: str

    @property
    def is_alive(self) -> bool:
        return shim.process_started(self.pid) == self.started

    @property
    def has_workers(self) -> bool:
        return bool(shim.children(self.pid))

    @property
    def is_retired(self) -> bool:
        return (self.folder / "retired").exists()

    @property
    def is_outdated(self) -> bool:
        return self.is_retired or (self.folder / "outdated").exists()

    def retire(self) -> None:
        """It forks no more, and ends when all its workers have."""
        with contextlib.suppress(OSError):
            (self.folder / "retired").touch()
        shim.signal_process(self.pid, self.started, signal.SIGTERM)

    def end(self) -> None:
        """It ends now, and its workers with it."""
        with contextlib.suppress(OSError):
            (self.folder / "retired").touch()
            shim.write_json(str(self.folder / "stop.json"), {"grace_seconds": 0})
        shim.signal_process(self.shim, self.shim_started, signal.SIGTERM)


class Zygotes:
    """At most `most` at a time. Methods may be called from any thread and do not wait for a zygote."""

    def __init__(self, folder: Path, most: int, run_shim: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._folder = folder
        self._most = most
        self._run_shim = run_shim
        self._recipes: dict[str, MakePlan] = {}
        self._starting: set[str] = set()
        self._tried: dict[str, float] = {}
        self._declines: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = False

    def find(self, key: str) -> Zygote | None:
        """One that can be forked from now: the latest, which is when those before it are of no more use."""
        found: Zygote | None = None
        for zygote in self._of(key):
            if zygote.is_retired or not zygote.is_alive:
                continue
            if found is not None:
                zygote.retire()
            elif os.path.exists(zygote.socket):
                found = zygote
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(found.folder)
        return found

    def wants(self, key: str, make_plan: MakePlan) -> None:
        """Starts one in the background, unless there is one, nobody knows what it should import, or it is no use."""
        with self._lock:
            self._recipes[key] = make_plan
            if len(self._recipes) > _RECIPES:
                del self._recipes[next(iter(self._recipes))]
        if (self._folder / key / "imports.json").exists():
            self._start_soon(key)

    def learn(self, key: str, told: Path) -> None:
        """Takes what a worker has told. Where a whole library is new, another zygote takes the place of the present
        one; single modules wait for the next one: which of them a library imports depends on who else did.
        """
        names = _read_told(told)
        if names is None:
            return
        with only_one(self._folder / key) as folder:
            path = folder / "imports.json"
            known = _read_names(path)
            more = list(dict.fromkeys([*(known or ()), *names]))
            if known is None or (len(more) > len(known) and len(json.dumps(more)) <= MOST_BYTES):
                shim.write_json(str(path), more)
                if known is None or _libraries(more) != _libraries(known):
                    for zygote in self._of(key):
                        (zygote.folder / "outdated").touch()
        self._start_soon(key)

    def forked(self, key: str) -> None:
        """A worker was forked."""
        with self._lock:
            self._declines.pop(key, None)

    def declined(self, key: str, zygote: Zygote, reason: str) -> None:
        """A worker could not be forked from it: another one takes its place, three times in a row at most.

        Its workers keep it; without them it ends.
        """
        log.warning("no worker could be forked from the zygote in %s: %s", zygote.folder, reason)
        zygote.retire()
        if zygote.is_alive and not zygote.has_workers:
            zygote.end()
        with self._lock:
            self._declines[key] = declines = self._declines.get(key, 0) + 1
        if declines >= _MOST_DECLINES:
            self._give_up(self._folder / key, reason)

    def end_all(self) -> None:
        """Ends all zygotes, and their workers with them, and waits for that."""
        with self._lock:
            self._closed = True
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            with self._lock:
                is_starting = bool(self._starting)
            living = [zygote for zygote in self._all() if shim.process_started(zygote.shim) == zygote.shim_started]
            for zygote in living:
                if not (zygote.folder / "stop.json").exists():
                    zygote.end()
            if not living and not is_starting:
                return
            time.sleep(0.01)

    def _start_soon(self, key: str) -> None:
        with self._lock:
            is_early = time.monotonic() - self._tried.get(key, -_START_AGAIN_SECONDS) < _START_AGAIN_SECONDS
            if self._closed or key in self._starting or key not in self._recipes:
                return
            if is_early and not self._is_outdated(key):
                return
            self._starting.add(key)
            self._tried[key] = time.monotonic()
        threading.Thread(target=self._start, args=(key,), name="zygote", daemon=True).start()

    def _is_outdated(self, key: str) -> bool:
        """The last one did not fail, but makes room for one that knows more."""
        return any(zygote.is_outdated for zygote in self._of(key)[:1])

    def _start(self, key: str) -> None:
        try:
            with only_one(self._folder / key) as folder:
                living = [zygote for zygote in self._of(key) if zygote.is_alive]
                imports = _read_names(folder / "imports.json")
                if imports is None or any(not zygote.is_outdated for zygote in living):
                    return
                self._forget_ended(folder, living)
                if (folder / "given_up").exists() or not self._has_room():
                    return
                made = folder / f"z-{time.time_ns():016x}"
                (made / "run").mkdir(mode=0o700, parents=True)
                answer = self._run_shim(self._recipes[key](made, imports))
                if "error" in answer:
                    log.warning("a zygote could not be started: %s", answer["error"])
                    shim.remove(str(made))
        except Exception:
            log.exception("a zygote could not be started; workers are started one by one")
        finally:
            with self._lock:
                self._starting.discard(key)

    def _forget_ended(self, folder: Path, living: list[Zygote]) -> None:
        kept = {zygote.folder for zygote in living}
        for ended in sorted(set(folder.glob("z-*")) - kept):
            with contextlib.suppress(OSError, ValueError):
                if json.loads((ended / "exit.json").read_text())["code"] == THREADS_STATUS:
                    why = "".join(path.read_text("utf-8", "replace") for path in sorted(ended.glob("log.*")))[-500:]
                    self._give_up(folder, why.strip())
            shim.remove(str(ended))

    def _give_up(self, folder: Path, why: str) -> None:
        (folder / "given_up").write_text(why, "utf-8")
        log.warning("workers like those of zygote %s are started one by one from now on: %s", folder.name, why)

    def _has_room(self) -> bool:
        """Ends the one that was used least recently, if it has no workers."""
        living = [zygote for zygote in self._all() if zygote.is_alive]
        if len(living) < self._most:
            return True
        idle = [zygote for zygote in living if not zygote.has_workers]
        if not idle:
            return False
        min(idle, key=lambda zygote: zygote.folder.stat().st_mtime).end()
        return True

    def _all(self) -> list[Zygote]:
        keys = [entry.name for entry in self._folder.iterdir()] if self._folder.exists() else []
        return [zygote for key in keys for zygote in self._of(key)]

    def _of(self, key: str) -> list[Zygote]:
        """All that were started for a key, the last one first."""
        found = []
        for folder in sorted((self._folder / key).glob("z-*"), reverse=True):
            with contextlib.suppress(OSError, ValueError, KeyError):
                data = json.loads((folder / "handle.json").read_text("utf-8"))
                if data["boot"] == shim.boot_id():
                    found.append(
                        Zygote(
                            folder,
                            data["socket"],
                            data["worker_pid"],
                            data["worker_started"],
                            data["shim_pid"],
                            data["shim_started"],
                        )
                    )
        return found


def _read_told(path: Path) -> list[str] | None:
    """What of a worker's word is taken: names of modules of libraries that are known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            names = json.loads(file.read(MOST_BYTES + 1))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(names, list):
        return None
    fitting = (name for name in names if isinstance(name, str) and _MODULE.fullmatch(name))
    return list(dict.fromkeys(name for name in fitting if name.partition(".")[0] in KNOWN_LIBRARIES))


def _libraries(names: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def _read_names(path: Path) -> list[str] | None:
    try:
        names: list[str] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return names
