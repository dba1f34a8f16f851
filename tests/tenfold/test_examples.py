"""The examples, as far as they go without a platform; tests/e2e deploys them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tenfold.appfolder import check_folder, read_folder
from tenfold.packaging.folders import package_folder
from tenfold_deploy.packages import read_package

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_triage_app_has_no_problems() -> None:
    folder = read_folder(EXAMPLES / "triage")
    checked = check_folder(folder)
    assert checked.problems == ()
    assert checked.warnings == ()


def test_the_triage_steps_read_a_message() -> None:
    steps = load(EXAMPLES / "triage" / "code" / "text.py")
    assert steps.clean("<p>Hello&nbsp; there</p>\n> quoted\n\n-- \nsignature") == "Hello there"
    with pytest.raises(ValueError, match="empty"):
        steps.clean("  ")
    ranked = steps.rank({"classes": ["a", "b"], "probabilities": [[0.4, 0.6]]})
    assert ranked == {"team": "b", "score": 0.6, "scores": {"a": 0.4, "b": 0.6}}
    assert "between b and a" in steps.ask_a_person(ranked, "hi")
    assert steps.send_to_team(ranked) == "Sent to b (60% sure)."


def test_the_triage_model_knows_its_own_tickets() -> None:
    model = load(EXAMPLES / "triage" / "model.py")
    texts, teams = model.read_tickets()
    assert model.train().score(texts, teams) > 0.95


def test_the_digits_package_reads_its_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    for name in ("model", "model.model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    deploy = load(EXAMPLES / "digits" / "deploy.py")
    monkeypatch.setattr(deploy, "CLASSIFIER", tmp_path / "data" / "digits.joblib")
    deploy.train()
    module: Any = sys.modules["model.model"]
    model = module.Model(tmp_path / "data")
    model.load()
    for sample in sorted((EXAMPLES / "digits" / "samples").glob("*.png")):
        data = base64.b64encode(sample.read_bytes()).decode()
        scores = model.predict({"image": {"name": sample.name, "type": "image/png", "data": data}})
        assert max(scores, key=lambda label: scores[label]) == sample.stem
    with pytest.raises(module.HTTPException, match="cannot be read"):
        model.predict({"image": {"data": "aGVsbG8="}})
    monkeypatch.delitem(sys.modules, "model.model")
    monkeypatch.delitem(sys.modules, "model")


def test_the_digits_folder_is_a_package(tmp_path: Path) -> None:
    package = package_folder(EXAMPLES / "digits", "digits", tmp_path)
    assert package.schema is not None
    assert package.schema.output.kind == "scores"
    config = read_package(EXAMPLES / "digits")
    assert config.foreign is False
    assert config.model_name == "digits"
    paths = [one.path for one in package.manifest()]
    assert "model/model.py" in paths
    assert "deploy.py" not in paths
