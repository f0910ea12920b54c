"""No reply reaches another client, whatever shapes, doors and batches meet; every one is what ONNX
Runtime says.

    consistency.py MODELS HTTP GRPC COUNT SEED
"""
import base64
import concurrent.futures
import io
import json
import random
import sys
import threading

import grpc
import numpy as np
import requests
import tritonclient.grpc
import tritonclient.http
from common import GRPC, HTTP, close, expected
from ovmsclient.tfs_compat.grpc.tensors import make_ndarray, make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from PIL import Image

COUNT, SEED = int(sys.argv[4]), int(sys.argv[5])
CLIENTS = 24
OWN = threading.local()


def own(name, make):
    """A client of this thread's own; those of Triton belong to one thread."""
    if not hasattr(OWN, name):
        setattr(OWN, name, make())
    return getattr(OWN, name)


def question(random):
    """A model and inputs for it, of any shape that it takes."""
    draw = np.random.default_rng(random.getrandbits(64))
    rows = random.choice([1, 1, 1, 2, 3, 5, 8, 33])
    name = random.choice(["affine", "affine", "classes", "line", "pair", "vision", "vision", "colours"])

    def values(*shape):
        return draw.uniform(-3, 3, shape).astype(np.float32)

    if name == "affine":
        return name, {"x": values(rows, random.choice([1, 2, 3, 7, 16, 50]))}
    if name == "pair":
        return name, {"a": values(rows, 3), "b": values(rows, 3)}
    if name == "vision":
        return name, {"x": values(rows, 2, random.choice([3, 4, 8, 9]), random.choice([3, 5, 8]))}
    if name == "colours":
        return name, {"x": draw.integers(0, 256, (rows, 3, 24, 32)).astype(np.float32)}
    return name, {"x": values(rows, {"classes": 4, "line": 2}[name])}


def session():
    return own("session", requests.Session)


def by_rows(name, inputs):
    rows = len(next(iter(inputs.values())))
    body = {"instances": [{key: value[row].tolist() for key, value in inputs.items()} for row in range(rows)]}
    answer = session().post(f"http://{HTTP}/v1/models/{name}:predict", json=body, timeout=60)
    assert answer.status_code == 200, answer.text[:500]
    found = answer.json()["predictions"]
    if isinstance(found[0], dict):
        return {key: [row[key] for row in found] for key in found[0]}
    return {None: found}


def by_columns(name, inputs):
    body = {"inputs": {key: value.tolist() for key, value in inputs.items()}}
    answer = session().post(f"http://{HTTP}/v1/models/{name}/versions/1:predict", json=body, timeout=60)
    assert answer.status_code == 200, answer.text[:500]
    found = answer.json()["outputs"]
    return found if isinstance(found, dict) else {None: found}


def by_stub(name, inputs):
    stub = own("stub", lambda: prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(GRPC)))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(make_tensor_proto(value))
    answer = stub.Predict(request, timeout=60)
    return {key: make_ndarray(value) for key, value in answer.outputs.items()}


def by_triton(module, address, **form):
    def ask(name, inputs):
        client = own(module.__name__, lambda: module.InferenceServerClient(address))
        given = []
        for key, value in inputs.items():
            given.append(module.InferInput(key, list(value.shape), "FP32"))
            given[-1].set_data_from_numpy(value, **form)
        outputs = [module.InferRequestedOutput(key, **form) for key in expected_names(name)]
        answer = client.infer(name, given, outputs=outputs)
        return {key: answer.as_numpy(key) for key in expected_names(name)}

    return ask


def by_pictures(name, inputs):
    """Pixels as files of PNG; other models are asked by rows."""
    if name != "colours":
        return by_rows(name, inputs)
    files = []
    for pixels in inputs["x"]:
        file = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8)).save(file, "PNG")
        files.append({"b64": base64.b64encode(file.getvalue()).decode()})
    answer = session().post(f"http://{HTTP}/v1/models/colours:predict", data=json.dumps({"inputs": files}), timeout=60)
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()["outputs"]


def expected_names(name):
    return {"pair": ["sum", "product"], "colours": ["pixels", "means"]}.get(name, ["y"])


DOORS = {
    "rows": by_rows,
    "columns": by_columns,
    "stub": by_stub,
    "triton json": by_triton(tritonclient.http, HTTP, binary_data=False),
    "triton binary": by_triton(tritonclient.http, HTTP, binary_data=True),
    "triton grpc": by_triton(tritonclient.grpc, GRPC),
    "pictures": by_pictures,
}


def check(seed):
    draw = random.Random(seed)
    door = draw.choice(sorted(DOORS))
    name, inputs = question(draw)
    found = DOORS[door](name, inputs)
    wanted = expected(name, **inputs)
    for key, value in wanted.items():
        close(found.get(key, found.get(None)), value, f"{door} of {name}, seed {seed}")


def batches():
    """Batches that ran, and the requests in them, as the server counts."""
    text = requests.get(f"http://{HTTP}/metrics", timeout=30).text

    def total(name):
        lines = [line for line in text.splitlines() if line.startswith(name + "{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    return total("sardonyx_batch_requests_count"), total("sardonyx_batch_requests_sum")


def main():
    for seed in range(SEED, SEED + 60):
        check(seed)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(check, range(SEED + 1000, SEED + 1000 + COUNT)):
            pass
    ran, asked = batches()
    assert COUNT < asked and ran < asked, ("strangers shared batches", ran, asked)
    print(f"{asked:.0f} requests in {ran:.0f} batches")
    print("checked", COUNT + 60)


main()
