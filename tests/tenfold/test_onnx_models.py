"""Packages of ONNX models, which are written here byte by byte: neither packaging nor reading them needs a library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.onnx_graph import Graph, Tensor, read_graph
from tenfold.packaging.onnx_models import package_onnx
from tenfold.packaging.protobuf import fields, integers
from tenfold.schema import Field, ModelSchema, Output

FLOAT, INT64, STRING = 1, 7, 8


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, value: bytes | str) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(content)) + content


def value_info(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    sizes = b"".join(part(1, number(1, one) if isinstance(one, int) else part(2, one)) for one in shape)
    return part(1, name) + part(2, part(1, number(1, kind) + part(2, sizes)))


def sequence_info(name: str) -> bytes:
    return part(1, name) + part(2, part(4, part(1, b"")))


def node(operator: str, domain: str = "", *attributes: bytes) -> bytes:
    return part(4, operator) + part(7, domain) + b"".join(part(5, one) for one in attributes)


def model(
    inputs: list[bytes], outputs: list[bytes], nodes: list[bytes] | None = None, weights: list[bytes] | None = None
) -> bytes:
    graph = b"".join(
        [
            *(part(1, one) for one in nodes or [node("Add")]),
            *(part(5, one) for one in weights or []),
            *(part(11, one) for one in inputs),
            *(part(12, one) for one in outputs),
        ]
    )
    return number(1, 9) + part(2, "tests") + part(7, graph)


NETWORK = model(
    [value_info("image", FLOAT, ("rows", 3, 8, 8)), value_info("scale", FLOAT, (1,))],
    [value_info("scores", FLOAT, ("rows", 5))],
)
LABELS = part(1, "classlabels_strings") + part(9, "no") + part(9, "yes")
CLASSIFIER = model(
    [value_info("X", FLOAT, ("rows", 2))],
    [value_info("label", STRING, ("rows",)), sequence_info("probability")],
    [node("LinearClassifier", "ai.onnx.ml", LABELS), node("ZipMap", "ai.onnx.ml", LABELS)],
)
COLUMNS = model(
    [
        value_info("age", FLOAT, ("rows", 1)),
        value_info("city", STRING, ("rows", 1)),
        value_info("n", INT64, ("rows", 1)),
    ],
    [value_info("variable", FLOAT, ("rows", 1))],
    [node("Imputer", "ai.onnx.ml"), node("LinearRegressor", "ai.onnx.ml")],
)


class Proto:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:
        return self._content


def settings(root: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((root / "config.yaml").read_text())["model_metadata"]["tenfold"]
    return told


def test_a_graph_says_what_it_takes_and_gives() -> None:
    graph = read_graph(memoryview(CLASSIFIER), "it")
    assert graph == Graph(
        inputs=(Tensor("X", "float32", (None, 2)),),
        outputs=(Tensor("label", "str", (None,)), Tensor("probability", None, None)),
        operators=frozenset({"LinearClassifier", "ZipMap"}),
        is_tabular=True,
        classes=("no", "yes"),
        other_files=(),
    )


def test_weights_among_the_inputs_are_no_inputs() -> None:
    weights = [number(2, FLOAT) + part(8, "w") + part(9, b"\0" * 8)]
    content = model([value_info("x", FLOAT, (1,)), value_info("w", FLOAT, (2,))], [], weights=weights)
    assert [one.name for one in read_graph(memoryview(content), "it").inputs] == ["x"]


def test_numbers_may_be_packed_and_negative() -> None:
    labels = number(8, 1) + part(8, varint(-1) + varint(300))
    assert list(integers(memoryview(labels), 8)) == [1, -1, 300]
    content = model([], [], [node("TreeEnsembleClassifier", "ai.onnx.ml", part(1, "classlabels_int64s") + labels)])
    assert read_graph(memoryview(content), "it").classes == (1, -1, 300)


@pytest.mark.parametrize("content", [b"", b"\x0a", b"nonsense", CLASSIFIER[:-3], b"\xff" * 12, number(1, 9)])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(CannotPackage, match="it is not an ONNX model"):
        read_graph(memoryview(content), "it")


def test_a_message_may_hold_fields_of_fixed_width() -> None:
    content = varint(3 << 3 | 5) + b"abcd" + varint(4 << 3 | 1) + b"abcdefgh"
    assert [(key, bytes(value)) for key, value in fields(memoryview(content)) if not isinstance(value, int)] == [
        (3, b"abcd"),
        (4, b"abcdefgh"),
    ]


def test_a_network_takes_arrays(tmp_path: Path) -> None:
    example = {"image": np.zeros((2, 3, 8, 8)), "scale": [1.0]}
    package = package_onnx(Proto(NETWORK), "net", tmp_path, example=example)
    assert package.schema is not None
    assert package.schema.form == "tensor"
    assert package.schema.fields == (
        Field("image", "tensor", dtype="float32", shape=[None, 3, 8, 8]),
        Field("scale", "tensor", dtype="float32", shape=[1]),
    )
    assert (tmp_path / "data" / "model.onnx").read_bytes() == NETWORK
    assert package.requirements[-1] == "onnxruntime"
    assert package.notes == ("onnxruntime not installed here: the newest will be used",)


def test_classes_of_a_network_are_given_with_the_schema(tmp_path: Path) -> None:
    schema = ModelSchema("tensor", (), Output("classification", classes=list("abcde")))
    package = package_onnx(Proto(NETWORK), "net", tmp_path, schema=schema)
    assert package.schema is not None
    assert package.schema.output == Output("classification", classes=list("abcde"), probabilities=True)
    assert settings(tmp_path)["scores"]["output"] == "scores"


@pytest.mark.parametrize(
    ("example", "form"),
    [
        ({"X": [[1.0, 2.0]]}, "tensor"),
        ({"age": 1.0, "height": 2.0}, "table"),
        ([[1.0, 2.0]], "tensor"),
        (None, "tensor"),
    ],
)
def test_a_matrix_is_a_table_where_the_example_names_columns(tmp_path: Path, example: Any, form: str) -> None:
    matrix = model([value_info("X", FLOAT, ("rows", 2))], [value_info("y", FLOAT, ("rows", 1))])
    package = package_onnx(Proto(matrix), "m", tmp_path, example=example)
    assert package.schema is not None
    assert package.schema.form == form


def test_a_network_of_pictures_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match="takes arrays of other shapes"):
        package_onnx(Proto(NETWORK), "net", tmp_path, schema=ModelSchema("table", (Field("image", "float"),)))


def test_a_converted_classifier_takes_a_table(tmp_path: Path) -> None:
    example = pd.DataFrame({"age": [1.0, 2.0], "height": [3.0, 4.0]})
    package = package_onnx(Proto(CLASSIFIER), "c", tmp_path, example=example)
    assert package.schema is not None
    assert package.schema == ModelSchema(
        "table",
        (Field("age", "float"), Field("height", "float")),
        Output("classification", classes=["no", "yes"], probabilities=True),
    )
    told = settings(tmp_path)
    assert (told["predictions"], told["probabilities"], told["dtype"]) == ("label", "probability", "float32")
    assert package.example["inputs"][1] == {"age": 2.0, "height": 4.0}


def test_an_input_for_each_column_is_a_table(tmp_path: Path) -> None:
    package = package_onnx(Proto(COLUMNS), "c", tmp_path)
    assert package.schema is not None
    assert package.schema.fields == (
        Field("age", "float", nullable=True),
        Field("city", "str"),
        Field("n", "int", step=1.0),
    )
    assert package.schema.output == Output("regression")


def test_a_file_travels_with_the_files_of_its_weights(tmp_path: Path) -> None:
    outside = part(13, part(1, "location") + part(2, "net.weights")) + number(14, 1)
    content = model([value_info("x", FLOAT, ("rows", 3))], [], weights=[number(2, FLOAT) + part(8, "w") + outside])
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(CannotPackage, match=r"keeps its weights in net\.weights, which is not beside it"):
        package_onnx(tmp_path / "net.onnx", "net", tmp_path / "p")
    (tmp_path / "net.weights").write_bytes(b"\0" * 100)
    package = package_onnx(tmp_path / "net.onnx", "net", tmp_path / "p")
    sent = {one.path: one.source for one in package.manifest()}
    assert sent["data/model.onnx"] == tmp_path / "net.onnx"
    assert sent["data/net.weights"] == tmp_path / "net.weights"
    with pytest.raises(CannotPackage, match="keeps its weights in other files"):
        package_onnx(Proto(content), "net", tmp_path / "q")


def test_weights_that_lie_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    outside = part(13, part(1, "location") + part(2, "../secret")) + number(14, 1)
    (tmp_path / "net.onnx").write_bytes(model([], [], weights=[part(8, "w") + outside]))
    with pytest.raises(CannotPackage, match="which is not beside it"):
        package_onnx(tmp_path / "net.onnx", "net", tmp_path / "p")


def test_a_session_is_what_it_was_made_of(tmp_path: Path) -> None:
    class Session:
        _model_bytes = NETWORK
        _model_path = None

    package_onnx(Session(), "net", tmp_path / "p")
    assert (tmp_path / "p" / "data" / "model.onnx").read_bytes() == NETWORK
    Session._model_bytes = None  # type: ignore[assignment]
    with pytest.raises(CannotPackage, match="cannot be had from it") as refused:
        package_onnx(Session(), "net", tmp_path / "q")
    assert "Deploy the path of its file" in refused.value.hint


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (np.zeros((1, 3, 8, 8)), "The example is one array, and the model takes 2: image, scale"),
        ({"image": np.zeros((1, 3, 8, 8))}, "The example has image, and the model takes: image, scale"),
        ({"image": np.zeros((3, 8, 8)), "scale": [1.0]}, r"has the shape \[3, 8, 8\], and the model takes \[any, 3"),
    ],
)
def test_an_example_that_does_not_fit_is_refused(tmp_path: Path, example: Any, message: str) -> None:
    with pytest.raises(CannotPackage, match=message):
        package_onnx(Proto(NETWORK), "net", tmp_path, example=example)
