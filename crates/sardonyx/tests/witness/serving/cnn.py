"""Real clients of TensorFlow Serving and of Triton ask a server; ONNX Runtime says what is right.

    cnn.py MODEL.onnx NAME HTTP_ADDRESS GRPC_ADDRESS
"""
import concurrent.futures
import json
import sys

import numpy as np
import onnxruntime
import ovmsclient
import requests
import tritonclient.grpc
import tritonclient.http

MODEL, NAME, HTTP, GRPC = sys.argv[1:]
SESSION = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
INPUT, OUTPUT = SESSION.get_inputs()[0], SESSION.get_outputs()[0].name
SHAPE = [size if isinstance(size, int) else None for size in INPUT.shape][1:]
URL = f"http://{HTTP}/v1/models/{NAME}"


def sample(seed, rows):
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 255, [rows, *SHAPE]).astype(np.float32)


def check(found, x, what):
    expected = SESSION.run([OUTPUT], {INPUT.name: x})[0]
    found = np.asarray(found, dtype=np.float32)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=what)


def rest_rows(seed, rows):
    x = sample(seed, rows)
    answer = requests.post(URL + ":predict", json={"instances": x.tolist()}, timeout=30)
    assert answer.status_code == 200, answer.text
    check(answer.json()["predictions"], x, "instances")


def rest_columns(seed, rows):
    x = sample(seed, rows)
    body = {"signature_name": "serving_default", "inputs": {INPUT.name: x.tolist()}}
    answer = requests.post(URL + "/versions/1:predict", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    check(answer.json()["outputs"], x, "inputs")


def tensorflow_rest(seed, rows):
    x = sample(seed, rows)
    client = ovmsclient.make_http_client(HTTP)
    check(client.predict({INPUT.name: x}, NAME), x, "ovmsclient over REST")


def tensorflow_grpc(seed, rows):
    x = sample(seed, rows)
    client = ovmsclient.make_grpc_client(GRPC)
    check(client.predict({INPUT.name: x}, NAME), x, "ovmsclient over gRPC")


def triton(seed, rows, module, address, **form):
    x = sample(seed, rows)
    client = module.InferenceServerClient(address)
    given = module.InferInput(INPUT.name, list(x.shape), "FP32")
    given.set_data_from_numpy(x, **form)
    wanted = [module.InferRequestedOutput(OUTPUT, **form)]
    answer = client.infer(NAME, [given], outputs=wanted, request_id=str(seed))
    assert answer.get_response(**({"as_json": True} if module is tritonclient.grpc else {}))["id"] == str(seed)
    check(answer.as_numpy(OUTPUT), x, f"{module.__name__} {form}")
    client.close()


def triton_json(seed, rows):
    triton(seed, rows, tritonclient.http, HTTP, binary_data=False)


def triton_binary(seed, rows):
    triton(seed, rows, tritonclient.http, HTTP, binary_data=True)


def triton_grpc(seed, rows):
    triton(seed, rows, tritonclient.grpc, GRPC)


DOORS = [rest_rows, rest_columns, tensorflow_rest, tensorflow_grpc, triton_json, triton_binary, triton_grpc]


def describe():
    status = requests.get(URL, timeout=30).json()["model_version_status"]
    assert [entry["state"] for entry in status] == ["AVAILABLE"], status
    metadata = requests.get(URL + "/metadata", timeout=30).json()
    assert INPUT.name in json.dumps(metadata)
    for client in [ovmsclient.make_http_client(HTTP), ovmsclient.make_grpc_client(GRPC)]:
        assert client.get_model_status(NAME)[1]["state"] == "AVAILABLE"
        assert f"'{INPUT.name}'" in str(client.get_model_metadata(NAME))
    http, grpc = tritonclient.http.InferenceServerClient(HTTP), tritonclient.grpc.InferenceServerClient(GRPC)
    for client in [http, grpc]:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(NAME)
    assert http.get_model_metadata(NAME)["inputs"][0]["name"] == INPUT.name
    assert grpc.get_model_metadata(NAME).inputs[0].name == INPUT.name


def refuse():
    wrong = requests.post(URL + ":predict", data="{", timeout=30)
    assert wrong.status_code == 400 and "error" in wrong.json(), wrong.text
    shape = requests.post(URL + ":predict", json={"instances": [[1.0]]}, timeout=30)
    assert shape.status_code == 400, shape.text
    missing = requests.post(f"http://{HTTP}/v1/models/none:predict", json={"instances": [1]}, timeout=30)
    assert missing.status_code == 404, missing.text


def main():
    describe()
    for door in DOORS:
        for rows in [1, 3]:
            door(rows, rows)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(DOORS[n % len(DOORS)], n, 1 + n % 4) for n in range(280)]
        for answer in asked:
            answer.result()
    refuse()
    print("every client got ONNX Runtime's answers")


main()
