"""An app as a folder: read it, check it here (without a server), write what was pulled."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.errors import CannotPackage, Conflict, InvalidInput

if TYPE_CHECKING:
    from tenfold_expressions import Problem
    from tenfold_views import View
    from tenfold_worklets.plan import Plan
    from tenfold_worklets.signatures import Signature

APP_FILE = "app.yaml"
ROOT_FILES = (APP_FILE, "README.md")
FOLDERS = ("worklets", "views", "code", "packages")
STATE_FILE = ".tenfold/draft.json"
SKIPPED = frozenset({"__pycache__", ".ipynb_checkpoints", ".DS_Store", ".git", ".venv"})


@dataclass(frozen=True)
class AppFolder:
    """The files of an app by path. `name` is what app.yaml says; `notes` tell what was left out."""

    root: Path
    name: str
    files: Mapping[str, bytes]
    notes: tuple[str, ...] = ()

    def to_json(self) -> list[dict[str, str]]:
        return [_file_to_json(path, content) for path, content in self.files.items()]


@dataclass(frozen=True)
class Checked:
    """Everything that is wrong with a folder, and what is allowed but probably not meant."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def read_folder(root: Path) -> AppFolder:
    """Raises CannotPackage when it is not an app's folder."""
    app_file = root / APP_FILE
    if not app_file.is_file():
        raise CannotPackage(f"{root} is not an app: it has no {APP_FILE}.", hint="Go to the app's folder, or name it.")
    files = {one: (root / one).read_bytes() for one in ROOT_FILES if (root / one).is_file()}
    for folder in FOLDERS:
        files |= _files_below(root, root / folder)
    known = {*ROOT_FILES, *FOLDERS}
    left_out = sorted(
        one.name for one in root.iterdir() if one.name not in known | SKIPPED and not one.name.startswith(".")
    )
    note = f"Left out, because an app has {', '.join(ROOT_FILES)} and {', '.join(f'{one}/' for one in FOLDERS)}: "
    return AppFolder(root, _name(files[APP_FILE], root), files, (note + ", ".join(left_out),) if left_out else ())


def check_folder(folder: AppFolder) -> Checked:
    """Reads worklets, views and code as the platform would, without it: names of models are not looked up."""
    from tenfold_views import advise, lint, load_views  # weight: only when an app is checked
    from tenfold_worklets.app import check_app

    views, unreadable = load_views(folder.files)
    called = _models_called(views.values())
    warnings: list[Problem] = []

    def check_view(
        name: str, _text: str, /, *, worklets: Mapping[str, Plan], models: Mapping[str, Signature] | None
    ) -> list[Problem]:
        del models  # unknown here
        if name not in views:
            return unreadable[name]
        view = views[name]
        warnings.extend(replace(one, path=f"views/{name}.yaml: {one.path}") for one in advise(view))
        return lint(view, worklets=_inputs_of(worklets), models=called, views=views)

    from tenfold_expressions import DocumentError

    try:
        check_app(folder.files, check_view=check_view, models=None, name=None)
    except DocumentError as error:
        return Checked(tuple(error.problems), tuple(warnings))
    return Checked((), tuple(warnings))


def write_folder(root: Path, files: Iterable[Mapping[str, Any]], *, force: bool = False) -> list[str]:
    """Writes what was pulled. Returns the paths that changed.

    Raises Conflict, before anything is written, when files here differ; `force` overwrites them.
    """
    contents = {str(one["path"]): _content(one) for one in files}
    for path in contents:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InvalidInput(f"The app has a file named {path!r}, which does not belong into a folder.")
    changed = [path for path, content in contents.items() if _read(root / path) != content]
    in_the_way = [path for path in changed if (root / path).exists()]
    if in_the_way and not force:
        raise Conflict(
            f"{len(in_the_way)} files here differ from the app's draft: {', '.join(in_the_way[:5])}"
            + (", …" if len(in_the_way) > 5 else ""),
            hint="Commit them, then pull with --force; or name an empty folder.",
        )
    for path in changed:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents[path])
    return changed


def known_revision(root: Path, url: str, workspace: str, name: str) -> int | None:
    """The draft's revision when this folder was last in step with it."""
    try:
        state = json.loads((root / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    revision = state.get(f"{url} {workspace} {name}") if isinstance(state, dict) else None
    return revision if isinstance(revision, int) else None


def remember_revision(root: Path, url: str, workspace: str, name: str, revision: int) -> None:
    file = root / STATE_FILE
    try:
        state = json.loads(file.read_text())
    except (OSError, ValueError):
        state = {}
    file.parent.mkdir(exist_ok=True)
    (file.parent / ".gitignore").write_text("*\n")
    file.write_text(json.dumps({**(state if isinstance(state, dict) else {}), f"{url} {workspace} {name}": revision}))


def _files_below(root: Path, folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(root)
        if any(part in SKIPPED or part.startswith(".") for part in relative.parts) or path.suffix == ".pyc":
            continue
        if path.is_file():
            found[relative.as_posix()] = path.read_bytes()
    return found


def _name(app_file: bytes, root: Path) -> str:
    import yaml  # only when an app is read

    try:
        data = yaml.safe_load(app_file)
    except yaml.YAMLError as error:
        raise CannotPackage(f"{root / APP_FILE} cannot be read: {error}", hint="Correct it.") from None
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise CannotPackage(f"{root / APP_FILE} does not say what the app is called.", hint="Write `name: ...` in it.")
    return name


def _models_called(views: Iterable[View]) -> set[str]:
    """Every model that a query names: whether it exists is for the server to say."""
    return {
        query.target.partition("@")[0] for view in views for query in view.queries.values() if query.kind == "model"
    }


def _inputs_of(worklets: Mapping[str, Plan]) -> dict[str, dict[str, str]]:
    return {
        name: {port.name: f"{str(port.type).rstrip('?')}{'' if port.required else '?'}" for port in plan.input}
        for name, plan in worklets.items()
    }


def _file_to_json(path: str, content: bytes) -> dict[str, str]:
    try:
        return {"path": path, "content": content.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def _content(file: Mapping[str, Any]) -> bytes:
    content = str(file["content"])
    return base64.b64decode(content) if file.get("encoding") == "base64" else content.encode()


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
