"""The model behind FastAPI, as people write it: python fastapi_server.py MODEL PORT."""

import sys

import numpy
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
app = FastAPI()


class Question(BaseModel):
    instances: list


@app.post("/v1/models/model:predict")
def predict(question: Question) -> dict:
    outputs = session.run(None, {name: numpy.asarray(question.instances, numpy.float32)})
    return {"predictions": outputs[0].tolist()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
