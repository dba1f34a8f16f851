"""Predictions that are answered later: the platform has them, whatever becomes of this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

from tenfold.client import Client
from tenfold.errors import Conflict, TimedOut, error_of

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED = ("succeeded", "failed", "cancelled")
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0


class AsyncPrediction:
    """One prediction that was accepted, from `Model.predict_async` or (by its `id`) `Model.prediction`.

    Its answer is kept for seven days.
    """

    def __init__(
        self,
        client: Client,
        told: dict[str, Any],
        read: Callable[[Any], Any] = lambda output: output,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.id = str(told["id"])
        self.url = str(told["url"])
        self._told = told
        self._read = read
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<AsyncPrediction {self.id}: {self._told['state']}>"

    @property
    def state(self) -> State:
        """queued, running, succeeded, failed or cancelled, as it is now."""
        if self._told["state"] not in ENDED:
            self._told = self.client.gateway.json("GET", self._path)
        found: State = self._told["state"]
        return found

    def done(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in ENDED

    def result(self, timeout: float | None = None) -> Any:
        """What `predict` would have returned, once it is there. `timeout` is in seconds; None waits for ever.

        Raises what `predict` would have raised, Conflict when it was cancelled, and TimedOut when it has not ended in
        time: it goes on then, and may be asked for again.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_PAUSE_SECONDS
        while not self.done():
            left = math.inf if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(
                    f"The prediction {self.id} is {self._told['state']} after {timeout:g} s.",
                    hint="It goes on: ask for its result again later.",
                )
            self._sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        if self._told["state"] == "cancelled":
            raise Conflict(f"The prediction {self.id} was cancelled.", code="cancelled")
        if self._told["state"] == "failed":
            raise error_of(int(self._told.get("status") or 500), {"error": self._told.get("error")})
        return self._read(self._told.get("output"))

    def cancel(self) -> bool:
        """Stops it, or keeps it from being begun. False when it had ended before."""
        if self._told["state"] not in ENDED:
            self._told = self.client.gateway.json("DELETE", self._path)
        return bool(self._told["state"] == "cancelled")

    @property
    def _path(self) -> str:
        return urlsplit(self.url).path
