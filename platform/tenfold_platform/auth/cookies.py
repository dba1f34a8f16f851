"""The console's cookie: for the console's host only, out of reach of scripts, not sent along by other sites' forms."""

from __future__ import annotations

from starlette.responses import Response

from tenfold_platform.auth.access import SESSION_LIFETIME
from tenfold_platform.settings import Settings


def is_https(settings: Settings) -> bool:
    return settings.console_url.startswith("https://")


def cookie_name(settings: Settings) -> str:
    """Browsers take `__Host-` only with https; on plain http (loopback) the name must do without."""
    return "__Host-tenfold" if is_https(settings) else "tenfold_session"


def set_session_cookie(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite="lax",
    )


def delete_session_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(cookie_name(settings), path="/", secure=is_https(settings), httponly=True, samesite="lax")
