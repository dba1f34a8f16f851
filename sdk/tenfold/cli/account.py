"""`tenfold login`, `logout`, `whoami`."""

from __future__ import annotations

import webbrowser
from typing import Annotated
from urllib.parse import urlsplit

import typer

from tenfold.cli.output import AsJson, console, named_profile, print_json, print_pairs
from tenfold.cli.output import client as current_client
from tenfold.client import Client
from tenfold.credentials import Profile, credentials_file, current_name, read_profiles, remove_profile, save_profile
from tenfold.errors import InvalidInput, NotSignedIn

PANEL = "Account"
LOCAL_URL = "http://localhost:7070"


def register(app: typer.Typer) -> None:
    for command in (login, logout, whoami):
        app.command(rich_help_panel=PANEL)(command)


def login(
    url: Annotated[str, typer.Argument(help="The address of the studio.")] = LOCAL_URL,
    key: Annotated[str | None, typer.Option(help="A key of a workspace; asked for when it is not given.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page of the keys in the browser.")] = True,
) -> None:
    """Keep a key for this machine, and use it from now on.

    Example: tenfold login https://tenfold.example.com
    """
    url = _checked_url(url)
    if key is None:
        page = f"{url}/keys"
        console.print(f"Make a key at {page}, then paste it here.", markup=False)
        if browser:
            webbrowser.open(page)
        key = str(typer.prompt("Key", hide_input=True))
    with make_client(Profile(url, key.strip())) as client:
        identity = client.identity
    name = _profile_name(url)
    save_profile(
        credentials_file(),
        name,
        Profile(url, key.strip(), identity["workspace"], identity["gateway_url"]),
    )
    told = identity["key"]
    console.print(
        f"Signed in to {url} as the key {told['name']!r} of the workspace {identity['workspace']} (profile {name}).",
        markup=False,
    )


def logout(name: Annotated[str | None, typer.Argument(help="The profile. [default: the current one]")] = None) -> None:
    """Forget a key that is kept on this machine. The key itself stays valid until it is revoked in the studio."""
    file = credentials_file()
    name = name or named_profile() or current_name(file)
    if name is None or not remove_profile(file, name):
        raise NotSignedIn("There is nothing to sign out of.", hint=f"Looked for {name or 'a profile'} in {file}.")
    console.print(f"Signed out of {name}.", markup=False)
    left = current_name(file)
    if left is not None:
        console.print(f"The profile {left} is used from now on.", markup=False)


def whoami(json: AsJson = False) -> None:
    """Which platform, workspace and key are used."""
    client = current_client()
    identity = client.identity
    if json:
        print_json({**identity, "url": client.profile.url})
        return
    key = identity["key"]
    file = credentials_file()
    others = [name for name in read_profiles(file) if name != current_name(file)]
    print_pairs(
        [
            ("Platform", f"{client.profile.url} (version {identity['version']})"),
            ("Endpoints", client.gateway_url),
            ("Workspace", client.workspace),
            ("Key", f"{key['name']} (tf_{key['key_id']}_…)"),
            ("Scopes", key["scopes"]),
            *([("Profiles", f"also {', '.join(others)}; choose with --profile")] if others else []),
        ]
    )


def make_client(profile: Profile) -> Client:
    return Client(profile)


def _checked_url(url: str) -> str:
    url = (url if "://" in url else f"https://{url}").rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InvalidInput(f"{url!r} is not an address.", hint="Such as https://tenfold.example.com.")
    return url


def _profile_name(url: str) -> str:
    if named := named_profile():
        return named
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
