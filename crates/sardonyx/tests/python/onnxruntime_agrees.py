"""Writes the digits as raw pixels and what onnxruntime makes of them with a model.

usage: onnxruntime_agrees.py MODEL.onnx DIGITS.npy PROBABILITIES.json
"""

import json
import sys

import numpy
import onnx
import onnxruntime
from sklearn.datasets import load_digits

model, digits_path, probabilities_path = sys.argv[1:]
onnx.checker.check_model(model, full_check=True)
digits = load_digits().images.astype(numpy.float32).reshape(-1, 1, 8, 8)
numpy.save(digits_path, digits)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
(probabilities,) = session.run(None, {session.get_inputs()[0].name: digits})
with open(probabilities_path, "w") as file:
    json.dump(probabilities.astype(float).tolist(), file)
