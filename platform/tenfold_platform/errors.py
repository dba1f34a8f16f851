"""One error type for everything the platform says no to.

    PlatformError(code, message, status, hint, details)
      NotFound 404          a missing object, or one of another workspace: they look alike
      InvalidInput 400      a field is wrong; `details` lists {path, message, hint}
      InvalidDocument 422   a document or package has problems; `details` lists them all
      Unauthenticated 401   no credential, or one that is not valid
      Forbidden 403         a valid credential without the right
      Conflict 409          the state does not allow it, or the name is taken
      TooLarge 413
      Unavailable 503       the platform (or what it needs) cannot answer now

The wire form is `{"error": {"code", "message", "hint", "details", "request_id"}}`.
"""

from __future__ import annotations

from typing import Any


class PlatformError(Exception):
    status = 500
    code = "internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        details: list[dict[str, Any]] | None = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.hint = hint
        self.details = details or []
        self.status = status or self.status
        self.headers = headers or {}

    def body(self, request_id: str) -> dict[str, Any]:
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "details": self.details,
                "request_id": request_id,
            }
        }


class NotFound(PlatformError):
    status, code = 404, "not_found"


class InvalidInput(PlatformError):
    status, code = 400, "invalid_input"


class InvalidDocument(PlatformError):
    status, code = 422, "invalid_document"


class Unauthenticated(PlatformError):
    status, code = 401, "unauthenticated"


class Forbidden(PlatformError):
    status, code = 403, "forbidden"


class Conflict(PlatformError):
    status, code = 409, "conflict"


class TooLarge(PlatformError):
    status, code = 413, "too_large"


class Unavailable(PlatformError):
    status, code = 503, "unavailable"
