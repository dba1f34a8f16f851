"""The worker's command line: `python -m tenfold_runtime --kind model --root DIR --listen unix:PATH`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional

from tenfold_runtime import imports, memory, streams, threads
from tenfold_runtime.bundles import CodeHost
from tenfold_runtime.frames import MAX_PAYLOAD_BYTES, parse_address
from tenfold_runtime.managed import ServerHost, has_own_server
from tenfold_runtime.model import ModelHost
from tenfold_runtime.pack import Pack
from tenfold_runtime.server import TERMINATION_GRACE_SECONDS, Host, Server, on_termination


def main(arguments: Optional[List[str]] = None) -> None:
    options = _read(arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory.keep_what_is_freed()
    streams.install()
    _leave_own_folder()
    asyncio.run(_serve(options))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of user code may hang, and would keep an ordinary exit waiting


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    if options.kind == "pack":
        await Pack(options.root, options.listen, options.max_payload, options.tell_imports).serve()
        return
    host: Host
    if options.kind == "code":
        host = CodeHost(options.code_root, loop)
    elif has_own_server(options.root):
        host = ServerHost(options.root, options.secrets_dir, loop)
    else:
        host = model = ModelHost(options.root, options.secrets_dir, options.environment, loop)
        threads.keep(loop.create_task(_settle(model, options.tell_imports)))
    server = Server(
        host,
        options.listen,
        digest=options.digest,
        max_payload=options.max_payload,
        grace_seconds=options.grace_seconds,
    )
    on_termination(loop, server.terminate)
    await server.serve()


async def _settle(host: ModelHost, told_imports: Optional[str]) -> None:
    """What is there after loading stays: collections of garbage look at what requests leave behind, and not at every
    object of every library. Reading a picture in JSON makes 50,000 lists, and collections that took longer than that.
    """
    await host.loaded()
    gc.freeze()
    if told_imports is not None and (await host.health())["state"] == "ready":
        imports.tell(told_imports)


def _leave_own_folder() -> None:
    """The worker is started in the folder that holds its runtime; user code imports nothing from there, and works
    elsewhere.
    """
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]
    os.chdir(os.environ.get("HOME") or os.sep)
    main_module = sys.modules["__main__"]
    main_module.__spec__ = (
        None  # processes that user code spawns must not try to import the worker as their main module
    )
    vars(main_module).pop("__file__", None)


def _read(arguments: Optional[List[str]]) -> argparse.Namespace:
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.kind in ("model", "pack") and not options.root:
        parser.error(f"--kind {options.kind} needs --root")
    if options.kind == "code" and not options.code_root:
        parser.error("--kind code needs --code-root")
    return options


@lru_cache
def command_line() -> argparse.ArgumentParser:
    """What the arguments can be. A zygote asks once, for all workers that are forked from it."""
    parser = argparse.ArgumentParser(
        prog="tenfold_runtime", description="Runs a model or an app's code for a Tenfold platform."
    )
    parser.add_argument("--kind", choices=["model", "code", "pack"], required=True)
    parser.add_argument("--root", type=_folder, help="the model's package folder, or a pack's folder of members")
    parser.add_argument("--code-root", type=_folder, help="the folder of code bundles, one folder per digest")
    parser.add_argument("--secrets-dir", type=_folder, help="a folder with one file per secret")
    parser.add_argument("--environment", type=_object, help="what the model is deployed as: a JSON object")
    parser.add_argument("--digest", help="told back in health answers")
    parser.add_argument("--listen", type=parse_address, required=True, help="unix:PATH or tcp:HOST:PORT")
    parser.add_argument("--tell-imports", help="the path of a file: what a loaded model has imported")
    parser.add_argument("--max-payload", type=int, default=MAX_PAYLOAD_BYTES, help="bytes")
    parser.add_argument("--grace-seconds", type=float, default=TERMINATION_GRACE_SECONDS, help="for SIGTERM")
    return parser


def _object(text: str) -> Optional[Dict[str, Any]]:
    value = json.loads(text)
    if value is not None and not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _folder(path: str) -> Path:
    return Path(path).resolve()


if __name__ == "__main__":
    main()
