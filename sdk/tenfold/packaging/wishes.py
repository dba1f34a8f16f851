"""What a deploy asks for beside the model: checked here; what is about its worker goes into its config.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tenfold.errors import CannotPackage
from tenfold.packaging import compilers
from tenfold.packaging.config import CONFIG_NAME, read_config, write_config
from tenfold.packaging.origins import requirement_name
from tenfold.packaging.package import Package

CPU = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?m?")
MEMORY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?([kMGTPE]|[KMGTPE]i)?")
SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
PYTHON = re.compile(r"3\.([0-9]{1,2})(\.[0-9]{1,3})?")
OLDEST_MINOR = 9
RESOURCES = {
    "cpu": (CPU, '"2" or "500m"'),
    "memory": (MEMORY, '"4Gi" or "512Mi"'),
    "accelerator": (re.compile(r"[A-Za-z0-9_-]+(:[0-9]+)?"), '"A10G" or "H100:2"'),
}
MOST_REPLICAS = 64
MOST_BATCH_SIZE = 1_000_000
MOST_WAIT_MS = 60_000


@dataclass(frozen=True)
class Wishes:
    """As `tenfold.deploy` takes them; None is no wish, and leaves what a folder says."""

    resources: Mapping[str, Any] | None = None
    batch: Literal["off"] | Mapping[str, Any] | None = None
    secrets: Sequence[str] | None = None
    description: str | None = None
    alias: str | None = None
    environment: str | None = None
    python: str | None = None
    requirements: Sequence[str] | None = None
    replicas: int | tuple[int, int] | None = None
    scale_to_zero: bool | int | None = None
    compile: Literal["auto", "off"] = "auto"
    packed: bool | None = None

    @property
    def may_sleep(self) -> bool:
        """Whether it may have no replicas, as far as these say."""
        return self.scale_to_zero is not False

    def scaling(self) -> dict[str, int]:
        """As `Model.scale` takes it; empty without a wish. One that may not sleep is to have 1 at least besides."""
        wanted: dict[str, int] = {}
        if self.replicas is not None:
            bounds = self.replicas if isinstance(self.replicas, tuple) else (self.replicas, self.replicas)
            wanted |= {"min": bounds[0], "max": bounds[1]}
        if self.scale_to_zero is True:
            wanted["min"] = 0
        elif self.scale_to_zero is False:
            wanted |= {"min": max(1, wanted["min"])} if "min" in wanted else {}
        elif self.scale_to_zero is not None:
            wanted |= {"min": 0, "idle": self.scale_to_zero}
        return wanted

    def check(self) -> None:
        """Raises CannotPackage with everything that is wrong."""
        problems = [
            *_wrong_resources(self.resources),
            *_wrong_batch(self.batch),
            *_wrong_secrets(self.secrets),
            *_wrong_name("alias", self.alias, '"production" or "staging"'),
            *_wrong_name("environment", self.environment, '"nlp"'),
            *_wrong_python(self.python),
            *_wrong_requirements(self.requirements),
            *_wrong_scaling(self.replicas, self.scale_to_zero),
            *_wrong_compile(self.compile),
            *_wrong_packed(self.packed),
            *_beside_environment(self),
        ]
        if problems:
            raise CannotPackage(
                " ".join(message for message, _ in problems), hint=" ".join(dict.fromkeys(hint for _, hint in problems))
            )


def with_wishes(package: Package, wishes: Wishes, scratch: Path) -> Package:
    """The package with a config.yaml that says them, written into `scratch`: the user's own folder stays as it is."""
    config = read_config(package.root)
    changed = {**config, **_changes(config, wishes)}
    if changed == config:
        return package
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / CONFIG_NAME
    write_config(file, changed)
    return replace(package, elsewhere={**package.elsewhere, CONFIG_NAME: file})


def _changes(config: Mapping[str, Any], wishes: Wishes) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if wishes.description is not None:
        changes["description"] = wishes.description
    if wishes.resources:
        given = {key: value if isinstance(value, bool) else str(value) for key, value in wishes.resources.items()}
        changes["resources"] = {**_group(config, "resources"), **given}
    runtime: dict[str, Any] = {}
    if wishes.batch is not None:
        runtime["batch"] = wishes.batch if wishes.batch == "off" else dict(wishes.batch)
    if wishes.packed is not None:
        runtime["packed"] = wishes.packed
    if runtime:
        changes["runtime"] = {**_group(config, "runtime"), **runtime}
    metadata = config.get("model_metadata") or {}
    if wishes.compile == "off" and "compiler" in (metadata.get("tenfold") or {}):
        off = compilers.not_compiled('It was deployed with compile="off".')
        changes["model_metadata"] = {**metadata, "tenfold": {**metadata["tenfold"], "compiler": off}}
    if wishes.secrets:
        changes["secrets"] = {**dict.fromkeys(wishes.secrets), **_group(config, "secrets")}
    return changes


def _group(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The keys that a folder has below one of its own already."""
    found = config.get(key) or {}
    if not isinstance(found, Mapping):
        raise CannotPackage(
            f"{key} in config.yaml is {found!r}, and must be a group of keys.",
            hint=f"Write the keys of {key} indented below it.",
        )
    return found


# --- what is wrong with them, and what to write instead


def _wrong_resources(given: object) -> list[tuple[str, str]]:
    if given is None:
        return []
    hint = 'Write it like resources={"cpu": "2", "memory": "4Gi"}.'
    if not isinstance(given, Mapping):
        return [(f"resources is {given!r}, and must be a dict.", hint)]
    problems: list[tuple[str, str]] = []
    for key, value in given.items():
        if key == "use_gpu":
            if not isinstance(value, bool):
                problems.append((f"resources['use_gpu'] is {value!r}, and must be True or False.", hint))
            continue
        if key not in RESOURCES:
            known = ", ".join([*RESOURCES, "use_gpu"])
            problems.append((f"resources has {key!r}, which is not one of: {known}.", hint))
            continue
        pattern, like = RESOURCES[key]
        is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        if not is_plain or not pattern.fullmatch(str(value)):
            problems.append((f"resources[{key!r}] is {value!r}.", f"Write {key} like {like}."))
        elif key != "accelerator" and not float(re.sub("[^0-9.]", "", str(value))):
            problems.append((f"resources[{key!r}] is {value!r}, which is nothing.", f"Write {key} like {like}."))
    return problems


def _wrong_scaling(replicas: object, scale_to_zero: object) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    if replicas is not None:
        bounds = replicas if isinstance(replicas, tuple) else (replicas, replicas)
        is_whole = len(bounds) == 2 and all(isinstance(one, int) and not isinstance(one, bool) for one in bounds)
        if not is_whole or not 0 <= bounds[0] <= bounds[1] or not 1 <= bounds[1] <= MOST_REPLICAS:
            hint = f"Write replicas=2, or replicas=(1, 4); at most {MOST_REPLICAS}."
            problems.append((f"replicas is {replicas!r}.", hint))
    is_idle = isinstance(scale_to_zero, int) and (isinstance(scale_to_zero, bool) or 1 <= scale_to_zero <= 86_400)
    if scale_to_zero is not None and not is_idle:
        hint = "Write scale_to_zero=True, or the seconds without a call, a whole number up to a day."
        problems.append((f"scale_to_zero is {scale_to_zero!r}.", hint))
    return problems


def _wrong_compile(given: object) -> list[tuple[str, str]]:
    return [] if given in ("auto", "off") else [(f"compile is {given!r}.", 'Write compile="auto" or compile="off".')]


def _wrong_packed(given: object) -> list[tuple[str, str]]:
    if given is None or isinstance(given, bool):
        return []
    return [(f"packed is {given!r}, and must be True or False.", "Write packed=True, or leave it out.")]


def _wrong_batch(given: object) -> list[tuple[str, str]]:
    hint = 'Write batch="off" or batch={"max_size": 32, "max_wait_ms": 5}.'
    if given is None or given == "off":
        return []
    if not isinstance(given, Mapping):
        return [(f"batch is {given!r}.", hint)]
    problems: list[tuple[str, str]] = []
    unknown = [str(key) for key in given if key not in ("max_size", "max_wait_ms")]
    if unknown:
        problems.append((f"batch has {', '.join(unknown)}, which says nothing about batches.", hint))
    size, wait = given.get("max_size", 32), given.get("max_wait_ms", 0)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_BATCH_SIZE:
        problems.append((f"batch['max_size'] is {size!r}, and must be a whole number from 1 on.", hint))
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= MOST_WAIT_MS:
        problems.append((f"batch['max_wait_ms'] is {wait!r}, and must be from 0 to {MOST_WAIT_MS}.", hint))
    return problems


def _wrong_secrets(given: object) -> list[tuple[str, str]]:
    if given is None:
        return []
    hint = 'Name secrets of the workspace: secrets=["HF_TOKEN"]. Their values are set with `tenfold secrets set NAME`.'
    if isinstance(given, str) or not isinstance(given, Sequence):
        return [(f"secrets is {type(given).__name__}, and must be a list of names.", hint)]
    wrong = [name for name in given if not isinstance(name, str) or not SECRET.fullmatch(name)]
    return [(f"secrets names {', '.join(_short(name) for name in wrong)}, which is not a name.", hint)] if wrong else []


def _wrong_name(key: str, given: object, like: str) -> list[tuple[str, str]]:
    if given is None or (isinstance(given, str) and NAME.fullmatch(given)):
        return []
    hint = f"Use lower-case letters, digits and hyphens, beginning with a letter, such as {like}."
    return [(f"{key} is {given!r}, which is not a name.", hint)]


def _wrong_python(given: object) -> list[tuple[str, str]]:
    if given is None:
        return []
    match = PYTHON.fullmatch(given) if isinstance(given, str) else None
    if match is not None and int(match[1]) >= OLDEST_MINOR:
        return []
    return [(f"python is {given!r}.", f'Write a version from 3.{OLDEST_MINOR} on, as a text: python="3.12".')]


def _wrong_requirements(given: object) -> list[tuple[str, str]]:
    if given is None:
        return []
    if isinstance(given, str):
        return [(f"requirements is the text {given!r}, and must be a list.", f"Write requirements=[{given!r}].")]
    if not isinstance(given, Sequence):
        return [
            (f"requirements is {type(given).__name__}, and must be a list.", 'Write requirements=["numpy==2.1.0"].')
        ]
    hint = 'Write it like "numpy", "numpy==2.1.0" or "numpy>=2,<3".'
    return [(f"{line!r} is not a requirement.", hint) for line in given if not _is_requirement(line)]


def _is_requirement(line: object) -> bool:
    return isinstance(line, str) and (requirement_name(line) is not None or "://" in line)


def _beside_environment(wishes: Wishes) -> list[tuple[str, str]]:
    given = [key for key in ("requirements", "python") if getattr(wishes, key) is not None]
    if wishes.environment is None or not given:
        return []
    keys = " and ".join(f"{key}=" for key in given)
    return [
        (
            f"{keys} is given beside environment={wishes.environment!r}, which has its own packages and Python.",
            f"Leave out {keys}, or change the environment itself.",
        )
    ]


def _short(name: object) -> str:
    """Enough to know which one it is: what was given may be the secret itself."""
    text = str(name)
    return repr(text if len(text) <= 8 else f"{text[:4]}…")
