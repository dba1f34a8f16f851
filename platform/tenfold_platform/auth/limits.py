"""How often something may be tried: a fixed window, counted in Redis, or in this process while Redis is away."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import redis

from tenfold_platform.errors import PlatformError

REDIS_TIMEOUT_SECONDS = 0.25
RETRY_REDIS_AFTER_SECONDS = 5.0
MAX_LOCAL_WINDOWS = 10_000

_COUNT = """
local count = redis.call('incr', KEYS[1])
if count == 1 then redis.call('expire', KEYS[1], ARGV[1]) end
return count
"""


class TooManyAttempts(PlatformError):
    status, code = 429, "too_many_attempts"


@dataclass(frozen=True)
class Limit:
    name: str
    attempts: int
    seconds: int


class RateLimiter:
    """Counts attempts per subject (an address, an email). Losing the counts only lets somebody try again."""

    def __init__(self, redis_url: str, *, prefix: str = "tenfold:limit:") -> None:
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
        )
        self._prefix = prefix
        self._local: dict[str, int] = {}
        self._lock = threading.Lock()
        self._redis_away_until = 0.0

    def check(self, limit: Limit, subject: str) -> None:
        """Counts one attempt; raises TooManyAttempts when there have been more than the limit in its window."""
        now = time.time()
        window = int(now // limit.seconds)
        if self._count(f"{self._prefix}{limit.name}:{subject}:{window}", limit.seconds) > limit.attempts:
            wait = max(1, int((window + 1) * limit.seconds - now) + 1)
            raise TooManyAttempts(
                "There have been too many attempts.",
                hint=f"Try again in {wait} seconds.",
                headers={"Retry-After": str(wait)},
            )

    def close(self) -> None:
        self._redis.close()

    def _count(self, name: str, seconds: int) -> int:
        if time.monotonic() >= self._redis_away_until:
            try:
                return int(str(self._redis.eval(_COUNT, 1, name, str(seconds))))
            except redis.RedisError:
                self._redis_away_until = time.monotonic() + RETRY_REDIS_AFTER_SECONDS
        return self._count_here(name)

    def _count_here(self, name: str) -> int:
        with self._lock:
            if len(self._local) >= MAX_LOCAL_WINDOWS:
                self._local.clear()
            self._local[name] = self._local.get(name, 0) + 1
            return self._local[name]
