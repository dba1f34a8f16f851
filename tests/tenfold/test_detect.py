from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from tenfold.errors import CannotPackage
from tenfold.packaging.detect import detect


class Predictor:
    def predict(self, x: int) -> int:
        return x


class Nothing:
    pass


def function(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (LogisticRegression(), "estimator"),
        (function, "function"),
        (Predictor, "class"),
        (Predictor(), "instance"),
        ("some/folder", "folder"),
        (Path("some/folder"), "folder"),
    ],
)
def test_what_can_be_deployed_is_recognised(model: Any, kind: str) -> None:
    assert detect(model).kind == kind


@pytest.mark.parametrize(
    ("module", "framework"), [("torch.nn.modules", "PyTorch"), ("xgboost.sklearn", "XGBoost"), ("keras.src", "Keras")]
)
def test_other_frameworks_are_refused_with_what_to_do_instead(module: str, framework: str) -> None:
    kind = type("Net", (), {"__module__": module, "predict": lambda self, x: x})
    with pytest.raises(CannotPackage, match=f"Net is a {framework} model") as refused:
        detect(kind())
    assert "Wrap it in a class with the methods load" in refused.value.hint


def test_a_class_of_the_users_own_on_top_of_a_framework_is_a_model_when_it_predicts() -> None:
    base = type("Module", (), {"__module__": "torch.nn"})
    mine = type("Mine", (base,), {"__module__": "__main__", "predict": lambda self, x: x})
    assert detect(mine).kind == "class"
    assert detect(mine()).kind == "instance"


@pytest.mark.parametrize("model", [Nothing(), Nothing, 3, len, LogisticRegression])
def test_what_cannot_be_asked_is_refused(model: Any) -> None:
    with pytest.raises(CannotPackage) as refused:
        detect(model)
    assert refused.value.hint
