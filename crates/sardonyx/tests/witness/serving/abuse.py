"""Sends a server what no client should, and looks whether it stays well.

    abuse.py MODELS HTTP GRPC PID COUNT SEED

COUNT malformed requests: REST with mutated and invented bodies, gRPC with mutated messages, raw
sockets with broken HTTP/1.1 and HTTP/2. No answer may be the server's fault, its memory stays
bounded, and good requests are answered right all the while.
"""
import collections
import gzip
import json
import random
import socket
import struct
import sys
import threading
import time
import zlib

import grpc
import numpy as np
import requests
from common import GRPC, HTTP, close, expected, sample
from ovmsclient.tfs_compat.grpc.tensors import make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    predict_pb2,
)
from tritonclient.grpc import service_pb2

PID, COUNT, SEED = int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
RANDOM = random.Random(SEED)
# Growth over what good requests need, in KiB: bodies of 16 MiB at most, many connections at a time,
# each with its buffers, and plans of odd sizes.
MAX_GROWTH = 128 << 10
HONEST = {501, 503, 505}
TALLY = collections.Counter()


def memory():
    """Most KiB that the process ever had."""
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def settled():
    """The same, once the server has prepared what it prepares while nothing waits."""
    seen, since = memory(), time.monotonic()
    while time.monotonic() - since < 2:
        time.sleep(0.1)
        if memory() > seen:
            seen, since = memory(), time.monotonic()
    return seen


# ---- REST ----

NUMBERS = ["0", "-1", "1e999", "-0", "1e-999", "9" * 400, "0x10", "01", "1.", ".5", "+1", "NaN", "Infinity", "nan",
           "18446744073709551616", "-9223372036854775809", "3.4028236e38", "true", "null", '"a"', "1e", "--1"]
TEXTS = ['""', '"\\ud800"', '"\\u0000"', '"\\x"', '"' + "a" * 3000 + '"', '"\xff"', '"é"', '"\\"', '"x"', '"y"']
KEYS = ["instances", "inputs", "signature_name", "examples", "context", "x", "y", "b64", "a", "b", "id", "outputs",
        "name", "shape", "datatype", "data", "parameters", "binary_data_size", "binary_data", "classification",
        "priority", "timeout", "sequence_id", "shared_memory_region", "binary_data_output"]


def invented(depth=0):
    """JSON, or nearly."""
    kind = RANDOM.random()
    if depth > 6 or kind < 0.35:
        return RANDOM.choice(NUMBERS)
    if kind < 0.45:
        return RANDOM.choice(TEXTS)
    count = RANDOM.choice([0, 1, 1, 2, 3, 5])
    if kind < 0.7:
        return "[" + ",".join(invented(depth + 1) for _ in range(count)) + "]"
    pairs = (f'"{RANDOM.choice(KEYS)}":{invented(depth + 1)}' for _ in range(count))
    return "{" + ",".join(pairs) + "}"


def mutated(data):
    data = bytearray(data)
    for _ in range(RANDOM.choice([1, 1, 2, 4, 16])):
        kind = RANDOM.random()
        at = RANDOM.randrange(len(data) + 1)
        if kind < 0.4 and at < len(data):
            data[at] = RANDOM.randrange(256)
        elif kind < 0.6:
            del data[at:at + RANDOM.randrange(1, 9)]
        elif kind < 0.8:
            data[at:at] = bytes(RANDOM.randrange(256) for _ in range(RANDOM.randrange(1, 9)))
        elif kind < 0.9:
            data[at:at] = data[:RANDOM.randrange(40)]
        else:
            del data[at:]
    return bytes(data)


def tensor(**change):
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], **change}


SHAPES = [[-1], [0], [], [1 << 62], [1 << 40, 1 << 40], [1 << 32, 1 << 32, 0], [2 ** 63], [-(2 ** 63)], [1, 2, 3], [1.5],
          ["a"], None, [1] * 5000, [65536, 65536], 7, [[1]], [1 << 31, 1 << 31, 1 << 31]]


def rest_body():
    """A path, headers and a body."""
    choice = RANDOM.random()
    if choice < 0.25:
        good = [
            b'{"instances": [[1.0, 2.0], [3, 4]]}',
            b'{"inputs": {"x": [[1.0, 2.0]]}, "signature_name": "serving_default"}',
            b'{"instances": [{"x": [1, 2]}, {"x": {"b64": "aGk="}}]}',
            b'{"examples": [{"x": [1.0, 2.0]}], "context": {"x": 1}}',
        ]
        return v1_path(), {}, mutated(RANDOM.choice(good))
    if choice < 0.45:
        return v1_path(), {}, invented().encode("utf-8", "replace")
    if choice < 0.6:
        return v2_path(), {}, mutated(json.dumps({"id": "1", "inputs": [tensor()], "outputs": [{"name": "y"}]}).encode())
    if choice < 0.75:
        changes = RANDOM.choice([
            {"shape": RANDOM.choice(SHAPES)},
            {"datatype": RANDOM.choice(["FP64", "BYTES", "", "fp32", None, 3, "INT128"])},
            {"data": RANDOM.choice([[], [[1], [2]], [1], [1, 2, 3], "ab", {"a": 1}, [None, None], [[[[1, 2]]]]])},
            {"parameters": {"binary_data_size": RANDOM.choice([0, -1, 8, 9, 1 << 62, "8", None])}},
            {"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 1 << 62}},
            {"name": RANDOM.choice(["", "y", "x" * 5000, None, 1])},
        ])
        rest = RANDOM.choice([
            {},
            {"outputs": [{"name": "y", "parameters": {"classification": RANDOM.choice([-1, 1 << 62, 1.5, "a"])}}]},
            {"parameters": {"timeout": RANDOM.choice([-1, 1 << 70, "a", 0.5]), "priority": RANDOM.choice([-1, 1 << 70])}},
            {"id": RANDOM.choice([1, None, [], "x" * 9000])},
        ])
        return v2_path(), {}, json.dumps({"inputs": [tensor(**changes)], **rest}).encode()
    if choice < 0.9:
        head = json.dumps({"inputs": [tensor(data=None, parameters={"binary_data_size": RANDOM.choice([8, 8, 7, 9, 4096, -8])})]})
        body = head.encode() + bytes(RANDOM.randrange(256) for _ in range(RANDOM.choice([0, 7, 8, 8, 9])))
        length = RANDOM.choice([len(head), len(head), len(head) - 1, len(head) + 1, 0, -1, 1 << 70, "a", ""])
        return v2_path(), {"Inference-Header-Content-Length": str(length)}, body
    packed = RANDOM.choice([gzip.compress, zlib.compress])(b'{"instances": [[1, 2]]}')
    name = RANDOM.choice(["gzip", "deflate", "br", "", "gzip, gzip", "identity"])
    return v1_path(), {"Content-Encoding": name}, RANDOM.choice([packed, mutated(packed)])


def v1_path():
    model = RANDOM.choice(["affine", "affine", "colours", "classes", "kinds", "pair", "vision", "nope", "%00", "..", "%2e%2e%2f"])
    version = RANDOM.choice(["", "", "", "/versions/1", "/versions/99999999999999999999", "/versions/-1", "/labels/%ff", "/labels/"])
    return f"/v1/models/{model}{version}:{RANDOM.choice(['predict'] * 4 + ['classify', 'regress', 'x', ''])}"


def v2_path():
    model = RANDOM.choice(["affine"] * 6 + ["colours", "classes", "kinds", "vision", "nope", "%00"])
    return f"/v2/models/{model}{RANDOM.choice(['', '', '/versions/1', '/versions/-', '/versions/'])}/infer"


def rest(count):
    session = requests.Session()
    for _ in range(count):
        path, headers, body = rest_body()
        method = RANDOM.choice(["POST"] * 9 + ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
        request = requests.Request(method, "http://" + HTTP, data=body, headers=headers).prepare()
        request.url = f"http://{HTTP}{path}"
        answer = session.send(request, timeout=30)
        note("rest", answer.status_code, (method, path, headers, body))


def note(what, status, asked):
    TALLY[what, status] += 1
    assert status < 500 or status in HONEST, (what, status, asked)


# ---- gRPC ----


def grpc_requests():
    """A good message of every method."""
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "affine"
    predict.inputs["x"].CopyFrom(make_tensor_proto(sample(1, 2, 2)))
    raw = predict_pb2.PredictRequest()
    raw.CopyFrom(predict)
    raw.inputs["x"].ClearField("float_val")
    raw.inputs["x"].tensor_content = sample(1, 2, 2).tobytes()
    file = predict_pb2.PredictRequest()
    file.model_spec.name = "colours"
    file.inputs["x"].CopyFrom(make_tensor_proto([b"\x89PNG\r\n\x1a\n" + bytes(40)]))
    examples = input_pb2.Input()
    examples.example_list.examples.add().features.feature["x"].float_list.value.extend([1, 2, 3, 4])
    classify = classification_pb2.ClassificationRequest(input=examples)
    classify.model_spec.name = "classes"
    several = inference_pb2.MultiInferenceRequest(input=examples)
    several.tasks.add(method_name="tensorflow/serving/classify").model_spec.name = "classes"
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "affine"
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "steps"
    reload = model_management_pb2.ReloadConfigRequest()
    reload.config.model_config_list.config.add(name="affine", base_path="models/affine")
    infer = service_pb2.ModelInferRequest(model_name="affine", id="1")
    infer.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    binary = service_pb2.ModelInferRequest(model_name="affine")
    binary.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    binary.raw_input_contents.append(bytes(8))
    prediction, models = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
    kserve = "/inference.GRPCInferenceService/"
    yield from [(prediction + "Predict", one) for one in [predict, raw, file]]
    yield prediction + "Classify", classify
    yield prediction + "Regress", classify
    yield prediction + "MultiInference", several
    yield prediction + "GetModelMetadata", metadata
    yield models + "GetModelStatus", status
    yield models + "HandleReloadConfigRequest", reload
    yield from [(kserve + "ModelInfer", one) for one in [infer, binary]]
    yield kserve + "ModelStatistics", service_pb2.ModelStatisticsRequest(name="affine")
    yield kserve + "ModelMetadata", service_pb2.ModelMetadataRequest(name="affine")
    yield kserve + "RepositoryIndex", service_pb2.RepositoryIndexRequest()
    yield kserve + "RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="affine")
    yield "/grpc.health.v1.Health/Check", service_pb2.ServerLiveRequest()


def claims():
    """Tensors that claim to be larger than they are."""
    dims = RANDOM.choice([[1 << 62], [1 << 40, 1 << 40], [-1, 2], [0, 1 << 62], [1 << 31] * 4, [1] * 300, [2 ** 63 - 1]])
    if RANDOM.random() < 0.5:
        infer = service_pb2.ModelInferRequest(model_name="affine")
        infer.inputs.add(name="x", datatype=RANDOM.choice(["FP32", "BYTES", "INT8"]), shape=dims)
        infer.raw_input_contents.append(RANDOM.choice([b"", bytes(8), b"\xff" * 8]))
        return "/inference.GRPCInferenceService/ModelInfer", infer
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = RANDOM.choice(["affine", "colours"])
    given = predict.inputs["x"]
    given.dtype = RANDOM.choice([1, 1, 7, 3, 99, 101])
    for size in dims:
        given.tensor_shape.dim.add(size=size)
    given.float_val.append(1)
    return "/tensorflow.serving.PredictionService/Predict", predict


OUR_FAULT = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}


def calls(count):
    good = [(path, message.SerializeToString()) for path, message in grpc_requests()]
    for packing in [None, grpc.Compression.Gzip]:
        channel = grpc.insecure_channel(GRPC, compression=packing)
        for _ in range(count // 2):
            choice = RANDOM.random()
            if choice < 0.2:
                path, message = claims()
                data = message.SerializeToString()
            else:
                path, data = RANDOM.choice(good)
                if choice < 0.9:
                    data = mutated(data)
                elif choice < 0.95:
                    path = RANDOM.choice([path + "x", "/a/b", "/inference.GRPCInferenceService/", path.lower()])
                else:
                    data = RANDOM.randbytes(RANDOM.randrange(200))
            try:
                channel.unary_unary(path)(data, timeout=30)
                TALLY["grpc", "OK"] += 1
            except grpc.RpcError as error:
                TALLY["grpc", error.code().name] += 1
                is_closed = "not allowed" in (error.details() or "")
                is_fault = error.code() in OUR_FAULT or error.code() == grpc.StatusCode.UNAVAILABLE and not is_closed
                assert not is_fault, (path, data, error)
        channel.close()


# ---- Raw sockets ----

BODY = b'{"instances": [[1.0, 2.0]]}'
POST = b"POST /v1/models/affine:predict HTTP/1.1\r\nhost: h\r\n"


def talk(data, address=HTTP):
    """What the server says to these bytes until it closes. When it only waits for more, it is told
    that there is none."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        said, has_ended = b"", False
        try:
            wire.sendall(data)
            wire.settimeout(0.2)
            while True:
                try:
                    part = wire.recv(65536)
                except TimeoutError:
                    assert not has_ended, ("neither answers nor closes", data[:500])
                    wire.shutdown(socket.SHUT_WR)
                    wire.settimeout(20)
                    has_ended = True
                    continue
                if not part:
                    return said
                said += part
        except OSError:
            # A server that closes on unread bytes resets the connection.
            return said


def statuses(said):
    found = []
    for line in said.split(b"HTTP/1.")[1:]:
        if line[:2] in (b"0 ", b"1 ") and line[2:5].isdigit():
            found.append(int(line[2:5]))
    return found


def with_length(body, length):
    return POST + b"content-length: %s\r\nconnection: close\r\n\r\n" % str(length).encode() + body


def bomb():
    packed = gzip.compress(bytes(1 << 20), 9) * 1200
    return POST + b"content-encoding: gzip\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(packed) + packed


def chunked(body):
    return POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n" + body


def forms():
    """Broken requests by name, with the statuses that they may get; no answer at all is fine where
    a connection is just closed."""
    bad, refused = {400}, {400, 411, 413, 501}
    good_chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    smuggled = b"GET /v2 HTTP/1.1\r\nhost: h\r\n\r\n"
    deep = b'{"instances": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    yield "a length beyond any", with_length(b"", 1 << 62), {413}
    yield "a length that is no number", with_length(BODY, "9" * 40), refused
    yield "a negative length", with_length(BODY, -5), bad
    yield "more than one length", POST + b"content-length: 27\r\ncontent-length: 3\r\n\r\n" + BODY, bad
    yield "a list of lengths", POST + b"content-length: 27, 3\r\n\r\n" + BODY, bad
    yield "a length with a plus", POST + b"content-length: +27\r\n\r\n" + BODY, bad
    yield "a body that breaks off", with_length(BODY[:10], 27), bad
    yield "deep nesting", with_length(deep, len(deep)), bad
    yield "deep nesting of v2", deep.join([b"POST /v2/models/affine/infer HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(deep), b""]), bad
    yield "a bomb of gzip", bomb(), {413, 429}
    yield "chunks that break off", chunked(good_chunk[:-12]), bad
    yield "a chunk without end", chunked(b"ffffffffffffffff\r\n" + BODY), refused
    yield "a chunk of no number", chunked(b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"), bad
    yield "an endless extension", chunked(b"1b;" + b"a" * 100_000 + b"\r\n" + BODY), bad | {413}
    yield "endless trailers", chunked(good_chunk + b"0\r\n" + b"a: b\r\n" * 50_000 + b"\r\n"), bad | {200, 413, 431}
    yield "a flood of headers", POST + b"a: b\r\n" * 5000 + b"\r\n", {400, 431}
    yield "an endless header", POST + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n", {400, 431}
    yield "an endless path", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n", {400, 414, 431}
    yield "no host", b"GET /v2 HTTP/1.1\r\nconnection: close\r\n\r\n", {200, 400}
    yield "another version", b"GET /v2 HTTP/3.7\r\nhost: h\r\n\r\n", {400, 505}
    yield "a folded header", POST + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n", bad
    yield "a space before the colon", POST + b"content-length : 27\r\n\r\n" + BODY, bad
    yield "a null in a header", POST + b"a: \0\r\n\r\n", bad
    yield "bare line feeds", b"GET /v2 HTTP/1.1\nhost: h\nconnection: close\n\n", {200, 400}
    yield "an absolute address", b"GET http://other/v2 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", {200, 400, 404}
    yield "a tunnel", b"CONNECT other:443 HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n", {400, 404, 405}
    yield "an upgrade", b"GET /v2 HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n", {200, 400}
    yield "an unknown expectation", with_length(BODY, 27).replace(b"host: h", b"host: h\r\nexpect: tea"), {200, 400, 417}
    for name, line in SMUGGLING.items():
        yield f"smuggling: {name}", POST + line + b"\r\n\r\n0\r\n\r\n" + smuggled, None


# Both a length and chunks, or chunks in disguise. Whatever the answer, no second request may come
# out of the body where a proxy would not have seen one.
SMUGGLING = {
    "length, then chunks": b"content-length: 5\r\ntransfer-encoding: chunked",
    "chunks, then length": b"transfer-encoding: chunked\r\ncontent-length: 5",
    "chunks twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "unknown coding": b"transfer-encoding: xchunked\r\ncontent-length: 5",
    "identity after chunks": b"transfer-encoding: chunked, identity",
    "a tab": b"transfer-encoding:\tchunked\r\ncontent-length: 5",
    "a vertical tab": b"transfer-encoding: \x0bchunked\r\ncontent-length: 5",
    "a quote": b'transfer-encoding: "chunked"\r\ncontent-length: 5',
    "a space": b"transfer-encoding : chunked\r\ncontent-length: 5",
}


def broken_forms():
    for name, data, wanted in forms():
        found = statuses(talk(data))
        for status in found or [0]:
            note("raw", status, name)
        if wanted is None:
            has_both = b"content-length: 5" in data
            assert all(status >= 400 for status in found[:1]) or not has_both, (name, found)
            assert not has_both or len(found) <= 1, f"{name}: a second request came out: {found}"
        else:
            assert len(found) <= 1 and set(found) <= wanted, (name, found)


def pipelined():
    one = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    last = one.replace(b"host: h", b"host: h\r\nconnection: close")
    said = talk(one * 299 + last)
    assert statuses(said) == [200] * 300, statuses(said)


def raw_noise(count):
    good = [
        with_length(BODY, len(BODY)),
        chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
        b"GET /v2/models/affine HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        b"POST /v2/models/affine/infer HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
    ]
    for turn in range(count):
        if turn % 3 == 2:
            http2_noise()
            continue
        data = mutated(RANDOM.choice(good))
        for status in statuses(talk(data)) or [0]:
            note("raw", status, data)


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


# The head of a good call: POST, http, the path and the content type as literals without a table.
def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEADERS = b"".join(literal(name, value) for name, value in [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
    (b":authority", b"h"), (b"content-type", b"application/grpc"), (b"te", b"trailers"),
])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


def http2_noise():
    """Frames in a wrong order, of wrong sizes, with wrong contents."""
    pieces = [frame(1, 4, 1, HEADERS), frame(0, 1, 1, struct.pack(">BI", 0, 4) + b"abcd")]
    kind = RANDOM.randrange(10)
    if kind == 0:
        pieces = [mutated(piece) for piece in pieces]
    elif kind == 1:
        pieces[1] = frame(0, 1, 1, struct.pack(">BI", 0, 0xFFFFFFFF) + b"abcd")
    elif kind == 2:
        pieces = [frame(RANDOM.randrange(256), RANDOM.randrange(256), RANDOM.randrange(1 << 31), RANDOM.randbytes(RANDOM.randrange(64))) for _ in range(20)]
    elif kind == 3:
        pieces = [frame(1, 4, 2 * n + 1, HEADERS) + frame(3, 0, 2 * n + 1, struct.pack(">I", 8)) for n in range(200)]
    elif kind == 4:
        pieces = [frame(1, 0, 1, HEADERS)] + [frame(9, 0, 1, literal(b"a", b"b" * 100)) for _ in range(400)]
    elif kind == 5:
        pieces = [frame(6, 0, 0, bytes(8)) for _ in range(500)]
    elif kind == 6:
        pieces = [frame(4, 0, 0, struct.pack(">HI", 4, 0xFFFFFFFF)), frame(8, 0, 0, struct.pack(">I", 0))]
    elif kind == 7:
        pieces = [frame(1, 4, 1, b"\x3f\xff\xff\xff\xff\xff\xff\xff\xff" + HEADERS)]
    elif kind == 8:
        pieces = [frame(1, 4, 2 * n + 1, HEADERS) for n in range(300)]
    else:
        pieces[1] = frame(0, 1, 1, struct.pack(">BI", RANDOM.choice([1, 2, 255]), 4) + RANDOM.randbytes(4))
    said = talk(PREFACE + b"".join(pieces), address=GRPC)
    TALLY["http2", "answered" if said else "closed"] += 1


def crawlers(count):
    """Connections that send a byte now and then: heads, bodies, handshakes of HTTP/2."""
    opened = []
    for number in range(count):
        host, port = (HTTP if number % 2 else GRPC).split(":")
        wire = socket.create_connection((host, int(port)), timeout=20)
        wire.sendall([POST, POST + b"content-length: 1000\r\n\r\n{", b"PRI * HTTP/2.0\r\n"][number % 3])
        opened.append(wire)
    return opened


def cut_off(opened, seconds):
    """Heads that never end are cut off."""
    deadline = time.monotonic() + seconds
    heads = opened[::3]
    while heads and time.monotonic() < deadline:
        left = []
        for wire in heads:
            try:
                wire.sendall(b"a")
                wire.setblocking(False)
                left.append(wire) if wire.recv(1000) else None
            except BlockingIOError:
                wire.setblocking(True)
                left.append(wire)
            except OSError:
                pass
        heads = left
        time.sleep(0.5)
    assert not heads, f"{len(heads)} slow heads are still there"


# ---- Good requests meanwhile ----


class Visitor(threading.Thread):
    """Asks properly all the while."""

    def __init__(self):
        super().__init__(daemon=True)
        self.leave, self.count, self.error, self.slowest = threading.Event(), 0, None, 0.0

    def run(self):
        session = requests.Session()
        try:
            while not self.leave.wait(0.02):
                x = sample(self.count, 1 + self.count % 3, 2)
                start = time.monotonic()
                answer = session.post(f"http://{HTTP}/v1/models/affine:predict", json={"instances": x.tolist()}, timeout=30)
                self.slowest = max(self.slowest, time.monotonic() - start)
                assert answer.status_code == 200, answer.text
                close(answer.json()["predictions"], expected("affine", x=x)["y"], "a good request")
                self.count += 1
        except Exception as error:
            self.error = error


def main():
    before = settled()
    visitor = Visitor()
    visitor.start()
    opened = crawlers(120)
    broken_forms()
    pipelined()
    raw_noise(COUNT // 4)
    rest(COUNT // 2)
    calls(COUNT // 4)
    cut_off(opened, 30)
    for wire in opened:
        wire.close()
    grown = memory() - before
    visitor.leave.set()
    visitor.join()
    print(json.dumps({" ".join(map(str, key)): count for key, count in sorted(TALLY.items(), key=str)}))
    print(f"memory grew by {grown} KiB at most; {visitor.count} good requests, the slowest {visitor.slowest:.2f} s")
    assert visitor.error is None, visitor.error
    assert visitor.count > 20, visitor.count
    assert grown < MAX_GROWTH, grown
    live = requests.get(f"http://{HTTP}/healthz", timeout=30)
    assert live.status_code == 200
    print("checked", sum(TALLY.values()))


main()
