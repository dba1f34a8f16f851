"""The clients: what they raise when the worker is not there, goes away, or speaks something else."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading

import pytest

from tenfold_runtime.client import AsyncClient, Client
from tenfold_runtime.frames import FrameError, parse_address

SLEEPS = "import time\nclass Model:\n    def predict(self, x): time.sleep(x); return x"


def test_nobody_there_is_an_os_error(workers) -> None:
    with pytest.raises(OSError, match=r"."):
        Client("unix:/nowhere/at/all")
    with pytest.raises(OSError, match=r"."):
        asyncio.run(AsyncClient.connect("unix:/nowhere/at/all"))


def test_an_answer_that_does_not_come_in_time_is_a_timeout(workers) -> None:
    client = workers.model(SLEEPS).ready()
    with pytest.raises(TimeoutError):
        client.request("predict", b"5", timeout_seconds=0.1)


def test_a_worker_that_dies_fails_everything_in_flight_and_everything_after(workers) -> None:
    worker = workers.model(SLEEPS)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        assert client.closed is False
        asking = [asyncio.ensure_future(client.request("predict", b"60")) for _ in range(5)]
        while client.in_flight < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        worker.process.send_signal(signal.SIGKILL)
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [isinstance(result, ConnectionError) for result in results] == [True] * 5
        assert client.closed is True
        with pytest.raises(ConnectionError):
            await client.health()
        await client.close()
        await client.close()

    asyncio.run(scenario())


def test_answers_of_abandoned_requests_are_passed_over(workers) -> None:
    worker = workers.model(SLEEPS)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        for _ in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.request("predict", b"0.01"), 0.001)
        assert (await client.request("predict", b"0")).json() == 0
        assert client.in_flight == 0
        await client.close()

    asyncio.run(scenario())


def test_somebody_who_speaks_no_frames_is_a_frame_error() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = parse_address(f"tcp:127.0.0.1:{listener.getsockname()[1]}")

    def answer() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(1000)
            connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with Client(address) as client, pytest.raises(FrameError):
        client.health()

    async def scenario() -> None:
        client = await AsyncClient.connect(address)
        with pytest.raises(FrameError):
            await client.health()
        await client.close()

    asyncio.run(scenario())
    thread.join()
    listener.close()
