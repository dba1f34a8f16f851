"""An app of a workspace: call its worklets, open its views, release and roll back."""

from __future__ import annotations

import html
import time
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tenfold.appfolder import read_folder
from tenfold.client import Client
from tenfold.errors import Conflict, DeployFailed, NotFound
from tenfold.models import curl_line, json_value
from tenfold.progress import Progress, make_progress

RELEASE_STAGES = ("validate", "environment", "code", "start", "live")
POLL_SECONDS = 0.3
RUN_SECONDS = 60.0

FAULTS: dict[str, Any] = {"validate": "your package", "environment": "your requirements", "code": "your code"}


@dataclass(frozen=True)
class View:
    """A screen of the app's live release. `url` is where people with access open it."""

    name: str
    title: str
    url: str


class App:
    """One app. Get it from `tenfold.app("triage")`."""

    def __init__(self, client: Client, details: dict[str, Any]) -> None:
        self.client = client
        self.details = details
        self.name = str(details["name"])

    @classmethod
    def find(cls, client: Client, name: str) -> App:
        """Raises NotFound."""
        return cls(client, client.get("apps", name))

    def __repr__(self) -> str:
        live = self.details["live_release"]
        return f"<App {self.name}: {f'release {live}' if live else 'not released'}, {self.url}>"

    @property
    def url(self) -> str:
        """What to send to a colleague: opens the app for everyone that its access setting allows."""
        return str(self.details["url"])

    @property
    def views(self) -> list[View]:
        return [View(one["name"], one["title"], one["url"]) for one in self.details["views"]]

    @property
    def worklets(self) -> list[Worklet]:
        return [Worklet(self.client, self.name, one) for one in self.details["worklets"]]

    def worklet(self, name: str) -> Worklet:
        """Raises NotFound, naming what there is."""
        for one in self.worklets:
            if one.name == name:
                return one
        there = ", ".join(one.name for one in self.worklets) or "none"
        raise NotFound(f"The app {self.name} has no worklet {name!r}.", hint=f"It has: {there}.")

    def open(self, view: str | None = None) -> None:
        """Opens a view (the home view, when not named) in the browser, as who you are."""
        names = [one.name for one in self.views]
        if not names:
            raise NotFound(f"The app {self.name} has no view in a live release.", hint="Release it first.")
        if view is not None and view not in names:
            raise NotFound(f"The app {self.name} has no view {view!r}.", hint=f"It has: {', '.join(names)}.")
        opened = self.url if view is None else self.client.ask("apps", self.name, "views", view, "open", body={})["url"]
        webbrowser.open(opened)

    def release(self, *, note: str = "", go_live: bool = True, progress: Progress | None = None) -> dict[str, Any]:
        """Makes an immutable release of the draft and watches until it is live. Raises DeployFailed."""
        made = self.client.create("apps", self.name, "releases", body={"note": note, "go_live": go_live})
        with progress or make_progress() as shown:
            shown.begin(f"Releasing {self.name} {made['number']}", RELEASE_STAGES)
            release = self._watch(made, shown)
            self.refresh()
            if release["state"] == "failed":
                failure = _failure(self.name, release)
                shown.failed(failure)
                raise failure
            shown.result(self.summary(release))
        return release

    def rollback(self, release: int | None = None) -> App:
        """Makes an earlier release live: that one, or the newest ready one before the live one."""
        live = self.details["live_release"]
        if release is None:
            ready = [
                one["number"]
                for one in self.client.items("apps", self.name, "releases")
                if one["state"] == "ready" and (live is None or one["number"] < live)
            ]
            if not ready:
                raise Conflict(f"The app {self.name} has no ready release before {live}.")
            release = ready[0]
        self.details = self.client.put("apps", self.name, "live", body={"release": release})
        return self

    def refresh(self) -> App:
        self.details = self.client.get("apps", self.name)
        return self

    def summary(self, release: dict[str, Any]) -> list[tuple[str, str]]:
        """What to tell after a release: labels and texts."""
        lines = [("Release", f"{self.name} {release['number']}{' (live)' if release['live'] else ''}")]
        for one in self.worklets if release["live"] else ():
            if one.url is not None:
                lines += [("Endpoint", one.url), ("Try it", one.curl())]
        for view in self.views if release["live"] else ():
            lines.append(("View", f"{view.url}  ({view.title})"))
        if release["live"] and self.views:
            lines.append(("Share", self.url))
        return lines

    def _watch(self, release: dict[str, Any], shown: Progress) -> dict[str, Any]:
        while True:
            shown.update(release["stages"])
            is_open = any(one["state"] in ("waiting", "running") for one in release["stages"])
            if release["state"] == "failed" or (release["state"] == "ready" and not is_open):
                return release
            time.sleep(POLL_SECONDS)
            release = self.client.get("apps", self.name, "releases", release["number"])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(one.title)}</td><td><a href='{html.escape(one.url)}' target='_blank' rel='noopener'>"
            f"{html.escape(one.url)}</a></td></tr>"
            for one in self.views
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>"


class Worklet:
    """A worklet of an app's live release, as an endpoint where it has an HTTP trigger."""

    def __init__(self, client: Client, app: str, details: dict[str, Any]) -> None:
        self.client = client
        self.app = app
        self.details = details
        self.name = str(details["name"])
        self.last_run: str | None = None

    def __repr__(self) -> str:
        return f"<Worklet {self.app}/{self.name}({', '.join(one['name'] for one in self.details['input'])})>"

    @property
    def url(self) -> str | None:
        """Its endpoint; None without an HTTP trigger, when only the app's own views run it."""
        endpoint = self.details["endpoint"]
        return None if endpoint is None else str(endpoint)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What it takes: [{name, type, required, title, description, example}]."""
        return list(self.details["input"])

    def run(self, inputs: dict[str, Any] | None = None, /, *, timeout: float = RUN_SECONDS, **named: Any) -> Any:
        """Runs it and returns its output. Inputs are given by name, or all in one dict.

        `last_run` then has the id of the run. Raises InvalidInput, ModelFailed, TimedOut, Unavailable, and Conflict
        when it has no HTTP trigger.
        """
        self._require_endpoint()
        path = f"/v1/{quote(self.client.workspace, safe='')}/apps/{self.app}/worklets/{self.name}"
        body = json_value({**(inputs or {}), **named})
        response = self.client.gateway.request("POST", path, json=body, timeout=timeout)
        self.last_run = response.headers.get("x-tenfold-run")
        return response.json()

    def curl(self) -> str:
        """A line that runs it from a terminal. The key stays in $TENFOLD_KEY. Raises Conflict as `run` does."""
        body = {one["name"]: one.get("example") for one in self.inputs if one.get("required", True)}
        return curl_line(self._require_endpoint(), body)

    def _require_endpoint(self) -> str:
        if self.url is None:
            raise Conflict(
                f"The worklet {self.app}/{self.name} has no HTTP trigger, so it cannot be called from outside.",
                hint=f"Write `triggers: {{api: {{http: true}}}}` into worklets/{self.name}.yaml, and release the app.",
            )
        return self.url


def push(
    client: Client,
    folder: Path,
    *,
    name: str | None = None,
    revision: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[App, dict[str, Any]]:
    """Makes a folder the draft of its app. Returns the app and {revision, changed, warnings}.

    Raises InvalidInput with everything that is wrong, and Conflict when the draft moved on since `revision`.
    """
    found = read_folder(folder)
    for line in found.notes:
        say(line)
    name = name or found.name
    body: dict[str, Any] = {"files": found.to_json()}
    if revision is not None:
        body["revision"] = revision
    pushed: dict[str, Any] = client.put("apps", name, "draft", body=body)
    return App.find(client, name), pushed


def _failure(name: str, release: dict[str, Any]) -> DeployFailed:
    stage = next((one["name"] for one in release["stages"] if one["state"] == "failed"), "")
    return DeployFailed(
        f"Release {release['number']} of {name} failed at {stage or 'its preparation'}: {release['reason']}",
        stage=stage,
        source=FAULTS.get(stage, "the platform"),
        hint=release.get("hint") or "",
    )


__all__: Sequence[str] = ("App", "View", "Worklet", "push")
