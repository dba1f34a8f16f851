"""Where calls wait for a replica, and which one they get.

Each deployment has a lane: its ready replicas with so many slots each, and one bounded queue. The snapshot says which
replicas there are; what the lane itself learns from sockets (refused, lost) only ever makes it more careful.

What needs none of a model's places to predict has lanes of its own, so that none waits for the other: websockets and
the methods beside `predict` have one, questions about the model (probes, its schema, its metrics) another.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from uuid import UUID

from tenfold_platform.gateway.faults import GatewayFault, NotReady, QueueFull, TimedOut, WorkerLost
from tenfold_platform.gateway.snapshot import MAX_CONCURRENCY, Deployment, Replica, Snapshot
from tenfold_platform.gateway.wire import Answer, Connection, Exchange, connect
from tenfold_runtime.frames import Address, parse_address

Use = Literal["predict", "beside", "ask"]
Wake = Callable[[UUID], None]

MAX_IDLE = 64  # connections to one replica that wait for the next call
WAIT_BOUNDS_SECONDS = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """`lookahead`: how many calls more than it works on a replica is handed, so that it never waits for the next.

    `beside_slots`: how many websockets and calls of the methods beside `predict` a replica gets at once; `ask_slots`:
    how many questions.
    """

    queue_length: int = 100
    hold_seconds: float = 30.0
    lookahead: int = 1
    beside_slots: int = 256
    ask_slots: int = 16
    retry_connect_seconds: float = 0.1
    retry_connect_cap_seconds: float = 1.0


class Pool:
    """All lanes, kept in step with the snapshot by `update`. `wake` is asked for a replica of what sleeps."""

    def __init__(self, limits: PoolLimits | None = None, wake: Wake = lambda _: None) -> None:
        self.limits = limits or PoolLimits()
        self._wake = wake
        self._slots: dict[Use, int | None] = {
            "predict": None, "beside": self.limits.beside_slots, "ask": self.limits.ask_slots,
        }  # fmt: skip
        self._lanes: dict[Use, dict[UUID, Lane]] = {use: {} for use in self._slots}

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lanes in self._lanes.values() for lane in lanes.values())

    @property
    def in_flight(self) -> int:
        return sum(lane.in_flight for lanes in self._lanes.values() for lane in lanes.values())

    def update(self, snapshot: Snapshot) -> None:
        for lanes in self._lanes.values():
            for id in lanes.keys() - snapshot.deployments.keys():
                lanes.pop(id).close()
            for id, lane in lanes.items():
                lane.update(snapshot.deployments[id])

    def lane(self, deployment: Deployment, use: Use = "predict") -> Lane:
        lanes = self._lanes[use]
        lane = lanes.get(deployment.id)
        if lane is None:
            lane = lanes[deployment.id] = Lane(deployment, self.limits, slots=self._slots[use], wake=self._wake)
        return lane

    def wake(self, deployment: Deployment) -> None:
        """There is work for it, which does not wait in a lane."""
        if deployment.is_asleep:
            self._wake(deployment.id)

    def predicting(self) -> Mapping[UUID, Lane]:
        """The lanes of calls to predict, by deployment."""
        return self._lanes["predict"]

    def loads(self) -> Iterator[tuple[UUID, int, int]]:
        """How many calls of each deployment wait, and are worked on. Questions do not count."""
        predict, beside = self._lanes["predict"], self._lanes["beside"]
        for id in predict.keys() | beside.keys():
            lanes = [lane for lane in (predict.get(id), beside.get(id)) if lane is not None]
            yield id, sum(lane.waiting for lane in lanes), sum(lane.in_flight for lane in lanes)

    def scaled(self) -> Iterator[tuple[UUID, list[Lane]]]:
        """The lanes whose calls decide how many replicas their deployment has. Questions do not count."""
        for id, lane in self._lanes["predict"].items():
            if lane.deployment.is_scaled:
                beside = self._lanes["beside"].get(id)
                yield id, [lane] if beside is None else [lane, beside]
        for id, lane in self._lanes["beside"].items():
            if lane.deployment.is_scaled and id not in self._lanes["predict"]:
                yield id, [lane]

    def close(self) -> None:
        for lanes in self._lanes.values():
            for lane in lanes.values():
                lane.close()
            lanes.clear()


class Waits:
    """How long calls waited for a replica, those included that gave up: so many up to each of WAIT_BOUNDS_SECONDS, and
    those beyond.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(WAIT_BOUNDS_SECONDS) + 1)
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        self.counts[bisect_left(WAIT_BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds


class Endpoint:
    """One replica: its connections and how many calls it has."""

    __slots__ = ("address", "failures", "gone", "idle", "in_flight", "replica_id", "slots", "suspect")

    def __init__(self, replica_id: UUID, address: Address, slots: int) -> None:
        self.replica_id = replica_id
        self.address = address
        self.slots = slots
        self.in_flight = 0
        self.idle: list[Connection] = []
        self.failures = 0
        self.suspect = False  # could not be reached a moment ago
        self.gone = False  # no longer in the snapshot

    @property
    def free(self) -> bool:
        return self.in_flight < self.slots and not self.suspect and not self.gone

    def idle_connection(self) -> Connection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.usable:
                return connection
        return None

    async def connection(self) -> Connection:
        """An idle connection or a new one. Raises OSError."""
        connection = self.idle_connection()
        if connection is None:
            connection = await connect(self.address, self._lost)
            self.failures = 0
        return connection

    def put_back(self, connection: Connection, *, reusable: bool) -> None:
        """One that has ended meanwhile is noticed when it is to be used."""
        if reusable and not self.gone and len(self.idle) < min(self.slots, MAX_IDLE):
            self.idle.append(connection)
        else:
            connection.close()

    def retire(self) -> None:
        """The snapshot dropped it: what is under way may finish, nothing new begins."""
        self.gone = True
        self.close_idle()

    def close_idle(self) -> None:
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def _lost(self, connection: Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)


class Waiter:
    """Somebody's place in a queue. `granted` gets the replica whose slot is theirs now, `refused` why there is none.

    Either is called once, and neither after the waiter was withdrawn.
    """

    __slots__ = ("deadline", "granted", "refused", "since", "timer")

    def __init__(
        self,
        since: float,
        deadline: float,
        granted: Callable[[Endpoint], None],
        refused: Callable[[GatewayFault], None],
    ) -> None:
        self.since = since
        self.deadline = deadline
        self.granted = granted
        self.refused = refused
        self.timer: asyncio.TimerHandle | None = None


class Lane:
    """The way to one deployment. `call` is all that others need.

    `slots`: how many calls one replica gets at once; as many as it works on, and a few more, unless said.
    """

    def __init__(
        self, deployment: Deployment, limits: PoolLimits, slots: int | None = None, wake: Wake = lambda _: None
    ) -> None:
        self._limits = limits
        self._slots = slots
        self._wake = wake
        self._deployment = deployment
        self._places = deployment.concurrency  # how many calls a replica works on at once
        self.used_at = 0.0  # time.monotonic() of the last answer
        self.reads_requests = True  # its method may take the caller's request, until a worker says that it does not
        self._endpoints: dict[UUID, Endpoint] = {}
        self._waiting: deque[Waiter] = deque()
        self.waits = Waits()
        self._answered_at = time.monotonic()
        self._closed = False
        self._dispatching = False
        self.update(deployment)

    @property
    def deployment(self) -> Deployment:
        return self._deployment

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        return sum(endpoint.in_flight for endpoint in self._endpoints.values())

    @property
    def load(self) -> float:
        """How many replicas its calls would fill now."""
        return (self.waiting + self.in_flight) / (self._slots or self._places)

    @property
    def is_idle(self) -> bool:
        """Whether a replica has a place where nobody works, so that a further call keeps nobody waiting."""
        concurrency = self._deployment.concurrency
        return not self._waiting and any(
            endpoint.free and endpoint.in_flight < concurrency for endpoint in self._endpoints.values()
        )

    @property
    def is_reachable(self) -> bool:
        """Whether a replica is there that answered when it was last tried."""
        for endpoint in self._endpoints.values():  # noqa: SIM110 (a generator costs more, on every call)
            if not endpoint.suspect and not endpoint.gone:
                return True
        return False

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be taken, or wait its turn."""
        return self.is_reachable and len(self._waiting) < self._limits.queue_length

    def check(self) -> None:
        """Raises at once what a call would raise at once: for callers that have not read their body yet."""
        if not self.is_reachable:
            self.refuse_if_hopeless()
        if len(self._waiting) >= self._limits.queue_length and not self._pick():
            raise QueueFull(len(self._waiting))

    async def call(self, header: dict[str, Any], payload: bytes, timeout_seconds: float) -> tuple[Exchange, Answer]:
        """Sends one request to the replica with the most room and waits for its first answer.

        A replica that cannot be reached, or has not loaded yet, has not seen the request: another is tried, for as
        long as requests are held. Raises a GatewayFault. Cancelling the caller cancels the request. The caller reads
        the rest of a stream from the exchange, and cancels the exchange if it stops early.
        """
        began = time.monotonic()
        deadline = began + timeout_seconds
        again = False
        while True:
            endpoint = await self._slot(began, deadline, again=again)
            again = True
            try:
                connection = await endpoint.connection()
            except OSError:
                self.release(endpoint)
                self.suspect(endpoint)
                continue
            except BaseException:
                self.release(endpoint)
                raise
            if time.monotonic() >= deadline:
                endpoint.put_back(connection, reusable=True)
                self.release(endpoint)
                raise TimedOut(timeout_seconds, waiting=True)
            exchange = self._begin(endpoint, connection, header, payload)
            try:
                answer = await exchange.next(max(deadline - time.monotonic(), 0.001))
            except WorkerLost:
                self.suspect(endpoint)
                raise
            except TimedOut:
                exchange.cancel()
                raise TimedOut(timeout_seconds) from None
            except BaseException:
                exchange.cancel()
                raise
            if not self.accepts(endpoint, answer):
                continue
            return exchange, answer

    def take(self) -> Endpoint | None:
        """A replica with a free slot, which is the caller's now; None when there is none, or others wait for one."""
        endpoint = None if self._waiting else self._pick()
        if endpoint is not None:
            endpoint.in_flight += 1
        return endpoint

    def wait(self, waiter: Waiter, *, first: bool = False) -> None:
        """Queues for a slot. Raises QueueFull or NotReady; `first` are those who had a slot, and found nobody there."""
        if not self.is_reachable:
            self.refuse_if_hopeless()
        if len(self._waiting) >= self._limits.queue_length and not first:
            raise QueueFull(len(self._waiting))
        if first:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        self._schedule(waiter)
        if self._deployment.is_asleep:
            self._wake(self._deployment.id)

    def withdraw(self, waiter: Waiter) -> None:
        """Leaves the queue, whether or not it is still in it."""
        _stop_timer(waiter)
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def ended(self, endpoint: Endpoint, connection: Connection, reusable: bool) -> None:
        """A call is over: its connection and its slot are given back."""
        endpoint.put_back(connection, reusable=reusable)
        self.release(endpoint)

    def accepts(self, endpoint: Endpoint, answer: Answer) -> bool:
        """Whether this is an answer: a replica that is still loading, or already stopping, has not seen the request."""
        header = answer.header
        if header.get("code") == "not_ready" and not answer.ok:
            self.suspect(endpoint)
            return False
        self._answered_at = self.used_at = time.monotonic()
        if "places" in header:
            self._learn(header["places"])
        if "reads_requests" in header and isinstance(header["reads_requests"], bool):
            self.reads_requests = header["reads_requests"]
        return True

    def refuse_if_hopeless(self) -> None:
        """Raises NotReady when there is nothing to wait for."""
        deployment = self._deployment
        if self._closed or (deployment.desired_replicas < 1 and not deployment.is_asleep):
            hint = "Start it: `tenfold models start`, or the Start button on its page."
            raise NotReady("stopped", "It is stopped.", hint=hint, retry_after_seconds=30)
        if deployment.unhealthy_reason and not deployment.replicas and not deployment.is_asleep:
            wait = max((deployment.retry_at or 0) - time.time(), 5.0)
            message = f"It keeps failing: {deployment.unhealthy_reason}"
            hint = "Its log says more. It is tried again by itself."
            raise NotReady("unhealthy", message, hint=hint, retry_after_seconds=min(wait, 300))

    def not_ready(self) -> NotReady:
        """What to tell somebody for whom no replica was there."""
        reasons = [replica.reason for replica in self._deployment.replicas if replica.reason]
        reason = reasons[-1] if reasons else self._deployment.unhealthy_reason
        state = next((replica.state for replica in self._deployment.replicas), "starting")
        message = f"No replica is ready yet (the newest is {state})" + (f": {reason}" if reason else ".")
        return NotReady("not_ready", message, hint="Try again shortly; its log shows how far it is.")

    def update(self, deployment: Deployment) -> None:
        """The snapshot's word on which replicas there are."""
        self._deployment = deployment
        ready = {replica.id: replica for replica in deployment.ready}
        for id in self._endpoints.keys() - ready.keys():
            self._drop(self._endpoints[id])
        self._places = max(self._places, deployment.concurrency)
        for id, replica in ready.items():
            self._keep(id, replica, self._slots or self._places + self._limits.lookahead)
        self._dispatch()
        self._settle()

    def close(self) -> None:
        """The deployment is gone: nobody waits any longer."""
        self._closed = True
        for endpoint in list(self._endpoints.values()):
            self._drop(endpoint)
        self._settle()

    def _learn(self, places: Any) -> None:
        """What a worker says that puts calls together: it works on so many at once, and needs them at once.

        One that has stopped to do so says that as well.
        """
        if self._slots is not None or type(places) is not int or places == self._places:
            return
        self._places = min(max(places, self._deployment.concurrency), MAX_CONCURRENCY)
        for endpoint in self._endpoints.values():
            endpoint.slots = self._places + self._limits.lookahead
        self._dispatch()

    def _begin(self, endpoint: Endpoint, connection: Connection, header: dict[str, Any], payload: bytes) -> Exchange:
        return connection.begin(header, payload, partial(self.ended, endpoint, connection))

    async def _slot(self, began: float, deadline: float, *, again: bool) -> Endpoint:
        """A replica with a free slot, taken. Waits in the queue; raises QueueFull, NotReady or TimedOut.

        Who was already let in and found nobody there (`again`) has its old place in the queue.
        """
        if again:
            endpoint = self._pick()
            if endpoint is not None:
                endpoint.in_flight += 1
                return endpoint
        elif endpoint := self.take():
            self.waits.counts[0] += 1
            return endpoint
        slot: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        waiter = Waiter(began, deadline, partial(self._fill, slot), partial(_fail, slot))
        self.wait(waiter, first=again)
        try:
            return await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled() and slot.exception() is None:
                self.release(slot.result())
            raise
        finally:
            if not again:
                self.waits.note(time.monotonic() - began)
            self.withdraw(waiter)

    def _fill(self, slot: asyncio.Future[Endpoint], endpoint: Endpoint) -> None:
        if slot.done():  # whoever waited has just been cancelled
            self.release(endpoint)
        else:
            slot.set_result(endpoint)

    def _pick(self) -> Endpoint | None:
        """The free replica that is least busy for its size."""
        best: Endpoint | None = None
        for endpoint in self._endpoints.values():
            if endpoint.in_flight >= endpoint.slots or endpoint.suspect or endpoint.gone:
                continue
            if best is None or endpoint.in_flight * best.slots < best.in_flight * endpoint.slots:
                best = endpoint
        return best

    def release(self, endpoint: Endpoint) -> None:
        """Gives back a slot that was taken or granted."""
        endpoint.in_flight -= 1
        if endpoint.gone and endpoint.in_flight == 0:
            self._forget(endpoint)
        if self._waiting:
            self._dispatch()

    def _dispatch(self) -> None:
        if self._dispatching:  # somebody who was granted a slot has given it back at once: the loop below goes on
            return
        self._dispatching = True
        try:
            while self._waiting and (endpoint := self._pick()):
                waiter = self._waiting.popleft()
                _stop_timer(waiter)
                endpoint.in_flight += 1
                waiter.granted(endpoint)
        finally:
            self._dispatching = False

    def _keep(self, id: UUID, replica: Replica, slots: int) -> None:
        assert replica.address is not None
        known = self._endpoints.get(id)
        address = parse_address(replica.address)
        if known is not None and known.address == address:
            known.slots = slots
            known.gone = False
            return
        if known is not None:
            known.retire()
        self._endpoints[id] = Endpoint(id, address, slots)

    def _drop(self, endpoint: Endpoint) -> None:
        endpoint.retire()
        if endpoint.in_flight == 0:
            self._forget(endpoint)

    def _forget(self, endpoint: Endpoint) -> None:
        if self._endpoints.get(endpoint.replica_id) is endpoint:
            del self._endpoints[endpoint.replica_id]

    def suspect(self, endpoint: Endpoint) -> None:
        """Nobody answered there: leave it alone for a moment."""
        endpoint.close_idle()
        if endpoint.suspect or endpoint.gone:
            return
        endpoint.suspect = True
        endpoint.failures += 1
        limits = self._limits
        delay = min(
            limits.retry_connect_seconds * 2 ** min(endpoint.failures - 1, 10), limits.retry_connect_cap_seconds
        )
        asyncio.get_running_loop().call_later(delay, self._try_again, endpoint)
        self._settle()

    def _try_again(self, endpoint: Endpoint) -> None:
        endpoint.suspect = False
        self._dispatch()

    def _settle(self) -> None:
        """Looks at everybody who waits, after something changed: some have nothing left to wait for."""
        if self.is_reachable:
            return
        try:
            self.refuse_if_hopeless()
        except GatewayFault as fault:
            self._fail_all(fault)
            return
        if self._waiting and self._deployment.is_asleep:
            self._wake(self._deployment.id)
        for waiter in self._waiting:
            self._schedule(waiter)

    def _fail_all(self, fault: GatewayFault) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            _stop_timer(waiter)
            waiter.refused(fault)

    def _schedule(self, waiter: Waiter) -> None:
        _stop_timer(waiter)
        until = waiter.deadline if self.is_reachable else min(waiter.deadline, self._held_until(waiter))
        delay = max(until - time.monotonic(), 0.0)
        waiter.timer = asyncio.get_running_loop().call_later(delay, self._expire, waiter)

    def _expire(self, waiter: Waiter) -> None:
        now = time.monotonic()
        if now < waiter.deadline and (self.is_reachable or now < self._held_until(waiter)):
            self._schedule(waiter)
            return
        self._waiting.remove(waiter)
        if self.is_reachable:
            waiter.refused(TimedOut(waiter.deadline - waiter.since, waiting=True))
        else:
            waiter.refused(self.not_ready())

    def _held_until(self, waiter: Waiter) -> float:
        if self._deployment.min_replicas < 1:
            return waiter.deadline  # who may sleep may be slow to wake: that is no reason to send anybody away
        return max(waiter.since, self._answered_at) + self._limits.hold_seconds


def _stop_timer(waiter: Waiter) -> None:
    if waiter.timer is not None:
        waiter.timer.cancel()
        waiter.timer = None


def _fail(slot: asyncio.Future[Endpoint], fault: GatewayFault) -> None:
    if not slot.done():
        slot.set_exception(fault)


def lane_of(pool: Pool, deployment: Deployment | None, use: Use = "predict") -> Lane:
    """The lane of a deployment. Raises NotReady when there is no deployment at all."""
    if deployment is None:
        raise NotReady("not_deployed", "It has never been started.", hint="Start it from its page.")
    return pool.lane(deployment, use)
