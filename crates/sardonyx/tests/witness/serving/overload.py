"""More than a model can do: what does not fit is refused at once and says so; what nobody waits for
any more is dropped before it runs.

    overload.py MODELS HTTP GRPC

The model `slow` has one lane, batches of one sample and a queue of 4.
"""
import concurrent.futures
import json
import socket
import time

import grpc
import numpy as np
import requests
import tritonclient.grpc
from common import GRPC, HTTP, run
from ovmsclient.tfs_compat.grpc.tensors import make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

URL = f"http://{HTTP}/v1/models/slow:predict"
QUEUE = 4
# Enough samples that a request runs for a good part of a second.
LONG = np.zeros([2000, 512], np.float32)


def metric(name, **labels):
    text = requests.get(f"http://{HTTP}/metrics", timeout=30).text
    found = 0.0
    for line in text.splitlines():
        if line.startswith(name + "{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            found += float(line.rsplit(" ", 1)[1])
    return found


def rejected(reason):
    return metric("sardonyx_rejected_requests_total", model="slow", reason=reason)


def wait(until, what):
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def long_request():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "slow"
    request.inputs["x"].CopyFrom(make_tensor_proto(LONG))
    return request


def stub():
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(GRPC))


def busy():
    """Calls that fill the lane and the queue; they are answered in the end."""
    calls = [stub().Predict.future(long_request(), timeout=120)]
    wait(lambda: metric("sardonyx_in_flight_requests", model="slow") == 1, "the first runs")
    time.sleep(0.05)
    calls += [stub().Predict.future(long_request(), timeout=120) for _ in range(QUEUE)]
    wait(lambda: metric("sardonyx_queue_length", model="slow") == QUEUE, "the queue is full")
    return calls


def a_full_queue_refuses_at_once():
    calls = busy()
    before = rejected("queue_full")
    row = {"instances": LONG[:1].tolist()}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: requests.post(URL, json=row, timeout=60), range(8)))
        assert metric("sardonyx_queue_length", model="slow") == QUEUE, "none had to wait for a place"
    for answer in answers:
        assert answer.status_code == 429, (answer.status_code, answer.text)
        assert "queue is full" in answer.json()["error"] and answer.headers["retry-after"]
    try:
        stub().Predict(long_request(), timeout=60)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    else:
        raise AssertionError("not refused")
    client = tritonclient.grpc.InferenceServerClient(GRPC)
    given = tritonclient.grpc.InferInput("x", [1, 512], "FP32")
    given.set_data_from_numpy(LONG[:1])
    try:
        client.infer("slow", [given])
    except tritonclient.utils.InferenceServerException as error:
        assert error.status() == "StatusCode.RESOURCE_EXHAUSTED", error
    else:
        raise AssertionError("not refused")
    assert rejected("queue_full") - before == 10
    for call in calls:
        assert call.result().outputs["y"].tensor_shape.dim[0].size == len(LONG)


def who_leaves_is_dropped_before_it_runs():
    ran = metric("sardonyx_batch_requests_sum", model="slow")
    before = rejected("abandoned")
    calls = [stub().Predict.future(long_request(), timeout=120)]
    wait(lambda: metric("sardonyx_in_flight_requests", model="slow") == 1, "the first runs")
    time.sleep(0.05)
    body = json.dumps({"instances": LONG[:1].tolist()}).encode()
    host, port = HTTP.split(":")
    wires = []
    for _ in range(2):
        wire = socket.create_connection((host, int(port)), timeout=30)
        wire.sendall(b"POST /v1/models/slow:predict HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        wires.append(wire)
    cancelled = stub().Predict.future(long_request(), timeout=120)
    wait(lambda: metric("sardonyx_queue_length", model="slow") == 3, "three wait")
    for wire in wires:
        wire.close()
    cancelled.cancel()
    last = stub().Predict.future(long_request(), timeout=120)
    assert calls[0].result() and last.result()
    wait(lambda: rejected("abandoned") - before == 3, ("dropped", rejected("abandoned"), before))
    assert metric("sardonyx_batch_requests_sum", model="slow") - ran == 2, "only those that somebody waits for ran"


def who_is_late_is_dropped_before_it_runs():
    ran, before = metric("sardonyx_batch_requests_sum", model="slow"), rejected("deadline")
    first = stub().Predict.future(long_request(), timeout=120)
    wait(lambda: metric("sardonyx_in_flight_requests", model="slow") == 1, "the first runs")
    time.sleep(0.05)
    client = tritonclient.grpc.InferenceServerClient(GRPC)
    given = tritonclient.grpc.InferInput("x", [1, 512], "FP32")
    given.set_data_from_numpy(LONG[:1])
    try:
        client.infer("slow", [given], timeout=1000)
    except tritonclient.utils.InferenceServerException as error:
        assert error.status() == "StatusCode.DEADLINE_EXCEEDED", error
    else:
        raise AssertionError("answered too late")
    assert first.result()
    assert rejected("deadline") - before == 1
    assert metric("sardonyx_batch_requests_sum", model="slow") - ran == 1


def urgent_requests_go_first():
    first = stub().Predict.future(long_request(), timeout=120)
    wait(lambda: metric("sardonyx_in_flight_requests", model="slow") == 1, "the first runs")
    time.sleep(0.05)
    ended = []

    def ask(priority):
        client = tritonclient.grpc.InferenceServerClient(GRPC)
        given = tritonclient.grpc.InferInput("x", [512, 512], "FP32")
        given.set_data_from_numpy(LONG[:512])
        client.infer("slow", [given], priority=priority)
        ended.append(priority)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = []
        for count, priority in enumerate([5, 3, 1]):
            asked.append(pool.submit(ask, priority))
            wait(lambda: metric("sardonyx_queue_length", model="slow") == count + 1, "it waits")
        for answer in asked:
            answer.result()
    assert first.result() and ended == [1, 3, 5], ended


run([
    a_full_queue_refuses_at_once,
    who_leaves_is_dropped_before_it_runs,
    who_is_late_is_dropped_before_it_runs,
    urgent_requests_go_first,
])
