"""The component manifest as data: what each component takes, gives, does and holds.

`manifest.json` is the one truth. The lint, the JSON Schema, the reference page, the renderer (defaults, outputs) and
the inspector read it. A prop with `feeds` can change what the component gives; the others can never close a cycle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

PropType = Literal[
    "text", "number", "integer", "boolean", "enum", "json", "list", "names", "rows", "columns", "options", "fields",
    "scores", "image",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prop:
    type: PropType
    description: str
    required: bool = False
    default: Any = None
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    feeds: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """A member that expressions can read: `<node>.<member>`. A settable one can be given a value by `set`."""

    type: str
    description: str
    settable: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    description: str
    payload: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accessibility:
    """What a component needs to be usable by everyone: its role, the prop that names it, its keys."""

    role: str
    name: str
    keyboard: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    type: str
    title: str
    group: str
    version: int
    description: str
    props: Mapping[str, Prop]
    outputs: Mapping[str, Output]
    events: Mapping[str, Event]
    slots: Mapping[str, str]
    accessibility: Accessibility
    spans: bool = False  # its children take columns of it
    gathers: bool = False  # its outputs are made of those of the inputs inside it
    opens: bool = False  # can be the target of `open` and `close`


@dataclass(frozen=True, slots=True)
class Action:
    description: str
    value: str


@dataclass(frozen=True, slots=True)
class Manifest:
    components: Mapping[str, Component]
    actions: Mapping[str, Action]


@cache
def load_manifest() -> Manifest:
    text = resources.files("tenfold_views").joinpath("manifest.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return Manifest(
        components={name: _component(name, entry) for name, entry in data["components"].items()},
        actions={name: Action(**entry) for name, entry in data["actions"].items()},
    )


def _component(name: str, entry: dict[str, Any]) -> Component:
    accessibility = entry["accessibility"]
    return Component(
        type=name,
        title=entry["title"],
        group=entry["group"],
        version=entry["version"],
        description=entry["description"],
        props={key: _prop(value) for key, value in entry["props"].items()},
        outputs={key: Output(**value) for key, value in entry["outputs"].items()},
        events={key: Event(**value) for key, value in entry["events"].items()},
        slots={key: value["title"] for key, value in entry["slots"].items()},
        accessibility=Accessibility(
            accessibility["role"],
            accessibility["name"],
            tuple(accessibility["keyboard"]),
            accessibility.get("notes", ""),
        ),
        spans=entry.get("spans", False),
        gathers=entry.get("gathers", False),
        opens=entry.get("opens", False),
    )


def _prop(value: dict[str, Any]) -> Prop:
    return Prop(**(value | {"enum": tuple(value.get("enum", ()))}))
