"""What is shown while something long happens: stages with their times, live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from tenfold.errors import DeployFailed

SLOW_SECONDS = 5.0
SHOWN_LOG_LINES = 6
MARKS = {
    "waiting": ("·", "dim"),
    "running": ("…", "cyan"),
    "done": ("✓", "green"),
    "reused": ("✓", "green"),
    "skipped": ("-", "dim"),
    "failed": ("✗", "red"),
}


@dataclass
class Stage:
    """One stage on this machine. `detail` is shown beside it; `progress` replaces it while bytes travel."""

    name: str
    detail: str = ""
    state: str = "waiting"
    seconds: float | None = None
    began: float | None = None
    share: str = field(default="")

    def progress(self, done: float, total: float) -> None:
        self.share = f"{100 * done / total:.0f} %" if total else ""


class Progress(Protocol):
    """Where a deploy tells how far it is. A context manager."""

    def __enter__(self) -> Any: ...
    def __exit__(self, *error: Any) -> Any: ...
    def begin(self, title: str, stages: Sequence[str]) -> None: ...
    def stage(self, name: str) -> Any: ...
    def update(self, stages: Sequence[dict[str, Any]]) -> None: ...
    def log(self, source: str, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def failed(self, failure: DeployFailed) -> None: ...
    def result(self, lines: Sequence[tuple[str, str]]) -> None: ...


def make_progress(console: Console | None = None) -> Progress:
    """Live where somebody watches, plain lines where output goes to a file."""
    console = console or Console(highlight=False, soft_wrap=True)
    return LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else PlainProgress(console)


class _Shown:
    """What both kinds share: the stages as they stand, and the log."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.title = ""
        self.stages: dict[str, Stage] = {}
        self.lines: deque[tuple[str, str]] = deque(maxlen=200)
        self._own: set[str] = set()

    def begin(self, title: str, stages: Sequence[str]) -> None:
        self.title = title
        self.stages = {name: Stage(name) for name in stages}

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """A stage of this machine; the platform's own account of it is not shown again."""
        stage = self.stages[name]
        self._own.add(name)
        stage.state, stage.began = "running", time.monotonic()
        self.changed(stage)
        try:
            yield stage
        except BaseException:
            stage.state, stage.seconds = "failed", time.monotonic() - stage.began
            self.changed(stage)
            raise
        stage.state, stage.seconds, stage.share = "done", time.monotonic() - stage.began, ""
        self.changed(stage)

    def update(self, stages: Sequence[dict[str, Any]]) -> None:
        """The platform's stages, in its order: {name, state, seconds, detail}."""
        self._take_order([told["name"] for told in stages])
        for told in stages:
            name = told["name"]
            if name in self._own:
                continue
            stage = self.stages[name]
            before = stage.state
            stage.state, stage.detail = told["state"], told.get("detail") or ""
            if stage.state == "running" and stage.began is None:
                stage.began = time.monotonic()
            if told.get("seconds") is not None:
                stage.seconds = told["seconds"]
            if stage.state != before:
                self.changed(stage)

    def _take_order(self, told: Sequence[str]) -> None:
        """What this machine does comes first, then what the platform tells of."""
        own = [name for name in self.stages if name in self._own]
        names = dict.fromkeys([*own, *told, *self.stages])
        self.stages = {name: self.stages.get(name) or Stage(name) for name in names}

    def log(self, source: str, text: str) -> None:
        for line in text.splitlines():
            if "--hash=" not in line:  # a lock lists dozens for each package
                self.lines.append((source, line.rstrip().removesuffix(" \\")))

    def changed(self, stage: Stage) -> None:
        """Called when a stage changed its state."""

    def note(self, text: str) -> None:
        self.console.print(f"  [dim]{escape(text)}[/]")

    def failed(self, failure: DeployFailed) -> None:
        self.console.print(f"\n[bold red]{escape(failure.message)}[/]")
        self.console.print(f"The fault lies with {failure.source}.")
        if failure.hint:
            self.console.print(escape(failure.hint))
        if failure.log:
            self.console.print("[dim]The last lines of its log:[/]")
            self.console.print(f"[dim]{escape(_indented(failure.log))}[/]")

    def result(self, lines: Sequence[tuple[str, str]]) -> None:
        width = max((len(label) for label, _ in lines), default=0)
        self.console.print()
        for label, text in lines:
            self.console.print(f"  [bold]{label:<{width}}[/]  {escape(text)}")
        self.console.print()


class PlainProgress(_Shown):
    """One line when a stage ends; the log of a stage only when it is slow or failed."""

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def begin(self, title: str, stages: Sequence[str]) -> None:
        super().begin(title, stages)
        self.console.print(title)

    def changed(self, stage: Stage) -> None:
        if stage.state in ("done", "reused", "skipped", "failed"):
            self.console.print(_line(stage))

    def log(self, source: str, text: str) -> None:
        super().log(source, text)
        running = next(
            (one for one in self.stages.values() if one.state == "running" and one.name not in self._own), None
        )
        if running is not None and running.began is not None and time.monotonic() - running.began > SLOW_SECONDS:
            while self.lines:
                self.console.print(f"    [dim]{escape(self.lines.popleft()[1])}[/]")


class LiveProgress(_Shown):
    """Redraws its stages in place, with the last lines of the log below one that takes long."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, refresh_per_second=8, transient=False, get_renderable=self._draw)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def changed(self, stage: Stage) -> None:
        del stage  # all of them are drawn again
        self._live.refresh()

    def failed(self, failure: DeployFailed) -> None:
        self._stop()
        super().failed(failure)

    def result(self, lines: Sequence[tuple[str, str]]) -> None:
        self._stop()
        super().result(lines)

    def _stop(self) -> None:
        if self._live.is_started:
            self._live.stop()

    def _draw(self) -> Group:
        parts: list[Text] = [Text(self.title, style="bold")]
        now = time.monotonic()
        for stage in self.stages.values():
            parts.append(Text.from_markup(_line(stage, now)))
            if stage.state == "running" and stage.began is not None and now - stage.began > SLOW_SECONDS:
                tail = list(self.lines)[-SHOWN_LOG_LINES:]
                parts += [Text(f"      {line}", style="dim", no_wrap=True, overflow="ellipsis") for _, line in tail]
        return Group(*parts)


def _line(stage: Stage, now: float | None = None) -> str:
    mark, style = MARKS.get(stage.state, ("?", ""))
    seconds = stage.seconds
    if seconds is None and now is not None and stage.began is not None and stage.state == "running":
        seconds = now - stage.began
    taken = f"{seconds:6.1f} s" if seconds is not None and stage.state not in ("waiting", "skipped") else " " * 8
    detail = " ".join(part for part in (_word(stage), stage.share or stage.detail) if part)
    return f"  [{style}]{mark} {stage.name:<12}[/] {taken}  [dim]{escape(detail)}[/]".rstrip()


def _word(stage: Stage) -> str:
    return "reused" if stage.state == "reused" else ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
