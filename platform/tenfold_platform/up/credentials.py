"""The credentials file of the SDK: `~/.tenfold/credentials.json`, for its owner's eyes only.

    {"current": "local", "profiles": {"local": {"url", "gateway_url", "workspace", "key", "data_dir"}}}

The SDK reads the same file (sdk/tenfold/credentials.py); its form is part of the documented interface.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenfold_platform.auth.secrets import is_secret, split_key
from tenfold_platform.auth.tables import KeyTable
from tenfold_platform.settings import Settings
from tenfold_platform.up.folder import write_private

PROFILE = "local"


def default_file() -> Path:
    named = os.environ.get("TENFOLD_CREDENTIALS")
    return Path(named) if named else Path.home() / ".tenfold" / "credentials.json"


def write(file: Path, settings: Settings, key: str, data_dir: Path) -> None:
    """Adds (or replaces) this machine's profile and makes it the current one. Other profiles stay."""
    known = _read(file)
    profiles = known.get("profiles") or {}
    profiles[PROFILE] = {
        "url": settings.console_url,
        "gateway_url": settings.gateway_url,
        "workspace": "default",
        "key": key,
        "data_dir": str(data_dir),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_private(file, json.dumps({**known, "current": PROFILE, "profiles": profiles}, indent=2))


def find_key(file: Path, settings: Settings) -> str | None:
    """The key that is already there for this installation."""
    profile = (_read(file).get("profiles") or {}).get(PROFILE) or {}
    if profile.get("url") != settings.console_url or profile.get("gateway_url") != settings.gateway_url:
        return None
    key = profile.get("key")
    return key if isinstance(key, str) else None


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def is_valid(session: Session, key: str) -> bool:
    """Whether a key from the file still opens this installation."""
    parts = split_key(key)
    if parts is None:
        return False
    key_id, secret = parts
    row = session.scalars(select(KeyTable).where(KeyTable.key_id == key_id)).one_or_none()
    return row is not None and row.revoked_at is None and is_secret(secret, row.secret_hash)
