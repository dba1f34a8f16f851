"""`tenfold environments` and `tenfold secrets` against the fake platform."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tenfold.cli import environments, output
from tenfold.cli.command import make_app
from tenfold.client import Client

Run = Callable[..., Any]
ONE, TWO = "01a20239-f88a-7d44-9011-b9efcca09b8d", "01a20239-f88b-7d44-9011-0000cca09b8d"


def environment(environment_id: str = ONE, state: str = "ready", **changes: Any) -> dict[str, Any]:
    return {
        "id": environment_id,
        "state": state,
        "python_version": "3.11",
        "requirements": ["numpy"],
        "lock_digest": "5d9f",
        "lock": "numpy==2.0 \\\n    --hash=sha256:00\n",
        "packages": [{"name": "numpy", "version": "2.0"}],
        "build_seconds": 4.25,
        "reason": "",
        "hint": "",
        "created_at": "2026-01-01T00:00:00+00:00",
        "built_at": "2026-01-01T00:00:00+00:00",
        "wanted_at": "2026-01-01T00:00:00+00:00",
        "names": [],
        "used_by": {"models": 2, "apps": 1},
        "size_bytes": 69_000_000,
        "models": [{"model": "hub", "version": 3}],
        "apps": [{"app": "desk", "release": 1}],
        **changes,
    }


def named(**changes: Any) -> dict[str, Any]:
    return {"name": "nlp", "description": "texts", "environment": environment(), "coming": None, **changes}


def page(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": None}


def log(*lines: str, after: int = 1) -> dict[str, Any]:
    items = [{"id": after, "at": "2026-01-01T00:00:00Z", "source": "environment", "text": line} for line in lines]
    return {"items": items, "next_after": after}


UNKNOWN = httpx.Response(404, json={"error": {"code": "unknown_environment", "message": "There is no such name."}})


@pytest.fixture
def run(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(output, "connect", lambda profile: client)
    monkeypatch.setattr(environments.time, "sleep", lambda _: None)
    monkeypatch.setenv("TENFOLD_CREDENTIALS", str(tmp_path / "credentials.json"))
    monkeypatch.setattr(output.console, "_width", 200)
    runner, app = CliRunner(), make_app()

    def invoke(*arguments: str | Path, input: str | bytes | None = None) -> Any:
        return runner.invoke(app, [str(one) for one in arguments], input=input)

    return invoke


def test_environments_are_listed(platform: Any, run: Run) -> None:
    platform.answers["GET environments"] = page(environment(names=["nlp"]))
    said = run("environments").output
    for part in ("b9efcca09b8d", "nlp", "ready", "69 MB", "2 versions, 1 release"):
        assert part in said
    assert json.loads(run("environments", "list", "--json").output)[0]["id"] == ONE
    run("environments", "list", "--state", "failed", "--unused")
    assert dict(platform.requests[-1].url.params) == {"state": "failed", "unused": "true", "limit": "200"}


def test_one_is_found_by_name_and_by_either_end_of_its_id(platform: Any, run: Run) -> None:
    platform.answers |= {
        "GET named-environments/nlp": named(coming=environment(TWO, "failed", reason="no such package")),
        "GET named-environments/b9efcca09b8d": UNKNOWN,
        "GET environments": page(environment(), environment(TWO)),
        f"GET environments/{ONE}": environment(),
    }
    for target in ("nlp", "b9efcca09b8d", "01a20239-f88a", ONE):
        said = run("environments", "show", target)
        assert said.exit_code == 0, said.output
        assert "hub@3, release 1 of desk" in said.output
        assert "numpy" in said.output
    assert "failed no such package" in run("environments", "show", "nlp").output
    assert run("environments", "show", "nlp", "--lock").output == environment()["lock"]
    assert "2 environments are called 01a20239" in run("environments", "show", "01a20239").output
    assert "There is no environment 999" in run("environments", "show", "999").output


def test_setting_a_name_shows_the_build_and_ends_when_it_is_ready(platform: Any, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy  # why\n\npandas>=2\n")
    platform.answers |= {
        "PUT named-environments/nlp": named(coming=environment(TWO, "pending")),
        f"GET environments/{TWO}": [environment(TWO, "building"), environment(TWO)],
        f"GET environments/{TWO}/logs": [log("Resolving\n"), log("ready\n", after=2), log(after=2)],
    }
    said = run("environments", "set", "nlp", "--requirements", file, "--python", "3.12")
    assert said.exit_code == 0, said.output
    assert said.output == "Resolving\nready\nnlp is ready: 1 requirement.\n"
    assert platform.bodies("PUT named-environments/nlp") == [
        {"requirements": ["numpy  # why", "", "pandas>=2"], "python_version": "3.12"}
    ]
    said = run("environments", "set", "nlp", "-r", "-", "--no-wait", "--description", "texts", input="numpy\n")
    assert "nlp is pending" in said.output
    assert platform.bodies("PUT named-environments/nlp")[-1]["description"] == "texts"


def test_a_build_that_fails_ends_with_the_reason_and_the_hint(platform: Any, run: Run) -> None:
    failed = environment(TWO, "failed", reason="There is no nunpy on the package index", hint="Check the spelling.")
    platform.answers |= {
        "PUT named-environments/nlp": named(coming=failed),
        f"GET environments/{TWO}": failed,
        f"GET environments/{TWO}/logs": [log("failed\n"), log()],
    }
    said = run("environments", "set", "nlp", "-r", "-", input="nunpy\n")
    assert said.exit_code == 1
    assert "There is no nunpy on the package index" in said.output
    assert "Check the spelling." in said.output


def test_rebuild_and_upgrade(platform: Any, run: Run) -> None:
    platform.answers |= {
        "GET named-environments/nlp": named(),
        f"POST environments/{ONE}/rebuild": environment(TWO, "pending"),
        f"GET environments/{TWO}": environment(TWO),
        f"GET environments/{TWO}/logs": log(after=0),
    }
    assert run("environments", "rebuild", "nlp").output == "nlp is ready.\n"
    assert run("environments", "rebuild", "nlp", "--upgrade", "--no-wait").output == "nlp is pending.\n"
    assert platform.bodies(f"POST environments/{ONE}/rebuild") == [{"upgrade": False}, {"upgrade": True}]


def test_a_repair_that_failed_says_so_although_what_was_there_stays(platform: Any, run: Run) -> None:
    platform.answers |= {
        "GET named-environments/nlp": named(),
        f"POST environments/{ONE}/rebuild": environment(ONE, "pending"),
        f"GET environments/{ONE}": environment(reason="It could not be built again, and stays as it was: no index"),
        f"GET environments/{ONE}/logs": log(after=0),
    }
    said = run("environments", "rebuild", "nlp")
    assert said.exit_code == 1
    assert "stays as it was" in said.output


def test_deleting_a_name_and_an_environment(platform: Any, run: Run) -> None:
    platform.answers |= {
        "GET named-environments/nlp": named(),
        "GET named-environments/b9efcca09b8d": UNKNOWN,
        "GET environments": page(environment()),
        "DELETE named-environments/nlp": httpx.Response(204),
        f"DELETE environments/{ONE}": httpx.Response(204),
    }
    assert "The name nlp is deleted." in run("environments", "delete", "nlp", input="y\n").output
    assert "The environment b9efcca09b8d is deleted." in run("environments", "delete", "b9efcca09b8d", "-y").output
    assert run("environments", "delete", "nlp", input="n\n").exit_code == 1


def test_collecting_lists_asks_and_deletes(platform: Any, run: Run) -> None:
    platform.answers["POST environments/collect"] = {"items": [environment()], "size_bytes": 2_100_000_000}
    said = run("environments", "collect", "--dry-run")
    assert "1 environment would go, 2.1 GB." in said.output
    assert run("environments", "collect", input="n\n").exit_code == 1
    assert "1 environment deleted, 2.1 GB." in run("environments", "collect", "--unused-days", "3", "-y").output
    asked = [(body["dry_run"], body["unused_days"]) for body in platform.bodies("POST environments/collect")]
    assert asked == [(True, 0), (True, 0), (True, 3), (False, 3)]


def test_python_versions(platform: Any, run: Run) -> None:
    versions = [
        {"version": "3.11", "full": "3.11.9", "source": "machine", "is_default": True},
        {"version": "3.14", "full": "3.14.2", "source": "download", "is_default": False},
    ]
    platform.answers["GET python-versions"] = lambda _: httpx.Response(200, json=versions)
    said = run("environments", "python-versions").output
    assert "on the machine" in said
    assert "fetched when needed" in said


SECRET = {
    "name": "HF_TOKEN",
    "description": "for the hub",
    "updated_at": "2026-01-01T00:00:00+00:00",
    "updated_by": "ann",
    "used_by": [{"model": "hub", "version": 3}],
}


def test_secrets_are_listed_without_values(platform: Any, run: Run) -> None:
    platform.answers["GET secrets"] = page(SECRET)
    said = run("secrets").output
    for part in ("HF_TOKEN", "for the hub", "by ann", "hub@3"):
        assert part in said
    assert json.loads(run("secrets", "list", "--json").output) == [SECRET]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_value_comes_from_a_file_or_from_standard_input(platform: Any, run: Run, tmp_path: Path, ending: str) -> None:
    platform.answers["PUT secrets/HF_TOKEN"] = SECRET
    file = tmp_path / "token"
    file.write_bytes(f"the value{ending}".encode())
    said = run("secrets", "set", "HF_TOKEN", "--file", file, "--description", "for the hub")
    assert said.exit_code == 0, said.output
    assert "Restart what uses it, to give it the new value: hub@3" in said.output
    assert "the value" not in said.output.replace("the new value", "")
    run("secrets", "set", "HF_TOKEN", input=f"the value{ending}")
    run("secrets", "set", "HF_TOKEN", "--file", "-", input=f"the value{ending}")
    values = [body["value"] for body in platform.bodies("PUT secrets/HF_TOKEN")]
    assert values == ["the value"] * 3


def test_requirements_and_values_may_come_through_a_pipe(platform: Any, run: Run, piped: Callable[[str], str]) -> None:
    platform.answers["PUT secrets/HF_TOKEN"] = SECRET
    platform.answers["PUT named-environments/nlp"] = named(coming=environment(TWO, "pending"))
    assert run("secrets", "set", "HF_TOKEN", "--file", piped("the value\n")).exit_code == 0
    lines = piped("numpy\npandas\n")
    assert run("environments", "set", "nlp", "-r", lines, "--no-wait").exit_code == 0
    assert platform.bodies("PUT secrets/HF_TOKEN") == [{"value": "the value"}]
    assert platform.bodies("PUT named-environments/nlp")[0]["requirements"] == ["numpy", "pandas"]


def test_a_value_is_asked_for_twice_and_not_shown(platform: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.answers["PUT secrets/A"] = {**SECRET, "used_by": []}
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **options: Any) -> str:
        asked.append(options)
        return "typed"

    monkeypatch.setattr("tenfold.cli.secrets._is_terminal", lambda: True)
    monkeypatch.setattr("tenfold.cli.secrets.typer.prompt", prompt)
    assert run("secrets", "set", "A").output == "A is set.\n"
    assert asked == [{"hide_input": True, "confirmation_prompt": True}]
    assert platform.bodies("PUT secrets/A") == [{"value": "typed"}]


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "The value is empty."), (b"\n", "The value is empty."), (b"\xff\xfe", "not UTF-8 text")]
)
def test_a_value_that_is_none(platform: Any, run: Run, tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    said = run("secrets", "set", "A", "--file", file)
    assert said.exit_code == 1
    assert says in said.output
    assert "There is no file" in run("secrets", "set", "A", "--file", tmp_path / "nothing").output
    assert platform.requests == []


def test_a_value_is_no_argument(run: Run) -> None:
    assert run("secrets", "set", "A", "the value").exit_code == 2


def test_deleting_a_secret(platform: Any, run: Run) -> None:
    platform.answers["DELETE secrets/A"] = httpx.Response(204)
    assert run("secrets", "delete", "A", input="n\n").exit_code == 1
    assert run("secrets", "delete", "A", "--yes").output == "A is deleted.\n"
