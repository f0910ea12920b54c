"""Records what a server of KServe v2 answers to the probes that the tests of the doors send too.

    python triton.py BASEURL triton.json

triton.json was recorded from tritonserver 2.51 (nvidia-pytriton 0.7.0, Python backend) with a model
`cnn` of one input `x` (float, N x 1 x 28 x 28) and one output `18` (float, N x 10).
"""

import json
import struct
import sys
import urllib.error
import urllib.request

BASE, OUT = sys.argv[1:]
PIXELS = [0.0] * 784
LENGTH = "Inference-Header-Content-Length"


def infer(path="/v2/models/cnn/infer", rest=None, **changes):
    """A probe of an infer request whose input differs in `changes` from a good one."""
    tensor = {"name": "x", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": PIXELS} | changes
    return "POST", path, json.dumps({"inputs": [tensor]} | (rest or {})).encode(), {}


def get(path):
    return "GET", path, None, {}


def post(path, body=b""):
    return "POST", path, body, {}


def outputs(**parameters):
    return {"outputs": [{"name": "18", "parameters": parameters}]}


raw = struct.pack("<784f", *PIXELS)
header = json.dumps(
    {
        "inputs": [
            {
                "name": "x",
                "shape": [1, 1, 28, 28],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 3136},
            }
        ]
    }
    | outputs(binary_data=True),
    separators=(",", ":"),
).encode()
PATH = "/v2/models/cnn/infer"
PROBES = [
    *map(get, ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready"]),
    post("/v2/health/ready"),
    *map(get, ["/v2/models/cnn", "/v2/models/cnn/versions/1", "/v2/models/cnn/versions/9"]),
    *map(get, ["/v2/models/nope", "/v2/models/cnn/ready", "/v2/models/nope/ready"]),
    *map(get, ["/v2/models/cnn/versions/1/ready", "/v2/models/cnn/config"]),
    *map(get, ["/v2/models/cnn/stats", "/v2/models/stats"]),
    post("/v2/repository/index"),
    post("/v2/repository/index", b'{"ready":true}'),
    *map(post, ["/v2/repository/models/cnn/load", "/v2/repository/models/nope/load"]),
    *map(get, ["/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status"]),
    *map(get, ["/v2/trace/setting", "/v2/logging", "/", "/v2/foo", "/metrics"]),
    *(post(PATH, body) for body in [b"", b"{", b"{}", b'{"inputs": []}']),
    infer(rest={"id": "42"}),
    infer("/v2/models/cnn/versions/1/infer", rest={"outputs": [{"name": "18"}]}),
    infer("/v2/models/cnn/versions/7/infer"),
    infer("/v2/models/nope/infer"),
    infer(name="y"),
    infer(datatype="INT64"),
    infer(datatype="FOO"),
    infer(shape=[1, 1, 28, 27]),
    infer(data=PIXELS[:10]),
    infer(data=PIXELS + [1.0]),
    infer(data=["a"] * 784),
    infer(rest={"outputs": [{"name": "zz"}]}),
    infer(rest=outputs(classification=3)),
    infer(rest={"parameters": {"priority": 1, "timeout": 1000000, "custom": "a"}}),
    infer(rest={"parameters": {"binary_data_output": True}}),
    infer(data=[[[PIXELS[row * 28 : row * 28 + 28] for row in range(28)]]]),
    get(PATH),
    post("/v2/models/cnn/generate", b'{"text_input":"a"}'),
    ("POST", PATH, header + raw, {LENGTH: str(len(header))}),
    ("POST", PATH, raw, {LENGTH: "0"}),
    ("POST", PATH, header + raw[:-4], {LENGTH: str(len(header))}),
    ("POST", PATH, header + raw, {LENGTH: "99999"}),
]


def answer(method, path, body, headers):
    request = urllib.request.Request(BASE + path, body, headers, method=method)
    try:
        reply = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        reply = error
    length = reply.headers.get(LENGTH)
    # Binary tensors are left out: their numbers are checked elsewhere.
    text = reply.read()[: int(length) if length else None].decode()
    return {"method": method, "path": path, "status": reply.status, "body": text}


with open(OUT, "w") as out:
    json.dump([answer(*probe) for probe in PROBES], out, indent=1)
    out.write("\n")
