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
    ],
)
def test_what_can_be_deployed_is_recognised(model: Any, kind: str) -> None:
    assert detect(model).kind == kind


def framework_class(name: str, *bases: type) -> type:
    """A class as a framework would define it, by its full name; no framework is needed to recognise one."""
    module, _, short = name.rpartition(".")
    return type(short, bases, {"__module__": module})


def mine(base: type, **members: Any) -> type:
    return type("Mine", (base,), {"__module__": "__main__", **members})


MODULE = framework_class("torch.nn.modules.module.Module")
KERAS = framework_class("keras.src.models.model.Model")
ESTIMATOR = framework_class("sklearn.base.BaseEstimator")


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        (framework_class("torch.nn.modules.linear.Linear", MODULE), "torch"),
        (mine(MODULE), "torch"),
        (framework_class("torch.export.exported_program.ExportedProgram"), "torch"),
        (framework_class("keras.src.models.sequential.Sequential", KERAS), "tensorflow"),
        (framework_class("tensorflow.python.module.module.Module"), "tensorflow"),
        (
            framework_class(
                "transformers.pipelines.text.Text", framework_class("transformers.pipelines.base.Pipeline")
            ),
            "transformers",
        ),
        (framework_class("xgboost.core.Booster"), "xgboost"),
        (framework_class("xgboost.sklearn.XGBModel", ESTIMATOR), "xgboost"),
        (framework_class("lightgbm.basic.Booster"), "lightgbm"),
        (framework_class("lightgbm.sklearn.LGBMModel", ESTIMATOR), "lightgbm"),
        (framework_class("onnx.onnx_ml_pb2.ModelProto"), "onnx"),
        (framework_class("onnxruntime.capi.onnxruntime_inference_collection.InferenceSession"), "onnx"),
        (framework_class("skorch.classifier.NeuralNetClassifier", ESTIMATOR), "estimator"),
        (mine(framework_class("xgboost.sklearn.XGBModel", ESTIMATOR)), "estimator"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_a_framework_is_recognised_by_the_ancestry_of_the_class(of: type, kind: str) -> None:
    assert detect(of()).kind == kind


def test_a_class_of_the_users_own_on_top_of_a_framework_is_asked_its_own_predict() -> None:
    own = mine(MODULE, predict=lambda self, x: x)
    assert detect(own()).kind == "instance"
    assert detect(own).kind == "class"


@pytest.mark.parametrize(
    ("of", "said", "instead"),
    [
        ("transformers.models.bert.modeling_bert.BertModel", "BertModel is of Hugging Face transformers", "pipeline"),
        ("mlflow.pyfunc.PyFuncModel", "PyFuncModel is of MLflow", "Deploy the folder it was loaded from"),
        ("spacy.lang.en.English", "English is of spaCy", "Wrap it in a class with the methods load"),
    ],
)
def test_other_objects_of_a_framework_are_refused_with_what_to_do_instead(of: str, said: str, instead: str) -> None:
    with pytest.raises(CannotPackage, match=said) as refused:
        detect(framework_class(of)())
    assert instead in refused.value.hint


@pytest.mark.parametrize("of", [MODULE, KERAS, mine(MODULE)])
def test_a_class_of_a_framework_is_refused_because_it_is_not_trained(of: type) -> None:
    with pytest.raises(CannotPackage, match="class") as refused:
        detect(of)
    assert f"Deploy one that is made and trained: {of.__name__}(...)." in refused.value.hint


@pytest.mark.parametrize(
    ("files", "path", "kind"),
    [
        (["model.onnx"], "model.onnx", "onnx"),
        (["m/MLmodel", "m/model.pkl"], "m", "mlflow"),
        (["m/saved_model.pb"], "m", "tensorflow"),
        (["m/config.yaml", "m/model/model.py"], "m", "folder"),
    ],
)
def test_a_path_is_recognised_by_what_lies_there(tmp_path: Path, files: list[str], path: str, kind: str) -> None:
    for one in files:
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one).touch()
    detected = detect(str(tmp_path / path))
    assert (detected.kind, detected.path) == (kind, tmp_path / path)


@pytest.mark.parametrize("path", ["some/folder", "model.onnx"])
def test_a_path_where_nothing_is_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(CannotPackage, match=f"There is no file or folder .*{path}") as refused:
        detect(tmp_path / path)
    assert "Name an .onnx file, or the folder" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("model.pt", "torch.jit.load(path)"),
        ("model.keras", "keras.models.load_model(path)"),
        ("model.pkl", "pickle.load(file)"),
        ("MLmodel", "Deploy its folder: "),
        ("notes.txt", "What can be deployed"),
    ],
)
def test_a_file_is_refused_with_how_to_read_it(tmp_path: Path, name: str, instead: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CannotPackage, match="is a file") as refused:
        detect(tmp_path / name)
    assert instead in refused.value.hint


@pytest.mark.parametrize("model", [Nothing(), Nothing, 3, len, LogisticRegression])
def test_what_cannot_be_asked_is_refused(model: Any) -> None:
    with pytest.raises(CannotPackage) as refused:
        detect(model)
    assert refused.value.hint
