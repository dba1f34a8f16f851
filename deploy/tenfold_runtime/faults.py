"""What can go wrong in a worker, and whose fault it is.

Every failure becomes one Fault, and a Fault becomes one answer frame.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import Any, Dict, Optional

_RUNTIME_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MESSAGE_CHARACTERS = 8_000
_TRACEBACK_CHARACTERS = 64_000
_TRACEBACK_FRAMES = 60
_BAD_INPUT_STATUSES = (400, 422)


class Fault(Exception):
    """One failure, as it is told to the caller.

    `source` is "user" (their code), "input" (what was sent) or "worker" (this process). `detail` and `headers` are
    those of an HTTPException that user code raised.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 500,
        source: str = "worker",
        hint: Optional[str] = None,
        details: Any = None,
        traceback: Optional[str] = None,
        detail: Any = None,
        headers: Optional[Dict[str, str]] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.source = source
        self.hint = hint
        self.details = details
        self.traceback = traceback
        self.detail = detail
        self.headers = headers

    def again(self) -> Fault:
        """The same failure as a fresh exception, for one that is raised to many callers."""
        return Fault(
            self.code,
            self.message,
            status=self.status,
            source=self.source,
            hint=self.hint,
            details=self.details,
            traceback=self.traceback,
            detail=self.detail,
            headers=self.headers,
        )

    def to_json(self) -> Dict[str, Any]:
        """The fields of an error answer, without those that have nothing to say."""
        fields = {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "source": self.source,
            "hint": self.hint,
            "details": self.details,
            "traceback": self.traceback,
            "detail": self.detail,
            "headers": self.headers,
        }
        return {name: value for name, value in fields.items() if value is not None}


def bad_input(message: str, *, hint: Optional[str] = None, details: Any = None) -> Fault:
    return Fault("bad_input", message, status=400, source="input", hint=hint, details=details)


def bad_output(message: str, *, hint: Optional[str] = None) -> Fault:
    return Fault("bad_output", message, source="user", hint=hint)


def load_failed(message: str, *, hint: Optional[str] = None, traceback: Optional[str] = None) -> Fault:
    return Fault("load_failed", message, status=503, source="user", hint=hint, traceback=traceback)


def cancelled() -> Fault:
    return Fault("cancelled", "The caller cancelled this request.", status=499, source="input")


def stopped() -> Fault:
    return Fault("stopped", "The worker was stopped before this request was finished.", status=503)


def user_fault(error: BaseException) -> Fault:
    """What the user's code raised, with the traceback cut down to frames that are not this worker's own."""
    if isinstance(error, Fault):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and any(kind.__name__ == "HTTPException" for kind in type(error).__mro__):
        return _http_fault(error, status)
    return Fault(
        "user_error",
        _describe(error),
        source="user",
        hint=_hint(error),
        traceback=trimmed_traceback(error),
    )


def trimmed_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of the worker and of the import machinery."""
    try:
        report = traceback.TracebackException.from_exception(error, limit=-_TRACEBACK_FRAMES)
        _trim(report, set())
        text = "".join(report.format())
    except Exception:  # a user's exception may raise while it is being described
        text = "".join(traceback.format_tb(error.__traceback__, limit=-_TRACEBACK_FRAMES)) + type(error).__name__
    if len(text) > _TRACEBACK_CHARACTERS:
        half = _TRACEBACK_CHARACTERS // 2
        text = text[:half] + "\n  [...]\n" + text[-half:]
    return text


def _trim(report: traceback.TracebackException, seen: set[int]) -> None:
    if id(report) in seen:
        return
    seen.add(id(report))
    kept = [frame for frame in report.stack if not _is_ours(frame.filename)]
    report.stack = traceback.StackSummary.from_list(kept)
    for linked in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
        if linked is not None:
            _trim(linked, seen)


def _is_ours(filename: str) -> bool:
    return filename.startswith((_RUNTIME_FOLDER, "<frozen importlib"))


def _http_fault(error: BaseException, status: int) -> Fault:
    """The status is the user's choice. With a 4xx the code says that the caller is at fault, not that it failed."""
    detail = getattr(error, "detail", None)
    try:
        json.dumps(detail)
    except (TypeError, ValueError, RecursionError):
        detail = str(detail)
    message = detail if isinstance(detail, str) else _describe(error)
    headers = getattr(error, "headers", None)
    is_callers = 400 <= status < 500
    return Fault(
        "bad_input" if status in _BAD_INPUT_STATUSES else "http",
        message[:_MESSAGE_CHARACTERS],
        status=status,
        source="input" if is_callers else "user",
        details=None if isinstance(detail, str) else detail,
        traceback=None if is_callers else trimmed_traceback(error),
        detail=detail,
        headers={str(name).lower(): str(value) for name, value in headers.items()} if headers else None,
    )


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        return f"{name} (its message could not be made: str() of it raised)"
    if isinstance(error, SystemExit):
        return f"The code called sys.exit({text})."
    if isinstance(error, KeyError):
        return f"{name}: {text}"
    return (f"{name}: {text}" if text else name)[:_MESSAGE_CHARACTERS]


def _hint(error: BaseException) -> Optional[str]:
    if isinstance(error, SystemExit):
        return "Raise an exception or return a value; the worker keeps running either way."
    if isinstance(error, RecursionError):
        return "A function calls itself without end, or the input is nested deeper than Python's recursion limit."
    if isinstance(error, MemoryError):
        return "The code asked for more memory than there is. Give the model more memory, or send less at a time."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Add the package that provides {error.name!r} to the requirements, or its file to the package."
    return None
