"""FastAPI as its tutorial shows it, with a model from joblib: plain functions, which it runs in threads.

python fastapi_app.py FOLDER WORKLOAD PORT
"""

import sys
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI
from predictor import Predictor
from pydantic import BaseModel

folder, workload, port = sys.argv[1:]
predictor = Predictor(workload, folder)
app = FastAPI()


class Inputs(BaseModel):
    inputs: list[Any]


@app.post("/predict")
def predict(body: Inputs) -> dict[str, Any]:
    return predictor.answer(body.inputs)


@app.post("/raw")
def predict_raw(body: Annotated[bytes, Body(media_type="application/octet-stream")]) -> dict[str, Any]:
    return predictor.answer_bytes(body)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False)
