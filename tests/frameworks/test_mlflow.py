from __future__ import annotations

from .conftest import Notebook

NOTEBOOK = """
from importlib.metadata import version

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestRegressor

import again
import tenfold

pins = [f"{name}=={version(name)}" for name in ("numpy", "pandas", "scikit-learn", "skops", "mlflow-skinny")]
rows = np.random.default_rng(0)
houses = pd.DataFrame({"area": rows.uniform(30, 200, 100), "rooms": rows.integers(1, 6, 100)})
forest = RandomForestRegressor(5, random_state=0).fit(houses, houses.area * 1000 + houses.rooms)
signature = infer_signature(houses, forest.predict(houses))
mlflow.sklearn.save_model(
    forest, "houses", signature=signature, input_example=houses.iloc[:2], pip_requirements=pins,
    serialization_format="cloudpickle",
)


class Scaled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * (params or {}).get("factor", 2.0)


array = np.arange(6, dtype="float32").reshape(2, 3)
signature = infer_signature(array, array, params={"factor": 2.0})
mlflow.pyfunc.save_model("scaled", python_model=Scaled(), signature=signature, pip_requirements=pins)

local = mlflow.pyfunc.load_model("houses").predict(houses)
table = tenfold.deploy("houses", app=False)
arrays = tenfold.deploy("scaled", example=array, app=False)
split = {"columns": ["rooms", "area"], "data": [[int(one.rooms), one.area] for one in houses.iloc[:4].itertuples()]}
records = houses.iloc[:4].to_dict("records")
bodies = [
    {"dataframe_split": split},
    {"dataframe_records": records},
    {"instances": records},
    {"inputs": {name: houses[name].iloc[:4].tolist() for name in houses}},
]
again.report(
    table={
        "local": local,
        "remote": table.predict(houses),
        "again": again.redeployed(table).predict(houses),
        "bodies": [table.raw(body)["predictions"] for body in bodies],
        "schema": table.schema,
        "version": table.client.get("models", "houses", "versions", 1),
    },
    arrays=[
        arrays.raw({"inputs": array.tolist()})["predictions"],
        arrays.raw({"instances": array.tolist(), "params": {"factor": 10.0}})["predictions"],
    ],
    arrays_schema=arrays.schema,
)
"""


def test_model_folders_answer_as_pyfunc_does_here_in_all_of_mlflows_bodies(run_in_notebook: Notebook) -> None:
    quiet = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    found = run_in_notebook(NOTEBOOK, **quiet)
    table = found["table"]
    assert table["remote"] == table["again"] == table["local"]
    assert table["bodies"] == [table["local"][:4]] * 4
    assert table["schema"]["fields"] == [
        {"name": "area", "type": "float", "nullable": True},
        {"name": "rooms", "type": "int", "step": 1.0},
    ]
    assert table["schema"]["output"] == {"kind": "regression"}
    assert table["version"]["framework"] == "MLflow"
    assert table["version"]["example"]["inputs"][0].keys() == {"area", "rooms"}
    assert any(one.startswith("mlflow-skinny==") for one in table["version"]["environment"]["requirements"])
    assert found["arrays"] == [[[0, 2, 4], [6, 8, 10]], [[0, 10, 20], [30, 40, 50]]]
    assert found["arrays_schema"]["fields"] == [
        {"name": "inputs", "type": "tensor", "dtype": "float32", "shape": [None, 3]}
    ]
