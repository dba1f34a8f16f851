from __future__ import annotations

from .conftest import Notebook

NOTEBOOK = """
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import again
import tenfold

iris = load_iris(as_frame=True)
rows = iris.data.to_numpy("float32")
classifier = LogisticRegression(max_iter=500).fit(rows, iris.target_names[iris.target])
converted = to_onnx(classifier, rows[:1])
labels, shares = ort.InferenceSession(converted.SerializeToString()).run(None, {"X": rows})
table = tenfold.deploy(converted, "onnx-table", example=iris.data.iloc[:3], app=False)

weights = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["left", "weights"], ["product"]),
     helper.make_node("Add", ["product", "right"], ["sum"])],
    "two",
    [helper.make_tensor_value_info("left", TensorProto.FLOAT, ["rows", 3]),
     helper.make_tensor_value_info("right", TensorProto.FLOAT, ["rows", 4])],
    [helper.make_tensor_value_info("product", TensorProto.FLOAT, ["rows", 4]),
     helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["rows", 4])],
    [numpy_helper.from_array(weights, "weights")],
)
network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(network, "two.onnx", save_as_external_data=True, location="two.weights", size_threshold=0)
inputs = {"left": np.ones((2, 3), "float32"), "right": np.full((2, 4), 2, "float32")}
product, total = ort.InferenceSession("two.onnx").run(None, inputs)
arrays = tenfold.deploy("two.onnx", "onnx-arrays", example=inputs, app=False)
body = {"inputs": {name: value.tolist() for name, value in inputs.items()}}

again.report(
    table={
        "local": labels,
        "remote": table.predict(iris.data),
        "again": again.redeployed(table).predict(iris.data),
        "local_shares": [[row[name] for name in iris.target_names] for row in shares],
        "shares": table.predict_proba(iris.data),
        "schema": table.schema,
    },
    arrays={
        "local": {"product": product.tolist(), "sum": total.tolist()},
        "remote": arrays.raw(body)["predictions"],
        "again": again.redeployed(arrays).raw(body)["predictions"],
        "schema": arrays.schema,
        "version": arrays.client.get("models", "onnx-arrays", "versions", 1),
    },
)
"""


def test_converted_and_other_graphs_answer_as_onnxruntime_does_here(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(NOTEBOOK)
    table = found["table"]
    assert table["remote"] == table["again"] == table["local"]
    assert table["shares"] == table["local_shares"]
    names = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    assert table["schema"]["form"] == "table"
    assert table["schema"]["fields"] == [{"name": name, "type": "float"} for name in names]
    classes = ["setosa", "versicolor", "virginica"]
    assert table["schema"]["output"] == {"kind": "classification", "classes": classes, "probabilities": True}

    arrays = found["arrays"]
    assert arrays["remote"] == arrays["again"] == arrays["local"]
    assert arrays["schema"]["form"] == "tensor"
    assert arrays["schema"]["fields"] == [
        {"name": "left", "type": "tensor", "dtype": "float32", "shape": [None, 3]},
        {"name": "right", "type": "tensor", "dtype": "float32", "shape": [None, 4]},
    ]
    requirements = arrays["version"]["environment"]["requirements"]
    assert [one.partition("=")[0] for one in requirements] == ["numpy", "onnxruntime"]
