"""Packages of MLflow model folders, as MLflow writes them; MLflow itself is only in the worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.mlflow_models import package_mlflow
from tenfold.schema import Field, ModelSchema, Output

COLUMNS = [
    {"type": "double", "name": "area", "required": True},
    {"type": "long", "name": "rooms", "required": True},
    {"type": "string", "name": "street", "required": False},
    {"type": "datetime", "name": "sold", "required": True},
    {"type": "array", "name": "tags", "items": {"type": "string"}, "required": True},
]
ARRAYS = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]
NUMBER = [{"type": "double", "name": "price", "required": True}]
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """A folder as `mlflow.<flavour>.save_model` leaves it."""

    def make(
        inputs: Any = None,
        outputs: Any = None,
        params: Any = None,
        loader: str = "mlflow.sklearn",
        requirements: str | None = "mlflow==3.1.0\nscikit-learn==1.7.0\ntorch==2.7.0+cpu  # local\n",
        example: Any = None,
    ) -> Path:
        folder = tmp_path / "saved"
        folder.mkdir()
        env = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
        flavour = {"loader_module": loader, "model_path": "model.pkl", "python_version": "3.11.7", "env": env}
        about: dict[str, Any] = {"flavors": {"python_function": flavour, "sklearn": {}}}
        if inputs is not None:
            told = {"inputs": inputs, "outputs": outputs, "params": params}
            about["signature"] = {key: json.dumps(value) if value else None for key, value in told.items()}
        if example is not None:
            about["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": "dataframe"}
            (folder / "input_example.json").write_text(json.dumps(example))
        (folder / "MLmodel").write_text(yaml.safe_dump(about))
        (folder / "model.pkl").write_bytes(b"pickled")
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "a.pyc").write_bytes(b"")
        if requirements is not None:
            (folder / "requirements.txt").write_text(requirements)
        return folder

    return make


def settings(root: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((root / "config.yaml").read_text())["model_metadata"]["tenfold"]
    return told


def test_the_folder_travels_as_it_is_with_its_requirements_and_python(save: Save, tmp_path: Path) -> None:
    package = package_mlflow(save(COLUMNS, NUMBER), "houses", tmp_path / "p")
    assert package.requirements == ("mlflow-skinny==3.1.0", "numpy", "pandas", "scikit-learn==1.7.0", "torch==2.7.0")
    assert (package.python_version, package.framework) == ("3.11", "MLflow")
    places = [one.path for one in package.manifest()]
    assert [one for one in places if one.startswith("data/")] == [
        "data/model/MLmodel",
        "data/model/model.pkl",
        "data/model/requirements.txt",
    ]
    config = yaml.safe_load((tmp_path / "p" / "config.yaml").read_text())
    assert config["environment_variables"]["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_signature_of_columns_is_a_table(save: Save, tmp_path: Path) -> None:
    package = package_mlflow(save(COLUMNS, NUMBER), "houses", tmp_path / "p")
    assert package.schema == ModelSchema(
        "table",
        (
            Field("area", "float", nullable=True),
            Field("rooms", "int", step=1.0),
            Field("street", "str", nullable=True),
            Field("sold", "str"),
            Field("tags", "json", nullable=True),
        ),
        Output("regression", name="price"),
    )
    assert settings(tmp_path / "p")["required"] == ["area", "rooms", "sold", "tags"]


def test_a_signature_of_arrays_is_one_of_tensors(save: Save, tmp_path: Path) -> None:
    params = [{"name": "k", "default": 3, "shape": None, "type": "long"}]
    package = package_mlflow(save(ARRAYS, ARRAYS, params), "scaled", tmp_path / "p", example=[[1, 2, 3]])
    assert package.schema is not None
    assert package.schema.fields == (Field("inputs", "tensor", dtype="float32", shape=[None, 3]),)
    assert package.example == {"inputs": [[1.0, 2.0, 3.0]]}
    told = settings(tmp_path / "p")
    assert (told["parameters"], told["is_named"]) == (["k"], False)


def test_a_model_without_a_signature_takes_anything(save: Save, tmp_path: Path) -> None:
    package = package_mlflow(save(), "any", tmp_path / "p", example=[1, 2])
    assert package.schema == ModelSchema("value", (Field("inputs", "json", nullable=True),), Output("json"))
    assert package.example == {"inputs": [1, 2]}


def test_the_saved_example_becomes_the_models(save: Save, tmp_path: Path) -> None:
    example = {"columns": ["area", "rooms", "street", "sold", "tags"], "data": [[50.5, 2, None, "2024-01-01", ["a"]]]}
    package = package_mlflow(save(COLUMNS, NUMBER, example=example), "houses", tmp_path / "p")
    assert package.example == {
        "inputs": [{"area": 50.5, "rooms": 2, "street": None, "sold": "2024-01-01", "tags": ["a"]}]
    }


def test_the_saved_example_of_arrays_may_have_parameters_beside_it(save: Save, tmp_path: Path) -> None:
    folder = save(ARRAYS, ARRAYS, example={"inputs": [[1, 2, 3]], "params": {"k": 3}})
    assert package_mlflow(folder, "scaled", tmp_path / "p").example == {"inputs": [[1.0, 2.0, 3.0]]}


def test_an_array_of_another_shape_is_refused(save: Save, tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match=r"The example of inputs has the shape \[1, 2\], and the model takes"):
        package_mlflow(save(ARRAYS, ARRAYS), "scaled", tmp_path / "p", example=[[1, 2]])


def test_an_example_without_a_column_is_refused(save: Save, tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match="The example lacks the column rooms, sold, tags"):
        package_mlflow(save(COLUMNS, NUMBER), "houses", tmp_path / "p", example={"area": 1.0})


def test_other_flavours_keep_all_of_mlflow(save: Save, tmp_path: Path) -> None:
    package = package_mlflow(save(loader="mlflow.langchain"), "chain", tmp_path / "p")
    assert "mlflow==3.1.0" in package.requirements


def test_without_requirements_the_pip_part_of_conda_is_taken(save: Save, tmp_path: Path) -> None:
    folder = save(requirements=None)
    with pytest.raises(CannotPackage, match="does not say what it needs"):
        package_mlflow(folder, "m", tmp_path / "p")
    told = {"dependencies": ["python=3.11", "pip", "conda-forge::gdal=3.8", {"pip": ["mlflow", "lightgbm==4.5.0"]}]}
    (folder / "conda.yaml").write_text(yaml.safe_dump(told))
    package = package_mlflow(folder, "m", tmp_path / "q")
    assert package.requirements == ("lightgbm==4.5.0", "mlflow-skinny", "numpy", "pandas")
    assert package.notes == ("packages of conda are not installed: gdal",)


def test_options_of_pip_are_left_out_and_said(save: Save, tmp_path: Path) -> None:
    text = "-r more.txt\nnumpy==2.1.0\ngit+https://example.test/a.git\nlocal/wheel.whl\n"
    package = package_mlflow(save(requirements=text), "m", tmp_path / "p", requirements=["numpy==2.2.0"])
    assert set(package.requirements) == {"numpy==2.2.0", "git+https://example.test/a.git", "mlflow-skinny", "pandas"}
    assert package.notes == ("left out of its requirements: -r more.txt, local/wheel.whl",)


def test_a_signature_that_cannot_be_read_is_refused(save: Save, tmp_path: Path) -> None:
    folder = save(COLUMNS, NUMBER)
    text = (folder / "MLmodel").read_text().replace('"type": "double"', '"kind": "double"')
    (folder / "MLmodel").write_text(text)
    with pytest.raises(CannotPackage, match=r"signature in .* cannot be read") as refused:
        package_mlflow(folder, "m", tmp_path / "p")
    assert "infer_signature" in refused.value.hint
