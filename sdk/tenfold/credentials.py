"""Where the platform is and the key for it: the environment, else `~/.tenfold/credentials.json`.

    {"current": "local", "profiles": {"local": {"url", "gateway_url", "workspace", "key", "data_dir"}}}

`tenfold up` writes the profile "local", `tenfold login` any other. TENFOLD_CREDENTIALS names another file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from tenfold.errors import NotSignedIn

HOW_TO_SIGN_IN = "Start Tenfold on this machine with `tenfold up`, or sign in to another one with `tenfold login URL`."


@dataclass(frozen=True)
class Profile:
    """One place to talk to. `workspace` and `gateway_url` may be None: the platform tells them for the key."""

    url: str
    key: str = dataclass_field(repr=False)
    workspace: str | None = None
    gateway_url: str | None = None
    data_dir: str | None = None


def credentials_file() -> Path:
    named = os.environ.get("TENFOLD_CREDENTIALS")
    return Path(named).expanduser() if named else Path.home() / ".tenfold" / "credentials.json"


def find_profile(name: str | None = None, *, environ: Mapping[str, str] | None = None) -> Profile:
    """The profile of that name; without one: TENFOLD_URL and TENFOLD_KEY, else TENFOLD_PROFILE, else the current one.

    Raises NotSignedIn.
    """
    environ = os.environ if environ is None else environ
    if name is None and (environ.get("TENFOLD_URL") or environ.get("TENFOLD_KEY")):
        return _from_environment(environ)
    file = credentials_file()
    known = read_profiles(file)
    name = name or environ.get("TENFOLD_PROFILE") or current_name(file)
    if not known:
        raise NotSignedIn(f"There are no Tenfold credentials (looked at {file}).", hint=HOW_TO_SIGN_IN)
    if name is None or name not in known:
        there = ", ".join(sorted(known))
        raise NotSignedIn(f"There is no profile {name!r} in {file}; it has {there}.", hint=HOW_TO_SIGN_IN)
    return known[name]


def read_profiles(file: Path) -> dict[str, Profile]:
    profiles = _read(file).get("profiles")
    return {
        name: _profile(entry)
        for name, entry in (profiles if isinstance(profiles, dict) else {}).items()
        if isinstance(entry, dict) and entry.get("url") and entry.get("key")
    }


def current_name(file: Path) -> str | None:
    current = _read(file).get("current")
    return current if isinstance(current, str) else None


def save_profile(file: Path, name: str, profile: Profile) -> None:
    """Adds or replaces a profile and makes it the current one."""
    known = _read(file)
    profiles = known.get("profiles") if isinstance(known.get("profiles"), dict) else {}
    profiles = {**(profiles or {}), name: {key: value for key, value in asdict(profile).items() if value is not None}}
    _write(file, {**known, "current": name, "profiles": profiles})


def remove_profile(file: Path, name: str) -> bool:
    """Forgets a profile; another one (if any) becomes the current one. False when there was none of that name."""
    known = _read(file)
    profiles = dict(known.get("profiles") or {})
    if profiles.pop(name, None) is None:
        return False
    current = known.get("current")
    _write(file, {**known, "current": next(iter(profiles), None) if current == name else current, "profiles": profiles})
    return True


def _from_environment(environ: Mapping[str, str]) -> Profile:
    url, key = environ.get("TENFOLD_URL"), environ.get("TENFOLD_KEY")
    if not url or not key:
        missing, given = ("TENFOLD_URL", "TENFOLD_KEY") if not url else ("TENFOLD_KEY", "TENFOLD_URL")
        raise NotSignedIn(f"{given} is set and {missing} is not.", hint=f"Set both, or neither. {HOW_TO_SIGN_IN}")
    return Profile(url.rstrip("/"), key, environ.get("TENFOLD_WORKSPACE"), environ.get("TENFOLD_GATEWAY_URL"))


def _profile(entry: Mapping[str, Any]) -> Profile:
    return Profile(
        url=str(entry["url"]).rstrip("/"),
        key=str(entry["key"]),
        workspace=entry.get("workspace"),
        gateway_url=entry.get("gateway_url"),
        data_dir=entry.get("data_dir"),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(file: Path, known: Mapping[str, Any]) -> None:
    """For its owner's eyes only, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(json.dumps(known, indent=2))
    temporary.replace(file)
