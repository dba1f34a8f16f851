"""Starts the server of a Truss folder, which is the working folder, on the loopback only: it listens everywhere."""

import os
import sys
from typing import Any

import uvicorn

sys.path.insert(0, os.getcwd())


class OnLoopback(uvicorn.Config):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"host": "127.0.0.1"})


if __name__ == "__main__":
    uvicorn.Config = OnLoopback  # type: ignore[misc]
    from truss_server import TrussServer

    TrussServer(int(sys.argv[1]), "config.yaml").start()
