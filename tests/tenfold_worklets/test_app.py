"""The app folder: checked as a whole, without running any of it."""

import sys

import pytest

from tenfold_expressions import DocumentError, Problem
from tenfold_worklets import Signature
from tenfold_worklets.app import Environment, check_app, load_app

APP = """
app: 1
name: triage
title: Triage
description: Sorts messages.
environments:
  nlp: {python: "3.11", requirements: ["pandas>=2", scikit-learn]}
home: main
"""
WORKLET = """
worklet: 1
name: classify
environment: nlp
input: {text: str}
nodes:
  clean: {pre: code/text.py:clean, in: {text: =input.text}}
  score: {model: zero-shot, in: {inputs: =clean}}
  save: {logic: code/store/db.py:save, environment: default, in: {value: =score}}
return: {score: =score}
triggers: {api: {http: true}}
"""
FILES = {
    "app.yaml": APP,
    "README.md": "# Triage",
    "worklets/classify.yaml": WORKLET,
    "views/main.yaml": "view: 1\nname: main\n",
    "code/text.py": b"def clean(text: str) -> str:\n    return text.strip()\n",
    "code/store/db.py": "import nowhere\nraise SystemExit('never run')\ndef save(value): ...\n",
    "code/words.txt": "a\nb\n",
    "packages/units/__init__.py": "",
}


def found(files, **options):
    with pytest.raises(DocumentError) as caught:
        check_app(files, **options)
    return caught.value.problems


def test_a_folder_that_is_right_gives_what_a_release_needs():
    bundle = check_app(FILES, name="triage", models={"zero-shot": Signature(open=True)})
    assert (bundle.app.name, bundle.app.title, bundle.app.home) == ("triage", "Triage", "main")
    assert set(bundle.worklets) == {"classify"}
    assert bundle.views == ("main",)
    assert bundle.targets == {"default": ("code/store/db.py:save",), "nlp": ("code/text.py:clean",)}
    assert bundle.models == ("zero-shot@production",)
    assert bundle.code == ("code/store/db.py", "code/text.py", "code/words.txt", "packages/units/__init__.py")


def test_there_is_always_a_default_environment():
    assert load_app("app: 1\nname: a").environments == {"default": Environment("default")}
    assert load_app(APP).environments == {
        "default": Environment("default"),
        "nlp": Environment("nlp", "3.11", ("pandas>=2", "scikit-learn")),
    }


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("name: a", "app", "`app:` is missing"),
        ("app: 9\nname: a", "app", "reads up to version 1"),
        ("app: 1", "name", "has no name"),
        ("app: 1\nname: A", "name", "'A' is not a name for an app"),
        ("app: 1\nname: a\nhom: x", "hom", "has no key 'hom'"),
        ("app: 1\nname: a\ntitle: 3", "title", "must be a text"),
        ("app: 1\nname: a\nhome: Main View", "home", "is not the name of a view"),
        ("app: 1\nname: a\nenvironments: [x]", "environments", "is a mapping"),
        ("app: 1\nname: a\nenvironments: {x: [pandas]}", "environments.x", "is a mapping"),
        ("app: 1\nname: a\nenvironments: {X Y: {}}", "environments.X Y", "is not a name for an environment"),
        ("app: 1\nname: a\nenvironments: {x: {pyhton: '3.11'}}", "environments.x.pyhton", "has no key"),
        ("app: 1\nname: a\nenvironments: {x: {python: 3.11}}", "environments.x.python", "is not a version of Python"),
        ("app: 1\nname: a\nenvironments: {x: {python: '2.7'}}", "environments.x.python", "is not a version of Python"),
        ("app: 1\nname: a\nenvironments: {x: {requirements: pandas}}", "environments.x.requirements", "is a list"),
        ("app: 1\nname: a\nenvironments: {x: {requirements: [3]}}", "environments.x.requirements[0]", "is a text"),
        (
            "app: 1\nname: a\nenvironments: {x: {requirements: [a, --index-url=b]}}",
            "environments.x.requirements[1]",
            "is an option",
        ),
        ("[]", "", "an app is a mapping"),
    ],
)
def test_each_problem_of_the_apps_own_document(text, path, message):
    with pytest.raises(DocumentError) as caught:
        load_app(text)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message


def without(path):
    return {other: content for other, content in FILES.items() if other != path}


@pytest.mark.parametrize(
    ("change", "path", "message", "hint"),
    [
        ({"notes.txt": "x"}, "notes.txt", "does not belong here", "folders worklets"),
        ({"app.yml": "x"}, "app.yml", "does not belong here", "`app.yaml`"),
        ({"worklet/a.yaml": "x"}, "worklet/a.yaml", "has no folder worklet/", "`worklets`"),
        ({"worklets/a.yml": "x"}, "worklets/a.yml", "has the ending .yml", "worklets/a.yaml"),
        ({"worklets/sub/a.yaml": "x"}, "worklets/sub/a.yaml", "is not a file that worklets/", "worklets/NAME.yaml"),
        ({"worklets/My Flow.yaml": "x"}, "worklets/My Flow.yaml", "is not a file that worklets/", "lower-case"),
        ({"code/../x.py": ""}, "code/../x.py", "is not a path that an app can have", "letters"),
        ({"/etc/passwd": ""}, "/etc/passwd", "is not a path", "letters"),
        ({"code//x.py": ""}, "code//x.py", "is not a path", "letters"),
        ({"code\\x.py": ""}, "code\\x.py", "is not a path", "letters"),
        ({"code/a\nb.py": ""}, "code/a\nb.py", "is not a path", "letters"),
        ({"code/.env": ""}, "code/.env", "is not a path", "letters"),
        ({"code/" + "a" * 300: ""}, ("code/" + "a" * 300)[:200], "is not a path", "letters"),
        ({"code/Text.py": ""}, "code/Text.py", "differs from code/text.py only in case", "Rename"),
        ({"code/big.bin": b"x" * (10 * 1024 * 1024 + 1)}, "code/big.bin", "has 10.0 MiB", "at most 10.0 MiB"),
        ({"code/big.py": "#" * (1024 * 1024 + 1)}, "code/big.py", "has 1.0 MiB", "at most 1.0 MiB"),
        ({"code/bad.py": "def f(:\n  pass"}, "code/bad.py", "is not valid Python", "Correct"),
        ({"code/bad.py": b"\xff\xfe"}, "code/bad.py", "is not UTF-8 text (byte 0)", "UTF-8"),
        ({"code/bad.py": "x = " + "(" * 5000}, "code/bad.py", "Python", ""),
        ({"code/bad.py": "-" * 100_000 + "1"}, "code/bad.py", "Python", ""),
        ({"code/bad.py": "x = '\0'"}, "code/bad.py", "Python", ""),
        ({"worklets/classify.yaml": b"\xff"}, "worklets/classify.yaml", "is not UTF-8", "UTF-8"),
        (
            {"worklets/other.yaml": WORKLET},
            "worklets/other.yaml: name",
            "the file is other.yaml, and the name `classify`",
            "Write `name: other`",
        ),
        (
            {"code/text.py": "def claen(text): ..."},
            "worklets/classify.yaml: nodes.clean.pre",
            "code/text.py has no function `clean`",
            "Did you mean `claen`?",
        ),
        (
            {"app.yaml": APP.replace("nlp:", "vision:")},
            "worklets/classify.yaml: environment",
            "no environment named `nlp`",
            "Environments: default, vision.",
        ),
        ({"app.yaml": APP.replace("home: main", "home: mian")}, "app.yaml: home", "no view named `mian`", "`main`"),
        ({"app.yaml": APP.replace("name: triage", "name: sorter")}, "app.yaml: name", "called triage", "name: triage"),
        ({"app.yaml": APP + "hom: x"}, "app.yaml: hom", "has no key 'hom'", "`home`"),
    ],
)
def test_each_problem_of_a_folder_names_its_file(change, path, message, hint):
    (problem,) = found(FILES | change, name="triage")
    assert problem.path == path
    assert message in problem.message
    assert hint in problem.hint


def test_a_folder_without_its_document_is_refused():
    assert [(problem.path, problem.message) for problem in found(without("app.yaml"))] == [("app.yaml", "is missing")]


def test_a_syntax_error_has_its_line():
    (problem,) = found(FILES | {"code/bad.py": "a = 1\nb = = 2\n"})
    assert problem.line == 2


def test_a_file_that_cannot_be_read_is_one_problem_and_not_one_per_node():
    (problem,) = found(FILES | {"code/text.py": "def clean(text:\n"})
    assert problem.path == "code/text.py"


def test_syntax_of_a_newer_python_is_left_to_that_python():
    newer = f"3.{sys.version_info.minor + 1}"
    app = APP.replace('"3.11"', f'"{newer}"')
    bundle = check_app(FILES | {"app.yaml": app, "code/text.py": "def clean[[T]](text): ..."})
    assert bundle.targets["nlp"] == ("code/text.py:clean",)


def test_problems_of_all_files_come_at_once():
    problems = found(
        {
            "app.yaml": "app: 1\nname: T",
            "worklets/a.yaml": "worklet: 1\nname: a\nnodes: {x: {modle: m}}",
            "worklets/b.yaml": "worklet: 1\nname: b\nnodes: {x: {pre: code/t.py:f}}",
            "code/u.py": "def (",
            "stray": "",
        }
    )
    assert {problem.path for problem in problems} == {
        "app.yaml: name",
        "worklets/a.yaml: nodes.x.modle",
        "worklets/b.yaml: nodes.x.pre",
        "code/u.py",
        "stray",
    }


def test_too_many_files_and_too_many_bytes_are_refused():
    assert (
        "2001 files" in found({f"code/f{i}.txt": "" for i in range(2000)} | {"app.yaml": "app: 1\nname: a"})[0].message
    )
    big = {f"code/f{i}.bin": b"x" * (9 * 1024 * 1024) for i in range(6)}
    assert found(big | {"app.yaml": "app: 1\nname: a"})[0].message == "the app has 54.0 MiB"


def test_models_are_checked_when_they_are_known():
    (problem,) = found(FILES, models={"zero-shoot": Signature(open=True)})
    assert (problem.path, problem.hint) == ("worklets/classify.yaml: nodes.score.model", "Did you mean `zero-shoot`?")


def test_views_are_checked_by_whoever_knows_them():
    seen = []

    def check_view(name, text, /, *, worklets, models):
        seen.append((name, text, sorted(worklets), models))
        return [Problem("nodes.ok.type", "there is no component `buton`", "Did you mean `button`?", line=7)]

    (problem,) = found(FILES, check_view=check_view)
    assert (problem.path, problem.line) == ("views/main.yaml: nodes.ok.type", 7)
    assert seen == [("main", "view: 1\nname: main\n", ["classify"], None)]


def test_an_environment_of_the_workspace_is_named() -> None:
    app = load_app("app: 1\nname: desk\nenvironment: nlp\nenvironments:\n  heavy: vision\n  own: {requirements: [a]}\n")
    named = {name: environment.named for name, environment in app.environments.items()}
    assert named == {"default": "nlp", "heavy": "vision", "own": None}
    assert load_app("app: 1\nname: desk\nenvironments: {default: nlp}\n").environments["default"].named == "nlp"


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("environment: Not a name", "environment", "is not a name for an environment"),
        ("environment: [a]", "environment", "is not a name for an environment"),
        ("environment: nlp\nenvironments: {default: {}}", "environment", "is given twice"),
        ("environments: {heavy: A B}", "environments.heavy", "is not a name for an environment"),
        ("environments: {heavy: 7}", "environments.heavy", "a mapping, or a name"),
    ],
)
def test_a_wrong_name_for_an_environment(text: str, path: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load_app(f"app: 1\nname: desk\n{text}\n")
    assert [(problem.path, says in problem.message) for problem in caught.value.problems] == [(path, True)]


def test_code_for_a_python_that_only_the_workspace_knows_is_not_judged_here() -> None:
    files = {"app.yaml": "app: 1\nname: desk\nenvironment: nlp\n", "code/new.py": "syntax of = the future ?\n"}
    assert check_app(files).app.name == "desk"
