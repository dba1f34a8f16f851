"""The documentation is true: links lead somewhere, documents load, code compiles, names exist."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import tenfold
from tenfold.cli.command import make_app, server_commands
from tenfold_deploy.packages import DEFAULTS, read_package
from tenfold_expressions import load_yaml
from tenfold_platform.app import API
from tenfold_platform.apps.bundle import check as check_app
from tenfold_platform.auth.permissions import INSTALLATION_ACTIONS, Role, Scope, actions_of, actions_of_scopes
from tenfold_platform.models.schemas import ModelSchema, SchemaField, SchemaOutput
from tenfold_platform.openapi import render
from tenfold_platform.settings import Settings
from tenfold_platform.stages import RELEASE_STAGES, VERSION_STAGES
from tenfold_views import load_view
from tenfold_worklets import compile_worklet, load_worklet
from tenfold_worklets.app import load_app
from tenfold_worklets.signatures import model_signature

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
SOURCES = [
    path
    for folder in ("platform", "worklets", "views/tenfold_views", "sdk", "deploy")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
REQUIRED = (
    *("tutorial/first-model", "tutorial/triage"),
    *("howto/deploy-a-model", "howto/deploy-a-truss-folder", "howto/write-an-app", "howto/call-an-endpoint"),
    *("howto/share-an-app", "howto/operate-one-machine", "howto/troubleshoot"),
    *("reference/cli", "reference/sdk", "reference/http-api", "reference/data-folder", "reference/settings"),
    *("reference/packages", "reference/model-schema", "reference/errors", "reference/permissions"),
    *("explanation/architecture", "explanation/how-a-request-travels", "explanation/how-a-version-comes-to-life"),
    *("explanation/security", "explanation/reliability", "explanation/performance"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block. `name` is the path on a line of its own before it: the block is that file's content."""

    page: Path
    line: int
    language: str
    text: str
    name: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    language, begun, collected = "", 0, list[str]()
    before = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"\s*```(\w*)", line)
        if begun:
            if fence:
                name = re.fullmatch(r"`([^`]+)`:?", before)
                yield Block(page, begun, language, "\n".join(collected) + "\n", name[1] if name else None)
                language, begun, collected, before = "", 0, [], ""
            else:
                collected.append(line)
        elif fence:
            language, begun = fence[1], number
        elif line.strip():
            before = line.strip()
    assert not begun, f"{page}: the block of line {begun} does not end"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


# --- links


def anchor_of(heading: str) -> str:
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def prose_of(page: Path) -> str:
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors_of(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert found.exists(), f"{target} does not exist"
        if anchor and found.suffix == ".md":
            assert anchor in anchors_of(found), f"{target}: no such heading"


@pytest.mark.parametrize("name", REQUIRED)
def test_every_page_is_there_and_reachable_from_the_index(name: str) -> None:
    assert (DOCS / f"{name}.md").exists()
    assert f"({name}.md)" in (DOCS / "README.md").read_text()


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert sorted(page for page in pages if f"({page})" not in index) == []


# --- code blocks


@pytest.mark.parametrize("block", in_language("python"), ids=str)
def test_python_blocks_compile_and_use_names_that_exist(block: Block) -> None:
    tree = ast.parse(block.text, filename=str(block))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tenfold":
            assert node.attr in tenfold.__all__, f"{block}: tenfold.{node.attr} does not exist"
        if isinstance(node, ast.ImportFrom) and node.module == "tenfold":
            for alias in node.names:
                assert alias.name in tenfold.__all__, f"{block}: tenfold.{alias.name} does not exist"


@pytest.mark.parametrize("block", in_language("yaml"), ids=str)
def test_yaml_blocks_load_with_the_real_loaders(block: Block) -> None:
    data = load_yaml(block.text, filename=str(block)).data
    if not isinstance(data, dict):
        return
    if "worklet" in data and "nodes" in data:
        compile_worklet(load_worklet(block.text))
    elif "view" in data and "nodes" in data:
        load_view(block.text, filename=str(block))
    elif "app" in data:
        load_app(block.text)
    elif "model_name" in data:
        read_package({"config.yaml": block.text.encode(), "model/model.py": b""})


@pytest.mark.parametrize("block", in_language("json"), ids=str)
def test_json_blocks_are_json(block: Block) -> None:
    load_yaml(block.text, filename=str(block))


def test_the_app_of_the_howto_is_right() -> None:
    """All files of the page together, checked as a push would check them."""
    page = DOCS / "howto" / "write-an-app.md"
    files = {block.name: block.text.encode() for block in blocks_of(page) if block.name}
    assert {"app.yaml", "worklets/answer.yaml", "views/desk.yaml", "code/text.py"} <= files.keys()
    topics = {"form": "record", "fields": [{"name": "text", "type": "str"}], "output": {"kind": "scores"}}
    checked = check_app(files, name="desk", models={"topics@production": model_signature(topics)})
    assert [f"{problem.path}: {problem.message}" for problem in checked.problems] == []
    assert [f"{problem.path}: {problem.message}" for problem in checked.warnings] == []


def test_the_package_of_the_howto_is_right() -> None:
    page = DOCS / "howto" / "deploy-a-truss-folder.md"
    files = {block.name: block.text.encode() for block in blocks_of(page) if block.name}
    config = read_package(files)
    assert config.model_name == "keywords"
    assert config.warnings == ()
    namespace: dict[str, Any] = {}
    exec(compile(files["model/model.py"], "model.py", "exec"), namespace)
    model = namespace["Model"](config=dict(config.values))
    model.load()
    assert model.predict(config.model_metadata["example_model_input"])["keywords"]


# --- commands


@cache
def command_tree() -> Any:
    return typer.main.get_command(make_app(server_commands()))


def lines_with_commands() -> list[tuple[str, str]]:
    """Every `tenfold …` that a page tells people to type, with where it stands."""
    found = []
    for block in in_language("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            command = re.sub(r"^(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?", "", line.strip())
            if command.startswith("tenfold "):
                found.append((str(block), command))
    for page in PAGES:
        text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        found += [(str(page.relative_to(ROOT)), command) for command in re.findall(r"`(tenfold [^`\n]+)`", text)]
    return found


def resolve(command: str) -> tuple[Any, list[str]]:
    """The click command that a line means, and the rest of its words."""
    words = shlex.split(re.sub(r"\s+(#|>|\|).*$", "", command))[1:]
    found = command_tree()
    while words and hasattr(found, "commands"):
        if words[0] not in found.commands:
            break
        found = found.commands[words.pop(0)]
    return found, words


@pytest.mark.parametrize(("where", "command"), sorted(set(lines_with_commands())))
def test_every_documented_command_exists(where: str, command: str) -> None:
    found, rest = resolve(command)
    words = [word for word in rest if not word.startswith("-")]
    is_group_alone = hasattr(found, "commands") and words and words[0].isidentifier() and words[0].islower()
    assert not is_group_alone, f"{where}: there is no command `{command}`"
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in {*known, "--help"}, f"{where}: `{command}` has no option {word}"


def all_commands(group: Any, name: str = "tenfold") -> Iterator[str]:
    for word, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}"


def test_every_command_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "cli.md").read_text()
    assert [command for command in all_commands(command_tree()) if f"`{command}" not in page] == []


# --- names in tables


def cells_of(page: str, column: int = 0) -> list[str]:
    """The words in backticks of one column, from every table of a page of the reference."""
    found = []
    for line in (DOCS / "reference" / f"{page}.md").read_text().splitlines():
        cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
        if len(cells) > column:
            found += re.findall(r"`([^`]+)`", cells[column])
    return found


def source_text() -> str:
    return "\n".join(path.read_text() for path in SOURCES) + (ROOT / "dev").read_text()


def test_every_documented_setting_exists_and_every_setting_is_documented() -> None:
    documented = set(re.findall(r"TENFOLD_[A-Z_]*[A-Z]", (DOCS / "reference" / "settings.md").read_text()))
    settings = {f"TENFOLD_{name.upper()}" for name in Settings.model_fields}
    read_elsewhere = set(re.findall(r"[\"'](TENFOLD_[A-Z_]*[A-Z])[\"']", source_text()))
    assert sorted((settings | read_elsewhere) - documented) == []
    assert sorted(documented - settings - read_elsewhere) == []


def test_every_page_names_only_settings_that_exist() -> None:
    known = set(re.findall(r"TENFOLD_[A-Z_]*[A-Z]", (DOCS / "reference" / "settings.md").read_text()))
    for page in PAGES:
        unknown = set(re.findall(r"TENFOLD_[A-Z_]*[A-Z]", page.read_text())) - known
        assert not unknown, f"{page}: {sorted(unknown)}"


def codes_in(path: Path) -> Iterator[str]:
    """Codes that the platform and the SDK give errors: class attributes `code`, and arguments `code=`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value)
            case ast.ClassDef(body=body):
                for statement in body:
                    yield from _class_code(statement)


def _class_code(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
            yield code
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
            for name, value in zip(names, values, strict=True):
                if isinstance(name, ast.Name) and name.id == "code" and isinstance(value, ast.Constant):
                    yield str(value.value)


def test_every_documented_error_code_exists() -> None:
    quoted = set(re.findall(r"[\"']([a-z][a-z0-9_]*)[\"']", source_text()))
    assert sorted(set(cells_of("errors")) - quoted) == []


def test_every_error_code_of_the_platform_and_the_sdk_is_documented() -> None:
    documented = set(cells_of("errors"))
    found = {
        code
        for path in SOURCES
        if path.is_relative_to(ROOT / "platform") or path.is_relative_to(ROOT / "sdk")
        for code in codes_in(path)
    }
    assert sorted(found - documented) == []


def test_the_management_api_is_documented_route_by_route() -> None:
    document = json.loads(render())
    routes = {
        f"{method.upper()} {path.removeprefix(API)}"
        for path, methods in document["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    }
    documented = {cell for cell in cells_of("http-api") if re.match(r"(GET|POST|PUT|PATCH|DELETE) (/(?!v1/)|…/)", cell)}
    shortened = {route.replace("/workspaces/{workspace}/", "…/") for route in routes}
    assert sorted(documented - shortened) == []
    assert sorted(shortened - documented) == []


def test_the_permissions_page_says_what_the_code_says() -> None:
    given: dict[str, set[str]] = {}
    page = (DOCS / "reference" / "permissions.md").read_text()
    for table in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.strip().splitlines()]
        for row in rows:
            for column, cell in zip(head[1:], row[1:], strict=True):
                if cell == "yes":
                    given.setdefault(column, set()).add(row[0].strip("`"))
    assert given == {
        **{role.value: {action.value for action in actions_of(role)} for role in Role},
        **{f"key: {scope.value}": {action.value for action in actions_of_scopes([scope])} for scope in Scope},
        "operator of the installation": {action.value for action in INSTALLATION_ACTIONS},
    }


def test_the_schema_page_names_every_part_of_a_schema() -> None:
    page = set(cells_of("model-schema"))
    types = set(SchemaField.model_fields["type"].annotation.__args__)  # type: ignore[union-attr]
    forms = set(ModelSchema.model_fields["form"].annotation.__args__)  # type: ignore[union-attr]
    kinds = set(SchemaOutput.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
    keys = set(SchemaField.model_fields) | set(SchemaOutput.model_fields) | set(ModelSchema.model_fields)
    assert sorted((types | forms | kinds | keys) - page) == []


def test_the_packages_page_names_every_key_of_a_package() -> None:
    page = (DOCS / "reference" / "packages.md").read_text()
    sections = [f"{part}.{key}" for part in ("resources", "runtime") for key in DEFAULTS[part]]
    plain = [key for key in DEFAULTS if key not in ("resources", "runtime")]
    assert [key for key in [*plain, *sections] if f"`{key}`" not in page] == []


def test_the_stages_are_described() -> None:
    page = (DOCS / "explanation" / "how-a-version-comes-to-life.md").read_text()
    assert [name for name in {*VERSION_STAGES, *RELEASE_STAGES} if f"`{name}`" not in page] == []


def test_the_sdk_page_names_every_public_name() -> None:
    page = (DOCS / "reference" / "sdk.md").read_text()
    assert [name for name in tenfold.__all__ if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize("cell", [cell for cell in cells_of("sdk") if re.match(r"[A-Z]\w+\.", cell)])
def test_every_documented_member_of_the_sdk_exists(cell: str) -> None:
    owner, member, parameters = re.fullmatch(r"(\w+)\.(\w+)(?:\((.*)\))?", cell).groups()  # type: ignore[union-attr]
    kind = getattr(tenfold, owner)
    if member == "last_run":  # set on the instance
        assert "self.last_run" in inspect.getsource(kind)
        return
    found = inspect.getattr_static(kind, member)
    assert callable(getattr(found, "__func__", found)) == (parameters is not None), f"{cell}: a method has parentheses"
    for name in re.findall(r"\w+", parameters or ""):
        assert name in inspect.signature(found).parameters, f"{cell}: there is no parameter {name}"


def test_the_deploy_call_of_the_reference_names_every_parameter() -> None:
    page = (DOCS / "reference" / "sdk.md").read_text()
    parameters = set(inspect.signature(tenfold.deploy).parameters) - {"model", "name", "progress"}
    assert [name for name in parameters if f"{name}=" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_begin_with_one_title(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert lines[0].startswith("# ")
    outside = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# ", outside, flags=re.MULTILINE)) == 1
