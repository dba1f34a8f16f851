"""Packages of pipelines, where transformers is not there: a pipeline that is not one is saved, read and asked."""

from __future__ import annotations

import base64
import enum
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from PIL import Image

from tenfold.errors import CannotPackage
from tenfold.packaging import transformers_pipelines
from tenfold.packaging.detect import detect
from tenfold.packaging.transformers_pipelines import HubModel, hub, package_pipeline
from tenfold.schema import Field, Output
from tenfold_deploy.packages import read_package

RunPackage = Callable[[Path], Any]


class Strategy(enum.Enum):
    SIMPLE = "simple"


class FakeModel:
    def __init__(self, labels: dict[int, str]) -> None:
        self.config = SimpleNamespace(id2label=labels)

    def eval(self) -> None:
        self.is_training = False


class FakePipeline:
    """Saves a file, and answers with what it was asked."""

    def __init__(self, task: str, labels: dict[int, str] | None = None, **parameters: Any) -> None:
        self.task = task
        self.model = FakeModel(labels or {})
        self.tokenizer = SimpleNamespace(chat_template=None)
        self._preprocess_params: dict[str, Any] = {}
        self._forward_params: dict[str, Any] = {}
        self._postprocess_params: dict[str, Any] = parameters

    def save_pretrained(self, folder: str) -> None:
        Path(folder, "config.json").write_text(json.dumps({"labels": self.model.config.id2label}))

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.task == "text-classification":
            return [{"label": name, "score": 0.5} for name in self.model.config.id2label.values()]
        if self.task == "image-classification":
            return [{"label": given[0].mode, "score": given[0].width}]
        if self.task == "zero-shot-classification":
            return {"labels": named["candidate_labels"], "scores": [1.0 / len(named["candidate_labels"])] * 2}
        if self.task == "summarization":
            return [{"summary_text": given[0][:3]}]
        return {"given": list(given), **named}


FakePipeline.__module__ = FakeModel.__module__ = "transformers.pipelines.fake"


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakePipeline], None]:
    """Puts a transformers in place whose `pipeline` gives the one that it is told."""
    monkeypatch.setattr(
        transformers_pipelines, "pins_of", lambda modules: {one: f"{one}==1.0" for one in sorted(modules)}
    )

    def use(pipe: FakePipeline) -> None:
        module = ModuleType("transformers")
        module.__version__ = "5.0.0"  # type: ignore[attr-defined]
        module.pipeline = lambda task, **given: pipe  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "transformers", module)

    return use


def serve(pipe: FakePipeline, use: Callable[[FakePipeline], None], root: Path, run_package: RunPackage) -> Any:
    package_pipeline(pipe, "m", root)
    read_package(root)
    pipe._postprocess_params = {}
    use(pipe)
    return run_package(root)


def test_a_text_classifier_gives_its_labels_and_takes_texts(
    tmp_path: Path, transformers: Callable[[FakePipeline], None], run_package: RunPackage
) -> None:
    pipe = FakePipeline("text-classification", {0: "good", 1: "bad"}, top_k=1, strategy=Strategy.SIMPLE, model=object())
    package = package_pipeline(pipe, "m", tmp_path / "package", example=["hello", "bye"])
    assert package.schema is not None
    assert package.schema.fields == (Field("text", "str"),)
    assert package.schema.output == Output("scores", classes=["good", "bad"])
    assert package.example == {"text": "hello"}
    assert package.requirements[:2] == ("numpy==1.0", "safetensors==1.0")
    config = yaml.safe_load((tmp_path / "package" / "config.yaml").read_text())
    name = f"{Strategy.__module__}:Strategy.SIMPLE"
    assert config["model_metadata"]["tenfold"]["parameters"] == {
        "postprocess": {"top_k": 1, "strategy": {"name": name}}
    }
    assert config["environment_variables"]["HF_HUB_OFFLINE"] == "1"

    plain = FakePipeline("text-classification", {0: "good", 1: "bad"}, top_k=1)
    model = serve(plain, transformers, tmp_path / "served", run_package)
    scores = {"good": 0.5, "bad": 0.5}
    assert plain._postprocess_params == {"top_k": 1}
    assert model.predict({"text": "hello"}) == model.predict("hello") == scores
    assert model.predict({"inputs": ["hello", "bye"]}) == [scores, scores]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text": 3}, "'text' is 3, and must be a text."),
        ({"words": "a"}, "There is no field words. The model takes: text."),
        ({}, "The field 'text' is missing."),
        ({"inputs": [1]}, "Text 0 is 1, and must be a text."),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, transformers: Callable[[FakePipeline], None], run_package: RunPackage, body: Any, message: str
) -> None:
    model = serve(FakePipeline("text-classification", {0: "a"}), transformers, tmp_path, run_package)
    with pytest.raises(Exception, match=re.escape(message)) as refused:
        model.predict(body)
    assert refused.value.status_code == 400  # type: ignore[attr-defined]


def test_tasks_with_other_inputs_are_asked_as_they_want(
    tmp_path: Path, transformers: Callable[[FakePipeline], None], run_package: RunPackage
) -> None:
    asked = serve(FakePipeline("question-answering"), transformers, tmp_path / "question", run_package)
    body = {"question": "who?", "context": "me"}
    assert asked.predict(body) == {"given": [], **body}

    chosen = serve(FakePipeline("zero-shot-classification"), transformers, tmp_path / "zero", run_package)
    for labels in (["a", "b"], "a, b"):
        assert chosen.predict({"text": "x", "labels": labels}) == {"a": 0.5, "b": 0.5}

    shortened = serve(FakePipeline("summarization"), transformers, tmp_path / "short", run_package)
    assert shortened.predict({"text": "abcdef"}) == "abc"

    anything = serve(FakePipeline("table-question-answering"), transformers, tmp_path / "table", run_package)
    assert anything.predict({"table": {}, "query": "how many?"}) == {"given": [{"table": {}, "query": "how many?"}]}


def test_pictures_are_opened_and_broken_ones_refused(
    tmp_path: Path, transformers: Callable[[FakePipeline], None], run_package: RunPackage
) -> None:
    model = serve(FakePipeline("image-classification", {0: "a"}), transformers, tmp_path, run_package)
    drawn = io.BytesIO()
    Image.new("L", (5, 4)).save(drawn, "PNG")
    data = base64.b64encode(drawn.getvalue()).decode()
    assert model.predict({"image": {"name": "a.png", "type": "image/png", "data": data}}) == {"RGB": 5}
    with pytest.raises(Exception, match="The picture cannot be read"):
        model.predict({"image": {"name": "a.png", "type": "image/png", "data": "AAAA"}})


def test_classes_that_transformers_does_not_have_are_refused(tmp_path: Path) -> None:
    own = FakePipeline("text-classification")
    own.model = SimpleNamespace()  # type: ignore[assignment]
    with pytest.raises(CannotPackage, match="The model's class SimpleNamespace is not one of transformers") as refused:
        package_pipeline(own, "m", tmp_path)
    assert "Write a class around it" in refused.value.hint
    adapted = FakePipeline("text-classification")
    adapted.model.merge_and_unload = lambda: None  # type: ignore[attr-defined]
    with pytest.raises(CannotPackage) as refused:
        package_pipeline(adapted, "m", tmp_path)
    assert "merge_and_unload()" in refused.value.hint


def test_a_wrong_example_is_refused(tmp_path: Path) -> None:
    pipe = FakePipeline("question-answering")
    with pytest.raises(
        CannotPackage, match="The example lacks context, and the model takes: question, context"
    ) as refused:
        package_pipeline(pipe, "m", tmp_path, example="who?")
    assert refused.value.hint == "Give a dict: example={'question': ..., 'context': ...}."


def test_a_name_on_the_hub_is_deployed_without_its_weights(tmp_path: Path) -> None:
    model = hub("sentiment-analysis", "owner/model", revision="v1")
    assert model == HubModel("text-classification", "owner/model", "v1")
    assert detect(model).kind == "transformers"
    package = package_pipeline(model, "m", tmp_path, example="hello")
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["model_metadata"]["tenfold"]["hub"] == {"model": "owner/model", "revision": "v1"}
    assert config["secrets"] == {"HF_TOKEN": None}
    assert "HF_HUB_OFFLINE" not in config["environment_variables"]
    assert {one.partition("==")[0] for one in package.requirements} == {"numpy", "torch", "transformers"}
    assert not (tmp_path / "data").exists()
    assert read_package(tmp_path).foreign is False
    assert "needs a network" in package.notes[0]


@pytest.mark.parametrize("name", ["", "a b", "owner/model/more", "https://example.org/model"])
def test_what_is_no_name_on_the_hub_is_refused(name: str) -> None:
    with pytest.raises(CannotPackage, match="is not a name on the Hugging Face Hub"):
        hub("text-classification", name)


def test_a_model_that_cannot_be_fetched_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_package: RunPackage
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to the hub.")

    module = ModuleType("transformers")
    module.pipeline = unreachable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)
    package_pipeline(hub("fill-mask", "owner/model"), "m", tmp_path)
    with pytest.raises(RuntimeError, match=r"owner/model could not be fetched .* the secret HF_TOKEN"):
        run_package(tmp_path)
