"""Makes clients/: python clients.py (needs ovmsclient==2023.1, tritonclient[grpc,http]==2.73.0).

The files are requests as these clients send them; no server is needed.
"""

import pathlib

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from ovmsclient.tfs_compat.grpc import requests as ovms_grpc
from ovmsclient.tfs_compat.http import requests as ovms_http
from tritonclient.grpc import _utils as triton_utils

HERE = pathlib.Path(__file__).parent / "clients"
FLOATS = np.array([[0.5, -1.25, 3.0], [1e-3, 7.0, np.inf]], np.float32)
INTS = np.array([[1, -2], [3, 1 << 40]], np.int64)
TEXTS = np.array(["hello", "wörld"], dtype=object)
FLAGS = np.array([True, False, True])
HALVES = np.array([0.5, -2.0], np.float16)
INPUTS = {
    "binary": b"\xff\xd8\x00jpeg",
    "bytes_list": [b"ab", b"c"],
    "flags": FLAGS,
    "floats": FLOATS,
    "ints": INTS,
    "list": [[1.5, 2.5], [3.5, 4.5]],
    "scalar": 7,
    "text": "hello",
    "texts": ["hello", "wörld"],
    "zeros": np.zeros((2, 3), np.float64),
}


def triton_inputs(module, binary):
    """Each array as an input; over gRPC always as raw contents."""
    found = []
    arrays = [("floats", FLOATS, "FP32"), ("ints", INTS, "INT64"), ("flags", FLAGS, "BOOL"),
              ("texts", TEXTS, "BYTES"), ("halves", HALVES, "FP16")]
    for name, array, datatype in arrays:
        if datatype == "FP16" and not binary:
            continue
        one = module.InferInput(name, list(array.shape), datatype)
        if module is triton_http:
            one.set_data_from_numpy(array, binary_data=binary)
        else:
            one.set_data_from_numpy(array)
        found.append(one)
    return found


def triton_http_body(binary):
    outputs = [
        triton_http.InferRequestedOutput("scores", binary_data=binary),
        triton_http.InferRequestedOutput("classes", binary_data=False, class_count=3),
    ]
    return triton_http.InferenceServerClient.generate_request_body(
        triton_inputs(triton_http, binary), outputs, request_id="id 1", sequence_id=42,
        sequence_start=True, sequence_end=False, priority=2, timeout=5000,
        parameters={"custom": "x", "number": 3})


def main():
    HERE.mkdir(exist_ok=True)
    files = {}
    files["ovms_predict.pb"] = ovms_grpc.make_predict_request(
        INPUTS, "model").raw_request.SerializeToString(deterministic=True)
    files["ovms_status.pb"] = ovms_grpc.make_status_request(
        "model", 3).raw_request.SerializeToString()
    files["ovms_metadata.pb"] = ovms_grpc.make_metadata_request(
        "model").raw_request.SerializeToString()
    body = ovms_http.make_predict_request(
        {"binary": INPUTS["binary"], "floats": FLOATS[:, :2], "texts": INPUTS["texts"]}, "model")
    files["ovms_predict.json"] = body.parsed_inputs.encode()
    outputs = [triton_grpc.InferRequestedOutput("scores"),
               triton_grpc.InferRequestedOutput("classes", class_count=3)]
    files["triton_infer.pb"] = triton_utils._get_inference_request(
        model_name="model", inputs=triton_inputs(triton_grpc, True), model_version="1",
        request_id="id 1", outputs=outputs, sequence_id="seq", sequence_start=True,
        sequence_end=False, priority=2, timeout=5000, parameters={"custom": "x", "number": 3},
    ).SerializeToString(deterministic=True)
    for name, binary in [("triton_infer.json", False), ("triton_infer.bin", True)]:
        body, json_size = triton_http_body(binary)
        files[name] = bytes(body)
        if binary:
            files[name + ".header"] = str(json_size).encode()
    for name, data in files.items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
