"""What can go wrong, as exceptions.

    TenfoldError(code, message, hint, status, request_id, details)
      NotSignedIn      no credentials, or ones that are no longer valid (401)
      Forbidden        valid credentials without the right to do this (403)
      NotFound         no such model, version, app or run (404)
      InvalidInput     what was sent is wrong; `details` names each field (400, 413, 422)
      Conflict         the state does not allow it (409)
      CannotPackage    an object that cannot be deployed as it is; said on this machine, before anything is sent
      DeployFailed     a version or release that did not become ready; `source` says whose fault it is
      ModelFailed      the model's own code raised while it predicted; `traceback` is its own
      TimedOut         no answer in time (504)
      Unavailable      nothing answers at the address, or the model cannot answer now (429, 502, 503)

Every one says what happened in `message` and what to do in `hint`.
"""

from __future__ import annotations

from typing import Any, Literal


class TenfoldError(Exception):
    """Anything that Tenfold says no to. `str(error)` is the message and, on its own line, the hint."""

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        status: int | None = None,
        request_id: str = "",
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint
        self.status = status
        self.request_id = request_id
        self.details = details or []

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class NotSignedIn(TenfoldError):
    code = "not_signed_in"


class Forbidden(TenfoldError):
    code = "forbidden"


class NotFound(TenfoldError):
    code = "not_found"


class InvalidInput(TenfoldError):
    code = "invalid_input"


class Conflict(TenfoldError):
    code = "conflict"


class CannotPackage(TenfoldError):
    code = "cannot_package"


class DeployFailed(TenfoldError):
    """`stage` is where it stopped, `source` whose fault it is, `log` the last lines of that stage's log."""

    code = "deploy_failed"

    def __init__(
        self,
        message: str,
        *,
        stage: str = "",
        source: Literal["your code", "your requirements", "your package", "the platform"] = "the platform",
        log: str = "",
        hint: str = "",
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.stage = stage
        self.source = source
        self.log = log


class ModelFailed(TenfoldError):
    """`traceback` is what the model's code raised, where the key may see it."""

    code = "user_error"

    def __init__(self, message: str, *, traceback: str = "", **rest: Any) -> None:
        super().__init__(message, **rest)
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.traceback}" if self.traceback else super().__str__()


class TimedOut(TenfoldError):
    code = "timeout"


class Unavailable(TenfoldError):
    code = "unavailable"


_BY_STATUS: dict[int, type[TenfoldError]] = {
    400: InvalidInput,
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: InvalidInput,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: TimedOut,
}
_MODEL_CODES = ("user_error", "bad_output", "load_failed", "http")


def error_of(status: int, body: Any, *, request_id: str = "") -> TenfoldError:
    """The exception for an answer of the platform, in its one error shape."""
    told = body.get("error") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        told = {"message": f"The server answered {status} without saying why.", "code": f"http_{status}"}
    rest: dict[str, Any] = {
        "code": str(told.get("code") or "error"),
        "hint": str(told.get("hint") or ""),
        "status": status,
        "request_id": str(told.get("request_id") or request_id),
        "details": told.get("details"),
    }
    message = str(told.get("message") or f"The server answered {status}.")
    if rest["code"] in _MODEL_CODES and status >= 500:
        return ModelFailed(message, traceback=_traceback(told), **rest)
    if rest["code"] == "http":  # the model's own refusal of what was sent: it has said all there is
        rest["hint"] = ""
    kind = _BY_STATUS.get(status, TenfoldError)
    if kind is NotSignedIn and not rest["hint"]:
        rest["hint"] = "Sign in again: `tenfold login URL`."
    return kind(_with_details(message, rest["details"]) if kind is InvalidInput else message, **rest)


def _traceback(told: dict[str, Any]) -> str:
    if isinstance(told.get("traceback"), str):
        return str(told["traceback"])
    details = told.get("details")
    for entry in details if isinstance(details, list) else [details]:
        if isinstance(entry, dict) and isinstance(entry.get("traceback"), str):
            return str(entry["traceback"])
    return ""


def _with_details(message: str, details: Any) -> str:
    """The message with each problem on its own line, so that all of them can be put right at once."""
    if not isinstance(details, list):
        return message
    lines = [line for entry in details if (line := problem_line(entry)) and line not in message]
    return "\n".join([message, *(f"  - {line}" for line in lines)]) if lines else message


def problem_line(entry: Any) -> str:
    """One problem of a document or a body as one line."""
    if not isinstance(entry, dict) or not entry.get("message"):
        return ""
    where = entry.get("path") or entry.get("field") or ""
    line = f" (line {entry['line']})" if entry.get("line") else ""
    hint = f" {entry['hint']}" if entry.get("hint") else ""
    return f"{where}{line}: {entry['message']}{hint}" if where else f"{entry['message']}{line}{hint}"
