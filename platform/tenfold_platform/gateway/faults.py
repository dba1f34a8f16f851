"""What the data plane says no to, beside the errors that the whole platform shares.

GatewayFault
  QueueFull 429      more callers wait for this version than its queue holds
  NotReady 503       no replica of it can answer: stopped, starting, failed, unhealthy
  WorkerLost 503     its process ended while answering
  TimedOut 504       it did not answer in time
  BadAnswer 502      what it sent is not an answer
ClientGone           nobody is there to be answered
"""

from __future__ import annotations

from typing import Literal

from tenfold_platform.errors import PlatformError

NotReadyCode = Literal["not_ready", "stopped", "failed", "unhealthy", "not_deployed"]


class ClientGone(Exception):
    """The client closed its connection. What was done for it has been cancelled."""


class GatewayFault(PlatformError):
    """`retryable`: no user code has seen the request, so sending it again cannot double anything."""

    retryable = False


class QueueFull(GatewayFault):
    status, code, retryable = 429, "queue_full", True

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} requests already wait for a free replica.",
            hint="Try again in a moment, or run more replicas.",
            headers={"Retry-After": "1"},
        )


class NotReady(GatewayFault):
    status, code, retryable = 503, "not_ready", True

    def __init__(self, code: NotReadyCode, message: str, *, hint: str = "", retry_after_seconds: float = 5.0) -> None:
        headers = {"Retry-After": str(max(1, round(retry_after_seconds)))}
        super().__init__(message, code=code, hint=hint, headers=headers)


class WorkerLost(GatewayFault):
    status, code = 503, "worker_lost"

    def __init__(self) -> None:
        super().__init__(
            "The model's process ended while answering.",
            hint="It is being started again; its log says why. Whether the request was carried out is unknown.",
            headers={"Retry-After": "2"},
        )


class TimedOut(GatewayFault):
    status, code = 504, "timeout"

    def __init__(self, seconds: float, *, waiting: bool = False) -> None:
        message = (
            f"No replica was free within {seconds:g} s."
            if waiting
            else f"There was no answer within {seconds:g} s; the work was cancelled."
        )
        hint = "Run more replicas, or send less at once." if waiting else "The log shows what it was doing."
        super().__init__(message, hint=hint)
        self.retryable = waiting


class BadAnswer(GatewayFault):
    status, code = 502, "bad_answer"

    def __init__(self, why: str) -> None:
        super().__init__(f"The worker sent something that is not an answer: {why}.", hint="The log says more.")
