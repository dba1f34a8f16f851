from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL.Image
import pytest
import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.callables import package_callable
from tenfold.schema import Field, Output

Script = Callable[[str], ModuleType]
RunPackage = Callable[[Path], Any]

FUNCTION = '''
import math
import re
from typing import Literal, Optional

WEIGHTS = {"good": 1.0, "bad": -1.0}
PATTERN = re.compile(r"[a-z]+")
SECRET_PLANS = "not needed"

def words(text):
    return PATTERN.findall(text.lower())

Mode = Literal["soft", "hard"]

def mood(text: str, scale: float = 1.0, mode: Mode = "soft", who: Optional[str] = None) -> dict[str, float]:
    """How a text sounds.

    More about it.
    """
    total = scale * sum(WEIGHTS.get(word, 0.0) for word in words(text))
    good = 1 / (1 + math.exp(-total)) if mode == "soft" else float(total > 0)
    return {"good": good, "bad": 1 - good}
'''


def test_a_function_becomes_a_record_of_its_arguments(script: Script, tmp_path: Path) -> None:
    package = package_callable(script(FUNCTION).mood, "mood", tmp_path / "p", example={"text": "good"})
    assert package.schema is not None
    assert package.schema.form == "record"
    assert package.schema.fields == (
        Field("text", "str"),
        Field("scale", "float", default=1.0),
        Field("mode", "str", choices=["soft", "hard"], default="soft"),
        Field("who", "str", nullable=True),
    )
    assert package.schema.output == Output("scores")
    assert package.example == {"text": "good"}
    config = yaml.safe_load((tmp_path / "p" / "config.yaml").read_text())
    assert config["description"] == "How a text sounds."
    assert config["requirements"] == []


def test_a_function_travels_with_what_it_uses_and_nothing_else(
    script: Script, tmp_path: Path, run_package: RunPackage
) -> None:
    main = script(FUNCTION)
    package_callable(main.mood, "mood", tmp_path / "p")
    source = (tmp_path / "p" / "packages" / "notebook_code.py").read_text()
    assert "import math" in source
    assert "SECRET_PLANS" not in source
    model = run_package(tmp_path / "p")
    assert model.predict({"text": "Good!"}) == main.mood("Good!")
    assert model.predict({"text": "good", "mode": "hard", "scale": 2}) == {"good": 1.0, "bad": 0.0}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "The argument 'text' is missing"),
        ({"text": 3}, "'text' is 3, and must be a text"),
        ({"text": "a", "mode": "loud"}, "'mode' is 'loud', and must be one of 'soft', 'hard'"),
        ({"text": "a", "tone": 1}, "There is no argument tone"),
        (["a"], "must be an object"),
    ],
)
def test_wrong_arguments_are_refused(
    script: Script, tmp_path: Path, run_package: RunPackage, body: Any, message: str
) -> None:
    package_callable(script(FUNCTION).mood, "mood", tmp_path / "p")
    with pytest.raises(Exception, match=message) as refused:
        run_package(tmp_path / "p").predict(body)
    assert getattr(refused.value, "status_code", None) == 400


CLASSES = """
import tenfold
from sklearn.linear_model import LinearRegression

LINE = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])

class Base:
    factor = 2

class Doubler(Base):
    def __init__(self, plus=0):
        self.plus = plus
        self.loaded = False
    def load(self):
        self.loaded = True
    def predict(self, value: int) -> int:
        assert self.loaded
        return value * self.factor + self.plus

class Needs(Base):
    def __init__(self, size):
        self.size = size
    def predict(self, value: int) -> int:
        return value

class Whole:
    def predict(self, inputs):
        return {"got": inputs}

class Steps:
    def preprocess(self, text: str) -> list:
        return text.split()
    def predict(self, words):
        return [len(word) for word in words]
    def postprocess(self, lengths) -> dict[str, int]:
        return {"longest": max(lengths)}

class Later:
    async def predict(self, value: int) -> int:
        return value + 1

class Turned:
    def predict(self, picture: tenfold.Image, degrees: int = 90) -> tenfold.Image:
        return picture.open().rotate(degrees, expand=True)

class Reader:
    def predict(self, document: tenfold.File) -> str:
        return document.text().upper()

class Chat:
    def __init__(self, secrets, environment):
        self.where = environment
    def setup_environment(self, environment):
        self.where = environment["name"]
    def predict(self, inputs):
        return self.where
    def chat_completions(self, body):
        return {"model": body["model"], "where": self.where}

def line(x: float) -> float:
    return float(LINE.predict([[x]])[0])
"""


def test_a_class_is_made_and_loaded_in_the_worker(script: Script, tmp_path: Path, run_package: RunPackage) -> None:
    package = package_callable(script(CLASSES).Doubler, "doubler", tmp_path / "p")
    assert package.schema is not None
    assert package.schema.output == Output("regression")
    assert run_package(tmp_path / "p").predict({"value": 4}) == 8


def test_an_instance_keeps_its_state(script: Script, tmp_path: Path, run_package: RunPackage) -> None:
    package_callable(script(CLASSES).Doubler(plus=5), "doubler", tmp_path / "p")
    assert run_package(tmp_path / "p").predict({"value": 4}) == 13


def test_a_class_that_needs_arguments_is_refused(script: Script, tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match=r"Needs\(\) needs size") as refused:
        package_callable(script(CLASSES).Needs, "needs", tmp_path / "p")
    assert refused.value.hint == "Deploy an instance: Needs(size=...)."


def test_one_argument_without_annotation_takes_the_whole_body(
    script: Script, tmp_path: Path, run_package: RunPackage
) -> None:
    package = package_callable(script(CLASSES).Whole, "whole", tmp_path / "p", example=[1, 2])
    assert package.schema is not None
    assert package.schema.form == "value"
    assert run_package(tmp_path / "p").predict([1, {"a": 2}]) == {"got": [1, {"a": 2}]}


def test_pre_and_postprocess_are_steps_of_their_own(script: Script, tmp_path: Path, run_package: RunPackage) -> None:
    package = package_callable(script(CLASSES).Steps, "steps", tmp_path / "p")
    assert package.schema is not None
    assert package.schema.fields == (Field("text", "str"),)
    assert package.schema.output == Output("scores")
    model = run_package(tmp_path / "p")
    assert model.postprocess(model.predict(model.preprocess({"text": "to be fair"}))) == {"longest": 4}


def test_methods_of_other_routes_are_called_as_the_class_has_them(
    script: Script, tmp_path: Path, run_package: RunPackage
) -> None:
    package_callable(script(CLASSES).Chat, "chat", tmp_path / "p")
    model = run_package(tmp_path / "p")
    model.setup_environment({"name": "production"})
    assert model.chat_completions({"model": "chat"}) == {"model": "chat", "where": "production"}
    assert model.predict({}) == "production"
    assert not hasattr(model, "embeddings")


def test_a_coroutine_is_awaited(script: Script, tmp_path: Path, run_package: RunPackage) -> None:
    package_callable(script(CLASSES).Later, "later", tmp_path / "p")
    assert asyncio.run(run_package(tmp_path / "p").predict({"value": 1})) == 2


def test_pictures_come_in_and_go_out_as_files(
    script: Script, tmp_path: Path, run_package: RunPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_callable(script(CLASSES).Turned, "turned", tmp_path / "p", requirements=["pillow"])
    assert package.schema is not None
    assert package.schema.fields[0] == Field("picture", "image")
    assert package.schema.output == Output("image")
    model = run_package(tmp_path / "p")
    assert (tmp_path / "p" / "packages" / "tenfold.py").is_file()
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (4, 2), "red").save(buffer, format="PNG")
    sent = {"name": "a.png", "type": "image/png", "data": base64.b64encode(buffer.getvalue()).decode()}
    answer = model.predict({"picture": sent})
    assert (answer["name"], answer["type"]) == ("image.png", "image/png")
    assert PIL.Image.open(io.BytesIO(base64.b64decode(answer["data"]))).size == (2, 4)
    with pytest.raises(Exception, match="holds data that is not base64"):
        model.predict({"picture": {"name": "a.png", "type": "image/png", "data": "###"}})


def test_a_file_has_text(script: Script, tmp_path: Path, run_package: RunPackage) -> None:
    package_callable(script(CLASSES).Reader, "reader", tmp_path / "p")
    sent = {"name": "a.txt", "type": "text/plain", "data": base64.b64encode(b"hello").decode()}
    assert run_package(tmp_path / "p").predict({"document": sent}) == "HELLO"


def test_a_global_that_is_no_constant_travels_pickled(script: Script, tmp_path: Path, run_package: RunPackage) -> None:
    import sklearn

    package = package_callable(script(CLASSES).line, "line", tmp_path / "p")
    assert (tmp_path / "p" / "packages" / "notebook_values.pickle").is_file()
    assert f"scikit-learn=={sklearn.__version__}" in package.requirements
    assert run_package(tmp_path / "p").predict({"x": 2.0}) == pytest.approx(5.0)


def test_local_modules_are_copied_with_what_they_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_package: RunPackage
) -> None:
    home = tmp_path / "home"
    (home / "shop").mkdir(parents=True)
    (home / "shop" / "__init__.py").write_text("")
    (home / "shop" / "prices.py").write_text(
        "import taxes_of_tests\ndef price(net: float) -> float:\n    return taxes_of_tests.gross(net)\n"
    )
    (home / "taxes_of_tests.py").write_text("def gross(net):\n    return net * 1.5\n")
    monkeypatch.syspath_prepend(str(home))
    from shop.prices import price  # type: ignore[import-not-found]

    package = package_callable(price, "price", tmp_path / "p")
    packages = tmp_path / "p" / "packages"
    assert (packages / "shop" / "prices.py").is_file()
    assert (packages / "taxes_of_tests.py").is_file()
    assert package.notes == ("carries shop", "carries taxes_of_tests.py")
    assert run_package(tmp_path / "p").predict({"net": 2}) == 3.0


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("f = lambda x: x\n", "f", "A lambda cannot be deployed"),
        ("def outer():\n    def f(x: int): return x\n    return f\nf = outer()\n", "f", "defined inside a function"),
        ("def f(): return 1\n", "f", "takes no argument"),
        ("def f(*values): return 1\n", "f", r"takes \*values"),
        ("def f(x):\n    import module_that_nobody_has\n", "f", "cannot be imported on this machine"),
        ("h = lambda x: x\ndef f(x): return h(x)\n", "h", "lambda"),
        ("h = open\nvalue = (i for i in [])\ndef f(x): return value\n", "f", "the global 'value' that f uses"),
    ],
)
def test_what_cannot_travel_is_refused(script: Script, tmp_path: Path, source: str, name: str, message: str) -> None:
    with pytest.raises(CannotPackage, match=message):
        package_callable(getattr(script(source), name), "f", tmp_path / "p")


def test_an_example_must_fit_the_arguments(script: Script, tmp_path: Path) -> None:
    mood = script(FUNCTION).mood
    with pytest.raises(CannotPackage, match="The example has tone"):
        package_callable(mood, "mood", tmp_path / "p", example={"text": "a", "tone": 1})
    with pytest.raises(CannotPackage, match="The example lacks the argument text"):
        package_callable(mood, "mood", tmp_path / "p", example={"scale": 1.0})
