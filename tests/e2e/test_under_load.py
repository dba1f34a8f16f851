"""What callers notice of changes, and of each other: versions come and go, a model gets more calls than it can take."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect
from prometheus_client.parser import text_string_to_metric_families

from tenfold.client import Client
from tenfold.models import Model

from ..installation import QUEUE_LENGTH, TLS
from .conftest import ROOT, Deploy, Installation, wait_for
from .test_studio import sign_in

pytestmark = pytest.mark.e2e

SWITCHES = 20
ROLLBACKS = 5
PER_SECOND = 50
PATIENCE_SECONDS = 120
CALLERS = 1000
MOST_SLOTS = 8  # what a replica works on, and a few more for it to go on with
SLOW_SECONDS = 0.05
ALONE_SECONDS = 6.0
GROWTH_BYTES = 64 * 1024 * 1024  # of the gateway, for a thousand connections it did not have before
FIGURES = ROOT / "test-output" / "figures.jsonl"

SAYS = """
class Model:
    def predict(self, inputs):
        return {{"version": {number}, "n": inputs["n"]}}
"""
SLOW = """
import time

class Model:
    def predict(self, inputs):
        while inputs["n"] < 0:  # until its caller leaves
            time.sleep(0.01)
        time.sleep({seconds})
        return inputs
"""


@dataclass(frozen=True)
class Answer:
    """When it was asked for and when it came, on the monotonic clock."""

    asked_at: float
    came_at: float
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seconds(self) -> float:
        return self.came_at - self.asked_at


@dataclass
class Caller:
    """Asks at an address, on connections that it keeps. What broke off is an answer of status 0."""

    url: str
    key: str
    answers: list[Answer] = field(default_factory=list)
    _free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, value: Any) -> Answer:
        asked_at = time.monotonic()
        try:
            status, headers, body = await asyncio.wait_for(self._exchange(value), PATIENCE_SECONDS)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            status, headers, body = 0, {}, repr(error).encode()
        answer = Answer(asked_at, time.monotonic(), status, headers, body)
        self.answers.append(answer)
        return answer

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()

    async def _exchange(self, value: Any) -> tuple[int, dict[str, str], bytes]:
        if self._free:
            reader, writer = self._free.pop()
        else:
            address = urlsplit(self.url)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            return await self._send(reader, writer, value)
        except BaseException:
            writer.close()
            raise

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, value: Any
    ) -> tuple[int, dict[str, str], bytes]:
        address = urlsplit(self.url)
        body = json.dumps(value).encode()
        head = (
            f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        answer = await reader.readexactly(int(headers["content-length"]))
        self._free.append((reader, writer))
        return int(first.split(" ")[1]), headers, answer


class Steady:
    """So many calls a second in a thread of their own, until told to stop. Late ones are not left out."""

    def __init__(self, caller: Caller, per_second: float) -> None:
        self.caller = caller
        self._interval = 1 / per_second
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    async def _run(self) -> None:
        began, asked = time.monotonic(), 0
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping.is_set():
                due = int((time.monotonic() - began) / self._interval) + 1
                for number in range(asked, due):
                    tasks.create_task(self.caller.ask({"n": number}))
                asked = due
                await asyncio.sleep(self._interval / 2)
        self.caller.close()


def caller(platform: Installation, model: Model) -> Caller:
    return Caller(model.url, platform.profile["key"])


def replica_states(model: Model, version: int) -> Counter[str]:
    found = model.client.get("models", model.name, "versions", version)
    return Counter(one["state"] for one in found["deployment"]["replicas"])


def is_drained(model: Model, version: int) -> bool:
    return not set(replica_states(model, version)) - {"stopped", "failed"}


# In a process of its own: a thousand callers beside it must not delay what it measures.
ASKS = """
import http.client, json, sys, threading, time
host, port, path, key = sys.argv[1:]
stopping = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopping.set())).start()
connection, calls = http.client.HTTPConnection(host, int(port)), []
headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
while not stopping.wait(0.005):
    asked_at = time.monotonic()
    connection.request("POST", path, b'{"n": 1}', headers)
    answer = connection.getresponse()
    answer.read()
    calls.append((asked_at, time.monotonic() - asked_at, answer.status))
print(json.dumps(calls))
"""


class Other:
    """Somebody who asks another model all the time. `calls`, afterwards: when, for how long, with what status."""

    def __init__(self, platform: Installation, model: Model) -> None:
        address = urlsplit(model.url)
        told = [str(part) for part in (address.hostname, address.port, address.path, platform.profile["key"])]
        self._process = subprocess.Popen(
            [sys.executable, "-c", ASKS, *told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.calls: list[tuple[float, float, int]] = []

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        said, _ = self._process.communicate("", PATIENCE_SECONDS)
        assert self._process.returncode == 0
        self.calls = [tuple(call) for call in json.loads(said)]


@dataclass
class Periods:
    """Which version could answer when: from when it was asked for until it was seen to be gone."""

    current: int
    since: float
    ended: list[tuple[int, float, float]] = field(default_factory=list)

    def allows(self, version: int, asked_at: float) -> bool:
        spans = [*self.ended, (self.current, self.since, float("inf"))]
        return any(version == one and begin <= asked_at <= end for one, begin, end in spans)


def test_no_call_notices_that_versions_are_switched(platform: Installation, deploy: Deploy, client: Client) -> None:
    """20 new versions and 5 rollbacks under 50 calls a second."""
    name = "switched"
    deploy(SAYS.format(number=1), name)
    model = client.model(name)
    asking = caller(platform, model)
    periods = Periods(1, time.monotonic())

    def switch(change: Callable[[], Any]) -> None:
        before, began = periods.current, time.monotonic()
        change()
        now = int(client.get("models", name)["production_version"])
        assert now != before
        wait_for(lambda: version_of(asking.answers[-1]) == now, PATIENCE_SECONDS)
        wait_for(lambda: is_drained(model, before), PATIENCE_SECONDS)
        periods.ended.append((before, periods.since, time.monotonic()))
        periods.current, periods.since = now, began

    with Steady(asking, PER_SECOND):
        wait_for(lambda: len(asking.answers) > PER_SECOND, PATIENCE_SECONDS)
        for number in range(2, SWITCHES + 2):
            code = SAYS.format(number=number)
            switch(lambda code=code: deploy(code, name, alias="production"))
        for _ in range(ROLLBACKS):
            switch(model.rollback)
        asked = len(asking.answers)
        wait_for(lambda: len(asking.answers) > asked + PER_SECOND, PATIENCE_SECONDS)

    answers = asking.answers
    assert [answer for answer in answers if answer.status != 200] == []
    assert all(json.loads(answer.body)["version"] == version_of(answer) for answer in answers)
    assert {version_of(answer) for answer in answers} == set(range(1, SWITCHES + 2))
    late = [answer for answer in answers if not periods.allows(version_of(answer), answer.asked_at)]
    assert late == [], "a version answered after it was drained"
    took = sorted(answer.seconds for answer in answers)
    note("switches", calls=len(answers), p50=at(took, 0.5), p99=at(took, 0.99), slowest=took[-1])


def test_a_model_with_too_many_calls_harms_nobody_else(platform: Installation, deploy: Deploy, client: Client) -> None:
    """1,000 calls at once to a slow model: its slots and its queue are answered, the others told to come back.

    The model is held until all of them are there, however long that takes.
    """
    deploy(SLOW.format(seconds=SLOW_SECONDS), "slow")
    deploy(SAYS.format(number=1), "other")
    slow = caller(platform, client.model("slow"))
    gateway = platform.pids()["gateway"]

    async def crowd() -> list[Answer]:
        holding = asyncio.create_task(slow.ask({"n": -1}))
        await until(lambda: gauge(platform, "tenfold_model_in_flight", model="slow") == 1)
        asked = [asyncio.create_task(slow.ask({"n": number})) for number in range(CALLERS)]
        refused = CALLERS - QUEUE_LENGTH - MOST_SLOTS
        await until(lambda: sum(answer.status == 429 for answer in slow.answers) >= refused)
        assert gauge(platform, "tenfold_model_queue_length", model="slow") == QUEUE_LENGTH
        holding.cancel()
        answers = await asyncio.gather(*asked)
        slow.close()
        return answers

    with Other(platform, client.model("other")) as other:
        time.sleep(ALONE_SECONDS)
        before_bytes, began = rss_bytes(gateway), time.monotonic()
        with ThreadPoolExecutor(1) as beside:  # the browser of other tests has a loop in this thread
            answers = beside.submit(asyncio.run, crowd()).result()
        grown, ended = rss_bytes(gateway) - before_bytes, time.monotonic()
    assert all(status == 200 for _, _, status in other.calls)
    before = [seconds for asked_at, seconds, _ in other.calls if began - ALONE_SECONDS / 2 < asked_at < began]
    during = [seconds for asked_at, seconds, _ in other.calls if began < asked_at < ended]

    by_status = Counter(answer.status for answer in answers)
    slots = by_status[200] - QUEUE_LENGTH
    assert by_status.keys() == {200, 429}
    assert 1 <= slots <= MOST_SLOTS, by_status
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status == 429)
    assert all(json.loads(answer.body)["error"]["code"] == "queue_full" for answer in answers if answer.status == 429)
    assert sorted(json.loads(a.body)["n"] for a in answers if a.status == 200) == sorted(
        number for number, answer in enumerate(answers) if answer.status == 200
    )
    assert grown < GROWTH_BYTES, f"{grown / 2**20:.1f} MiB"
    p99 = [at(sorted(took), 0.99) for took in (before, during)]
    note("crowd", slots=slots, grown_mib=grown / 2**20, other_p99_before=p99[0], other_p99_during=p99[1],
         times=p99[1] / p99[0], others_asked=len(during))  # fmt: skip
    assert at(sorted(during), 0.5) < 20 * at(sorted(before), 0.5)  # behind that queue it would be hundreds of times
    assert replica_states(client.model("slow"), 1)["ready"] == 1


def test_the_load_page_shows_who_waits(
    platform: Installation, deploy: Deploy, client: Client, page: Page, screenshot: Callable[[Page, str], None]
) -> None:
    deploy(SLOW.format(seconds=SLOW_SECONDS), "held")
    deploy(SAYS.format(number=1), "idle")
    rooms = sign_in(page, platform)
    for _ in range(3):
        client.model("idle").predict({"n": 1})
    with Held(caller(platform, client.model("held")), 7):
        page.goto(f"{rooms}/load")
        held = page.get_by_role("row").filter(has_text="held")
        expect(held.get_by_role("cell").nth(4)).to_have_text("5", timeout=60_000)
        expect(held).to_contain_text("1 of 1")
        idle = page.get_by_role("row").filter(has_text="idle")
        expect(idle.get_by_role("cell").nth(2)).not_to_have_text("0", timeout=60_000)
        screenshot(page, "load")
    expect(held.get_by_role("cell").nth(4)).to_have_text("0", timeout=60_000)
    page.get_by_role("link", name="held").click()
    expect(page.get_by_role("heading", name="held")).to_be_visible(timeout=60_000)


class Held:
    """So many calls that are not answered, and end with the block."""

    def __init__(self, caller: Caller, count: int) -> None:
        self._caller = caller
        self._count = count
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._calls: list[Future[Answer]] = []

    def __enter__(self) -> Held:
        self._thread.start()
        asks = (self._caller.ask({"n": -1}) for _ in range(self._count))
        self._calls = [asyncio.run_coroutine_threadsafe(ask, self._loop) for ask in asks]
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._calls:
            call.cancel()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 (it happens in another process)
            await asyncio.sleep(0.05)


def gauge(platform: Installation, name: str, *, model: str) -> float:
    """One of the gateway's numbers about a model's first version; 0 as long as there is none."""
    for family in text_string_to_metric_families(httpx.get(f"{platform.gateway}/metrics", timeout=60, verify=TLS).text):
        for sample in family.samples:
            if sample.name == name and sample.labels["model"] == model:
                return float(sample.value)
    return 0.0


def version_of(answer: Answer) -> int:
    return int(answer.headers.get("x-tenfold-version", 0))


def at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def note(what: str, **figures: float) -> None:
    """Kept for a person to read: figures of one machine are no promise."""
    rounded = {name: round(value, 4) for name, value in figures.items()}
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    with FIGURES.open("a") as file:
        file.write(json.dumps({"what": what, **rounded}) + "\n")
    sys.stdout.write(f"{what}: {rounded}\n")
