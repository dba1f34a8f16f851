"""A worker's address leads to the worker: what it puts in the place of its socket leads nobody to another one."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tenfold_platform import addresses
from tenfold_platform.addresses import pinned
from tenfold_platform.controller.probe import connect as connect_to_ask
from tenfold_platform.controller.probe import probe
from tenfold_platform.gateway import wire
from tenfold_runtime.frames import Address


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tf-") as name:
        yield Path(name)


@pytest.fixture
def victim(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(folder / "victim"))
        listening.listen()
        listening.settimeout(10)
        yield listening


def ways(address: Address) -> list[str]:
    """Those of the platform's ways to a worker that get through."""
    through = []
    for name, loop in (("asyncio", asyncio.new_event_loop()), ("uvloop", uvloop.new_event_loop())):
        try:
            loop.run_until_complete(_ask(address))
            through.append(name)
        except OSError:
            pass
        finally:
            loop.close()
    try:
        connect_to_ask(str(address), 10).close()
        through.append("controller")
    except OSError:
        pass
    return through


async def _ask(address: Address) -> None:
    connection = await wire.connect(address, lambda _: None)
    connection.close()


def test_a_socket_is_reached_in_every_way(folder: Path, victim: socket.socket) -> None:
    assert ways(Address(path=str(folder / "victim"))) == ["asyncio", "uvloop", "controller"]
    for _ in range(3):
        victim.accept()[0].close()


def test_a_tcp_address_is_reached_as_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address(host="127.0.0.1", port=listening.getsockname()[1])
        assert ways(address) == ["asyncio", "uvloop", "controller"]
        with pinned(address) as same:
            assert same == address


@pytest.mark.parametrize("has_proc", [True, False])
def test_what_is_no_socket_leads_nowhere(
    folder: Path, victim: socket.socket, has_proc: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_proc:
        monkeypatch.setattr(addresses, "_OPENED", "/nowhere")
    (folder / "link").symlink_to("victim")
    (folder / "file").touch()
    (folder / "folder").mkdir()
    for name in ("link", "file", "folder", "nothing"):
        address = Address(path=str(folder / name))
        assert ways(address) == []
        assert probe(str(address)).state == "unreachable"
    victim.settimeout(0)
    with pytest.raises(BlockingIOError):
        victim.accept()
    assert ways(Address(path=str(folder / "victim"))) == ["asyncio", "uvloop", "controller"]


def test_a_socket_that_is_exchanged_afterwards_is_not_another_one(folder: Path, victim: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
        own.bind(str(folder / "own"))
        own.listen()
        own.settimeout(10)
        with pinned(Address(path=str(folder / "own"))) as target:
            (folder / "own").unlink()
            (folder / "own").symlink_to("victim")
            target.connect(10).close()
        own.accept()[0].close()
    victim.settimeout(0)
    with pytest.raises(BlockingIOError):
        victim.accept()
