"""Replicas on their way up: whoever follows them knows at once when they can answer, or never will."""

from __future__ import annotations

import queue
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tenfold_deploy.fake import FakeScheduler
from tenfold_deploy.scheduler import Handle, Observation, ReplicaSpec, ReplicaState
from tenfold_platform.controller.arrivals import Arrivals
from tenfold_platform.controller.probe import Health
from tenfold_runtime.frames import Decoder, encode


class At(FakeScheduler):
    """Its replicas listen where a test says."""

    address: str | None = None

    def observe(self, handle: Handle) -> Observation:
        seen = super().observe(handle)
        if seen.state is ReplicaState.EXITED or self.address is None:
            return seen
        return Observation(ReplicaState.RUNNING, address=self.address)


class World:
    def __init__(self) -> None:
        self.scheduler = At(lambda: datetime(2026, 3, 1, tzinfo=UTC))
        self.arrived: queue.Queue[tuple[UUID, Handle, str, Health]] = queue.Queue()
        self.arrivals = Arrivals(self.scheduler, lambda *told: self.arrived.put(told))

    def follow(self) -> tuple[UUID, Handle]:
        spec = ReplicaSpec(replica_id=str(uuid4()), kind="code", python="/py", code_root="/code")
        handle, deployment_id = self.scheduler.start(spec), uuid4()
        self.arrivals.follow(deployment_id, handle)
        return deployment_id, handle


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.arrivals.close()


@pytest.fixture
def worker() -> Iterator[Callable[[str, threading.Event], str]]:
    """The address of a worker that answers `health` with a state once it is told to."""
    folder = Path(tempfile.mkdtemp(prefix="tf-"))
    listeners: list[socket.socket] = []

    def start(state: str, told: threading.Event) -> str:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "worker.sock"))
        listener.listen()
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, state, told), daemon=True).start()
        return f"unix:{folder}/worker.sock"

    def serve(listener: socket.socket, state: str, told: threading.Event) -> None:
        accepted, _ = listener.accept()
        with accepted:
            (frame,) = Decoder().feed(accepted.recv(65536))
            assert frame.header["op"] == "health"
            assert frame.header["wait_seconds"] > 0
            told.wait(20)
            accepted.sendall(encode({"id": frame.id, "ok": True, "state": state}))

    yield start
    for listener in listeners:
        listener.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("state", ["ready", "failed"])
def test_one_that_has_loaded_or_failed_is_told_at_once(world: World, worker: Any, state: str) -> None:
    told = threading.Event()
    world.scheduler.address = worker(state, told)
    deployment_id, handle = world.follow()
    with pytest.raises(queue.Empty):
        world.arrived.get(timeout=0.1)
    told.set()
    assert world.arrived.get(timeout=20) == (deployment_id, handle, world.scheduler.address, Health(state))


def test_one_that_ends_is_told(world: World) -> None:
    deployment_id, handle = world.follow()
    world.scheduler.crash(handle.replica_id)
    assert world.arrived.get(timeout=20) == (deployment_id, handle, "", Health("unreachable"))


def test_nobody_is_followed_after_the_end(world: World) -> None:
    world.arrivals.close()
    world.follow()
    with pytest.raises(queue.Empty):
        world.arrived.get(timeout=0.1)
