"""The app folder: `app.yaml`, `worklets/`, `views/`, `code/`, `packages/`; checked as a whole, and never run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from tenfold_expressions import DocumentError, Problem, load_yaml
from tenfold_worklets.compile import DEFAULT_ENVIRONMENT, compile_worklet
from tenfold_worklets.document import Worklet, load_worklet
from tenfold_worklets.names import ADDRESS_HINT, is_address
from tenfold_worklets.plan import Plan
from tenfold_worklets.report import Report, below, lines_of
from tenfold_worklets.signatures import Signature, function_signatures
from tenfold_worklets.suggest import did_you_mean, listed
from tenfold_worklets.types import Json
from tenfold_worklets.upgrades import Step, UpgradeError, upgrade

APP_FILE = "app.yaml"
APP_VERSION = 1
APP_STEPS: Mapping[int, Step] = {}
MAX_FILES = 2_000
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_CODE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 50 * 1024 * 1024
MAX_PATH = 200


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python version (None: the platform's own) and requirements, as an app asks for them.

    With `named` it is the workspace's environment of that name, and has nothing of its own.
    """

    name: str
    python: str | None = None
    requirements: tuple[str, ...] = ()
    named: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """What `app.yaml` says. `environments` always has one named `default`."""

    name: str
    title: str = ""
    description: str = ""
    environments: Mapping[str, Environment] = field(default_factory=dict)
    home: str | None = None


@dataclass(frozen=True, slots=True)
class AppBundle:
    """A folder that was found right, with everything a release needs to know about it.

    `targets` are the functions that nodes call, by environment; `models` are `name@alias or version`; `code` are the
    paths of the files that travel to code workers.
    """

    app: App
    worklets: Mapping[str, Plan]
    views: tuple[str, ...]
    targets: Mapping[str, tuple[str, ...]]
    models: tuple[str, ...]
    code: tuple[str, ...]


class CheckView(Protocol):
    """Checks one view. What it returns has paths within the view."""

    def __call__(
        self, name: str, text: str, /, *, worklets: Mapping[str, Plan], models: Mapping[str, Signature] | None
    ) -> Iterable[Problem]: ...


def load_app(text: str, *, filename: str = APP_FILE) -> App:
    """Read `app.yaml`. Raises `DocumentError` with everything that is wrong with it."""
    document = load_yaml(text, filename=filename)
    report = Report(lines_of(document), filename=filename)
    app = _read_app(document.data, report)
    report.raise_if_any()
    return app


def check_app(
    files: Mapping[str, str | bytes],
    *,
    check_view: CheckView | None = None,
    models: Mapping[str, Signature] | None = None,
    name: str | None = None,
) -> AppBundle:
    """Check a whole folder, given as paths and contents. Raises `DocumentError` with every problem of every file.

    A problem's path begins with its file: `worklets/triage.yaml: nodes.clean.in.text`. `models` are the signatures of
    the workspace's models; None checks no model names. `name` is what the app must be called, if that is settled.
    """
    folder = _Folder(files)
    bundle = folder.bundle(check_view, models, name)
    if bundle is None or folder.problems:
        raise DocumentError(folder.problems, filename="app")
    return bundle


# app.yaml

_APP_KEYS = ("app", "name", "title", "description", "environment", "environments", "home")
_ENVIRONMENT_KEYS = ("python", "requirements")
_PYTHON = re.compile(r"3\.(\d{1,2})(?:\.\d{1,2})?\Z")


def _read_app(data: Json, report: Report) -> App:
    if not isinstance(data, dict):
        report.add("", "an app is a mapping of keys and values", "Begin with `app: 1` and `name: …`.")
        return App("")
    try:
        data = upgrade(data, key="app", version=APP_VERSION, steps=APP_STEPS)
    except UpgradeError as error:
        report.add("app", error.message, error.hint, code="bad_version")
        return App("")
    report.unknown_keys(data, _APP_KEYS, "", "an app")
    name, home = data.get("name"), data.get("home")
    if not is_address(name):
        message = "the app has no name" if name is None else f"{name!r} is not a name for an app"
        report.add("name", message, ADDRESS_HINT, code="bad_name")
    if home is not None and not is_address(home):
        report.add("home", f"{home!r} is not the name of a view", ADDRESS_HINT, code="bad_name")
    for key in ("title", "description"):
        if not isinstance(data.get(key, ""), str):
            report.add(key, "must be a text", "Put it in quotes.", code="bad_type")
    return App(
        name=str(name),
        title=str(data.get("title", "")),
        description=str(data.get("description", "")),
        environments=MappingProxyType(_read_environments(data.get("environments"), data.get("environment"), report)),
        home=str(home) if home is not None else None,
    )


def _read_environments(value: Json, default: Json, report: Report) -> dict[str, Environment]:
    """`environment: nlp` is short for `environments: {default: nlp}`: both name one that the workspace has."""
    environments = {DEFAULT_ENVIRONMENT: Environment(DEFAULT_ENVIRONMENT)}
    if default is not None:
        environments[DEFAULT_ENVIRONMENT] = _named_environment(DEFAULT_ENVIRONMENT, default, "environment", report)
        if isinstance(value, dict) and DEFAULT_ENVIRONMENT in value:
            hint = f"Keep one of `environment` and `environments.{DEFAULT_ENVIRONMENT}`."
            report.add("environment", "the default environment is given twice", hint, code="bad_value")
            value = {name: data for name, data in value.items() if name != DEFAULT_ENVIRONMENT}
    if value is not None and not isinstance(value, dict):
        report.add("environments", "`environments` is a mapping of names", "Write {default: {requirements: [pandas]}}.")
        return environments
    for name, data in (value or {}).items():
        path = below("environments", name)
        if not is_address(name):
            report.add(path, f"{name!r} is not a name for an environment", ADDRESS_HINT, code="bad_name")
        if isinstance(data, str):
            environments[name] = _named_environment(name, data, path, report)
            continue
        if data is not None and not isinstance(data, dict):
            hint = "Write {requirements: [pandas]}, or the name of an environment of the workspace."
            report.add(path, "an environment is a mapping, or a name", hint, code="bad_type")
            continue
        environments[name] = _read_environment(name, data or {}, path, report)
    return environments


def _named_environment(name: str, value: Json, path: str, report: Report) -> Environment:
    if not is_address(value):
        report.add(path, f"{value!r} is not a name for an environment", ADDRESS_HINT, code="bad_name")
        return Environment(name)
    return Environment(name, named=str(value))


def _read_environment(name: str, data: Mapping[str, Json], path: str, report: Report) -> Environment:
    report.unknown_keys(data, _ENVIRONMENT_KEYS, path, "an environment")
    python, requirements = data.get("python"), data.get("requirements")
    if python is not None and not (isinstance(python, str) and _PYTHON.match(python)):
        hint = 'Write it in quotes, such as "3.11".'
        report.add(below(path, "python"), f"{python!r} is not a version of Python", hint, code="bad_value")
        python = None
    if requirements is not None and not isinstance(requirements, list):
        hint = 'Write a list, such as ["pandas>=2", scikit-learn].'
        report.add(below(path, "requirements"), "`requirements` is a list", hint, code="bad_type")
        requirements = None
    for index, requirement in enumerate(requirements or ()):
        at = f"{path}.requirements[{index}]"
        if not isinstance(requirement, str) or not requirement.strip():
            report.add(at, "a requirement is a text", "Write a package's name, such as pandas>=2.", code="bad_type")
        elif requirement.lstrip().startswith("-") or "\n" in requirement:
            hint = "Write packages only; where they come from is the platform's setting."
            report.add(at, f"{requirement.strip()!r} is an option, not a requirement", hint, code="bad_value")
    return Environment(name, python, tuple(str(requirement).strip() for requirement in requirements or ()))


# The folder

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@ -]{0,127}\Z")
_FOLDERS = ("worklets", "views", "code", "packages")
_ROOT_FILES = (APP_FILE, "README.md")


class _Folder:
    """Checks file after file, and keeps every problem with its file's path."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files = files
        self.problems: list[Problem] = []
        self.functions: dict[str, Signature] = {}
        self.unread: set[str] = set()

    def add(self, path: str, message: str, hint: str = "", *, line: int | None = None, code: str = "") -> None:
        self.problems.append(Problem(path=path, message=message, hint=hint, code=code, line=line))

    def take(self, file: str, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.problems.append(replace(problem, path=f"{file}: {problem.path}" if problem.path else file))

    def bundle(
        self, check_view: CheckView | None, models: Mapping[str, Signature] | None, name: str | None
    ) -> AppBundle | None:
        self.check_files()
        app = self.app(name)
        self.read_code(app)
        plans = self.plans(app, models)
        views = self.check_views(check_view, plans, models)
        if app is None:
            return None
        if app.home is not None and app.home not in views:
            hint = did_you_mean(app.home, views) or f"Views: {listed(views)}."
            self.add(f"{APP_FILE}: home", f"there is no view named `{app.home}`", hint, code="unknown_view")
        return AppBundle(
            app=app,
            worklets=plans,
            views=views,
            targets=_targets(plans.values()),
            models=tuple(sorted({ref for plan in plans.values() for ref in plan.models})),
            code=tuple(sorted(path for path in self.files if path.startswith(("code/", "packages/")))),
        )

    def check_files(self) -> None:
        if len(self.files) > MAX_FILES:
            self.add("", f"the app has {len(self.files)} files", f"An app has at most {MAX_FILES}.", code="too_large")
        total = sum(_size(content) for content in self.files.values())
        if total > MAX_TOTAL_BYTES:
            self.add(
                "",
                f"the app has {_megabytes(total)}",
                f"An app has at most {_megabytes(MAX_TOTAL_BYTES)}.",
                code="too_large",
            )
        folded: dict[str, str] = {}
        for path, content in self.files.items():
            self.check_file(path, content)
            if (other := folded.setdefault(path.casefold(), path)) != path:
                self.add(path, f"differs from {other} only in case", "Rename one of them.", code="bad_path")

    def check_file(self, path: str, content: str | bytes) -> None:
        parts = path.split("/")
        if len(path) > MAX_PATH or not all(_PART.match(part) for part in parts):
            hint = "Use letters, digits, `_`, `-` and `.`, and `/` between folders."
            self.add(path[:MAX_PATH], "is not a path that an app can have", hint, code="bad_path")
            return
        limit = MAX_CODE_BYTES if path.endswith(".py") else MAX_FILE_BYTES
        if _size(content) > limit:
            self.add(
                path,
                f"has {_megabytes(_size(content))}",
                f"This kind of file has at most {_megabytes(limit)}.",
                code="too_large",
            )
        if len(parts) == 1:
            if path not in _ROOT_FILES:
                hint = did_you_mean(path, _ROOT_FILES) or f"An app has {APP_FILE} and the folders {listed(_FOLDERS)}."
                self.add(path, "does not belong here", hint, code="bad_path")
        elif parts[0] not in _FOLDERS:
            hint = did_you_mean(parts[0], _FOLDERS) or f"Folders: {listed(_FOLDERS)}."
            self.add(path, f"an app has no folder {parts[0]}/", hint, code="bad_path")
        elif parts[0] in ("worklets", "views"):
            self.check_document_path(path, parts)

    def check_document_path(self, path: str, parts: Sequence[str]) -> None:
        stem, _, extension = parts[-1].rpartition(".")
        if extension == "yml":
            self.add(path, "has the ending .yml", f"Rename it to {parts[0]}/{stem}.yaml.", code="bad_path")
        elif len(parts) > 2 or extension != "yaml" or not is_address(stem):
            hint = f"Name it {parts[0]}/NAME.yaml; a NAME has lower-case letters, digits and hyphens."
            self.add(path, f"is not a file that {parts[0]}/ can have", hint, code="bad_path")

    def documents(self, folder: str) -> list[tuple[str, str, str]]:
        """(path, name, text) of each document in a folder, in order."""
        found: list[tuple[str, str, str]] = []
        for path in sorted(self.files):
            stem = path.removeprefix(f"{folder}/").removesuffix(".yaml")
            if path == f"{folder}/{stem}.yaml" and is_address(stem) and (text := self.text(path)) is not None:
                found.append((path, stem, text))
        return found

    def text(self, path: str) -> str | None:
        content = self.files[path]
        if isinstance(content, str):
            return content
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            self.add(path, f"is not UTF-8 text (byte {error.start})", "Save it as UTF-8.", code="bad_encoding")
            return None

    def app(self, name: str | None) -> App | None:
        if APP_FILE not in self.files:
            hint = f"Write {APP_FILE} with `app: 1` and `name: …`."
            self.add(APP_FILE, "is missing", hint, code="missing_file")
            return None
        text = self.text(APP_FILE)
        if text is None:
            return None
        try:
            app = load_app(text)
        except DocumentError as error:
            self.take(APP_FILE, error.problems)
            return None
        if name is not None and app.name != name:
            hint = f"Write `name: {name}`."
            self.add(f"{APP_FILE}: name", f"the app is called {name}, and here `{app.name}`", hint, code="wrong_name")
        return app

    def read_code(self, app: App | None) -> None:
        """Read what functions there are, from syntax alone."""
        for path in sorted(self.files):
            if not (path.startswith("code/") and path.endswith(".py")):
                continue
            text = self.text(path)
            if text is None or len(text) > MAX_CODE_BYTES:
                self.unread.add(path)
                continue
            try:
                self.functions |= function_signatures(text, path)
            except SyntaxError as error:
                self.unread.add(path)
                if not _wants_newer_python(app):
                    message = f"is not valid Python: {error.msg}"
                    self.add(path, message, "Correct the line.", line=error.lineno, code="syntax")
            except (ValueError, RecursionError, MemoryError) as error:
                self.unread.add(path)
                self.add(path, f"cannot be read as Python: {error}", "Simplify the file.", code="syntax")

    def plans(self, app: App | None, models: Mapping[str, Signature] | None) -> dict[str, Plan]:
        plans: dict[str, Plan] = {}
        for path, name, text in self.documents("worklets"):
            try:
                worklet = load_worklet(text, filename=path)
                if worklet.name != name:
                    hint = f"Write `name: {name}`, or rename the file to worklets/{worklet.name}.yaml."
                    self.add(
                        f"{path}: name",
                        f"the file is {name}.yaml, and the name `{worklet.name}`",
                        hint,
                        code="wrong_name",
                    )
                plans[name] = compile_worklet(
                    worklet,
                    functions=self.functions | self.assumed(worklet),
                    models=models,
                    environments=app.environments if app else None,
                )
            except DocumentError as error:
                self.take(path, error.problems)
        return plans

    def assumed(self, worklet: Worklet) -> dict[str, Signature]:
        """The functions a worklet names in files that could not be read; that is one problem, not one per node."""
        targets = [str(node.spec["target"]) for node in worklet.nodes if "target" in node.spec]
        return {target: Signature(open=True) for target in targets if target.partition(":")[0] in self.unread}

    def check_views(
        self, check: CheckView | None, plans: Mapping[str, Plan], models: Mapping[str, Signature] | None
    ) -> tuple[str, ...]:
        documents = self.documents("views")
        for path, name, text in documents if check else ():
            assert check is not None
            self.take(path, check(name, text, worklets=plans, models=models))
        return tuple(name for _, name, _ in documents)


def _targets(plans: Iterable[Plan]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for plan in plans:
        for environment, target in plan.targets:
            found.setdefault(environment, set()).add(target)
    return {environment: tuple(sorted(targets)) for environment, targets in sorted(found.items())}


def _wants_newer_python(app: App | None) -> bool:
    """Whether code may be written for a Python newer than this one, whose syntax cannot be judged here."""
    environments = app.environments.values() if app else ()
    if any(environment.named for environment in environments):  # whose Python only the workspace knows
        return True
    versions = [environment.python for environment in environments]
    return any(int(version.split(".")[1]) > sys.version_info.minor for version in versions if version)


def _size(content: str | bytes) -> int:
    return len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else len(content)


def _megabytes(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"
