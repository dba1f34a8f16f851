from __future__ import annotations

from typing import Any

import pytest

from .conftest import Notebook

START = """
import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from torch import nn

import again
import tenfold

torch.manual_seed(0)
same = [f"safetensors=={safetensors.__version__}"]  # one environment for all of them


def about(model):
    version = model.client.get("models", model.name, "versions", 1)
    return {
        "schema": model.schema,
        "saved": version["config"]["model_metadata"]["tenfold"]["format_of_data"],
        "files": [one["path"] for one in version["files"]],
        "framework": version["framework"],
        "requirements": version["environment"]["requirements"],
    }
"""

MODULES = """
SLOPE = 0.1


def squash(x):
    return F.leaky_relu(x, SLOPE)


class Net(nn.Module):
    def __init__(self, width: int, drop: float = 0.5):
        super().__init__()
        self.width = width
        self.drop = drop
        self.hidden = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        return self.out(F.dropout(self.norm(squash(self.hidden(x))), self.drop, self.training))


class Words(nn.Module):
    def __init__(self, count: int):
        super().__init__()
        self.embedding = nn.Embedding(count, 8)
        self.out = nn.Linear(8, 1)
        self.scale = lambda x: x * 2  # cannot travel, and need not: the program that is exported has it inside

    def forward(self, words, weight):
        mean = self.scale(self.embedding(words).mean(1))
        return {"score": self.out(mean) * weight, "mean": mean}


class Vocabulary:
    def __init__(self, size):
        self.size = size


class Reader(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary.size, 8)
        self.rnn = nn.GRU(8, 6, batch_first=True)

    def forward(self, words):
        if words.max() >= self.vocabulary.size:  # depends on the data, which no program can
            words = words % self.vocabulary.size
        return self.rnn(self.embedding(words))[0][:, -1]


X = torch.randn(6, 4)
classes = ["setosa", "versicolor", "virginica"]
net = Net(16)
net.train()
net(X)  # the statistics of its normalisation are no longer those of a new one
kinds = {"form": "tensor", "output": {"kind": "classification", "classes": classes}}
flowers = tenfold.deploy(net, "torch-net", example=X[:2], schema=kinds, requirements=same)
assert net.training

words = Words(20).eval()
ids, weight = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([[1.0], [2.0]])
sentences = tenfold.deploy(words, "torch-words", example=(ids, weight), app=False, requirements=same)
longer = {"words": [[1, 2, 3, 4, 5, 6]] * 3, "weight": [[0.5]] * 3}

reader = Reader(Vocabulary(20)).eval()
pages = tenfold.deploy(reader, "torch-reader", example=ids, app=False, requirements=same)

net.eval()
with torch.no_grad():
    shares = net(X).softmax(1)
    scored = words(torch.tensor(longer["words"]), torch.tensor(longer["weight"]))
    read = reader(torch.tensor(longer["words"]))
rows = {"inputs": X.tolist()}
again.report(
    net={
        "local": shares,
        "remote": flowers.raw(rows),
        "again": again.redeployed(flowers).raw(rows)["probabilities"],
        **about(flowers),
    },
    words={"local": scored, "remote": sentences.raw({"inputs": longer})["predictions"], **about(sentences)},
    reader={"local": read, "remote": pages.predict(np.array(longer["words"])), **about(pages)},
    versions={"torch": torch.__version__.partition("+")[0]},
)
"""

GRAPHS = """
plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)).eval()
pictures = torch.rand(3, 1, 8, 8)
traced = torch.jit.trace(plain, pictures)
script = tenfold.deploy(traced, "torch-script", example=pictures, app=False, requirements=same)
exported = torch.export.export(plain, (pictures,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
program = tenfold.deploy(exported, "torch-program", example=pictures.numpy(), app=False, requirements=same)
with torch.no_grad():
    two = plain(pictures[:2]).numpy()
again.report(
    script={"local": two, "remote": script.predict(pictures[:2].numpy()), **about(script)},
    program={"local": two, "remote": program.predict(pictures[:2].numpy()), **about(program)},
)
"""


def test_modules_of_the_notebook_answer_as_here(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(START + MODULES)

    net = found["net"]
    assert net["remote"]["probabilities"] == approx(net["local"])
    assert net["again"] == net["remote"]["probabilities"]
    classes = ["setosa", "versicolor", "virginica"]
    assert net["remote"]["predictions"] == [classes[row.index(max(row))] for row in net["local"]]
    assert net["schema"] == {
        "version": 1,
        "form": "tensor",
        "fields": [{"name": "x", "type": "tensor", "dtype": "float32", "shape": [None, 4]}],
        "output": {"kind": "classification", "classes": classes, "probabilities": True},
    }
    assert net["framework"] == "PyTorch"
    assert net["saved"] == "state_dict"
    assert {"data/weights.safetensors", "packages/notebook_code.py"} <= set(net["files"])
    assert not [path for path in net["files"] if path.endswith(".pickle")]
    assert f"torch=={found['versions']['torch']}" in net["requirements"]

    words = found["words"]
    assert words["saved"] == "torch.export"
    assert words["schema"]["fields"] == [
        {"name": "words", "type": "tensor", "dtype": "int64", "shape": [None, None]},
        {"name": "weight", "type": "tensor", "dtype": "float32", "shape": [None, 1]},
    ]
    assert words["remote"] == {name: approx(value) for name, value in words["local"].items()}

    reader = found["reader"]
    assert reader["saved"] == "pickle"
    assert reader["schema"]["fields"] == [{"name": "words", "type": "tensor", "dtype": "int64", "shape": [None, None]}]
    assert reader["remote"] == approx(reader["local"])


def test_scripts_and_programs_answer_as_here(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(START + GRAPHS)
    for kind, saved in (("script", "torchscript"), ("program", "torch.export")):
        assert found[kind]["saved"] == saved
        assert found[kind]["remote"] == approx(found[kind]["local"])
        (field,) = found[kind]["schema"]["fields"]
        assert field["shape"][:2] == [None, 1]


def approx(rows: list[list[float]]) -> Any:
    """Sums of float32 in another order."""
    return [pytest.approx(row, rel=1e-4, abs=1e-6) for row in rows]
