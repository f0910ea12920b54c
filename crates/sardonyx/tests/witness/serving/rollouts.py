"""Changes what is served, again and again, under constant load: nothing fails, a sticky key keeps
its version for as long as its rollout stays, weights hold.

    rollouts.py MODELS HTTP GRPC ADMIN CHANGES

The model `steps` answers its version's number plus the input, so every reply tells who made it.
"""
import collections
import contextlib
import math
import shutil
import sys
import threading
import time

import grpc
import numpy as np
import requests
from common import GRPC, HTTP, MODELS
from ovmsclient.tfs_compat.grpc.tensors import make_ndarray, make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

ADMIN, CHANGES = f"http://{sys.argv[4]}/admin/v1", int(sys.argv[5])
URL = f"http://{HTTP}/v1/models/steps"
# The normal quantile that leaves 0.1 % outside on both sides together.
QUANTILE_999 = 3.2905


def order(method, path, body=None, status=200):
    answer = requests.request(method, f"{ADMIN}/{path}", json=body, timeout=60)
    assert answer.status_code == status, (method, path, answer.status_code, answer.text)
    return answer.json()


@contextlib.contextmanager
def without(version):
    """A version is taken from the disk for a while."""
    place, aside = MODELS / "steps" / version, MODELS.parent / "aside"
    shutil.move(place, aside)
    order("POST", "reload")
    yield
    shutil.move(aside, place)
    order("POST", "reload")


class Client(threading.Thread):
    """Asks all the while and notes who answered, in what order."""

    def __init__(self, number, key):
        super().__init__(daemon=True)
        self.number, self.key, self.leave = number, key, threading.Event()
        self.answers, self.error = [], None

    def run(self):
        ask = self.rest() if self.number % 2 else self.stub()
        try:
            while not self.leave.is_set():
                began, value = EPOCH[0], float(self.number + len(self.answers) % 1000 * 100)
                version = ask(value) - value
                assert version in (1, 2, 3), (version, value)
                # A change while it was asked may have counted or not.
                self.answers.append((began if began == EPOCH[0] else None, int(version)))
        except Exception as error:
            self.error = error

    def rest(self):
        session = requests.Session()
        headers = {"x-sticky-key": self.key} if self.key else {}

        def ask(value):
            answer = session.post(URL + ":predict", json={"instances": [[value]]}, headers=headers, timeout=30)
            assert answer.status_code == 200, (answer.status_code, answer.text)
            return answer.json()["predictions"][0][0]

        return ask

    def stub(self):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(GRPC))
        metadata = (("x-sticky-key", self.key),) if self.key else ()

        def ask(value):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "steps"
            request.inputs["x"].CopyFrom(make_tensor_proto(np.full([1, 1], value, np.float32)))
            answer = stub.Predict(request, metadata=metadata, timeout=30)
            return float(make_ndarray(answer.outputs["y"])[0, 0])

        return ask


# Counts the changes: requests that lie within one epoch saw one rollout.
EPOCH = [0]


def changes():
    """Promotes, rolls back, shifts weights, looks at the disk, loads and unloads a version."""
    for turn in range(CHANGES):
        EPOCH[0] += 1
        kind = turn % 5
        if kind == 0:
            order("PUT", "models/steps/rollout", {"labels": {"stable": 1, "canary": 2}, "weights": {"2": 100}})
        elif kind == 1:
            order("PATCH", "models/steps/rollout", {"weights": {"1": 100}})
        elif kind == 2:
            order("PATCH", "models/steps/rollout", {"weights": {"1": 30, "2": 70}})
        elif kind == 3:
            # A version that nobody weighs goes, and comes again.
            with without("3"):
                pass
        else:
            order("PATCH", "models/steps/rollout", {"labels": {"stable": 2}, "shadow": {"version": 1, "fraction": 0.5}})
        EPOCH[0] += 1
        time.sleep(0.1)


def under_load():
    clients = [Client(number, f"key-{number}" if number < 12 else None) for number in range(18)]
    for client in clients:
        client.start()
    changes()
    for client in clients:
        client.leave.set()
    for client in clients:
        client.join()
        assert client.error is None, client.error
    total = 0
    for client in clients:
        total += len(client.answers)
        assert len(client.answers) > CHANGES, len(client.answers)
        if client.key:
            by_epoch = collections.defaultdict(set)
            for epoch, version in client.answers:
                # Odd epochs are those in which a change is made.
                if epoch is not None and epoch % 2 == 0:
                    by_epoch[epoch].add(version)
            mixed = {epoch: found for epoch, found in by_epoch.items() if len(found) > 1}
            assert not mixed, (client.key, mixed)
    return total


def within(count, total, share, what):
    allowed = QUANTILE_999 * math.sqrt(total * share * (1 - share))
    assert abs(count - total * share) <= allowed, (what, count, total, share)


def weights_hold():
    order("PUT", "models/steps/rollout", {"weights": {"1": 80, "2": 15, "3": 5}})
    session = requests.Session()
    counts = [collections.Counter(), collections.Counter()]
    total = 3000
    for number in range(total):
        for sticky in (False, True):
            headers = {"x-sticky-key": f"user-{number}"} if sticky else {}
            answer = session.post(URL + ":predict", json={"instances": [[0.0]]}, headers=headers, timeout=30)
            counts[sticky][int(answer.json()["predictions"][0][0])] += 1
    for found, what in zip(counts, ["drawn", "sticky"]):
        for version, share in [(1, 0.8), (2, 0.15), (3, 0.05)]:
            within(found[version], total, share, (what, version, found))


def wrong_rollouts_change_nothing():
    before = order("GET", "models/steps/rollout")
    for body in [
        {"weights": {"1": 0}},
        {"weights": {"one": 1}},
        {"weights": {"1": -1}},
        {"weight": {"1": 1}},
        {"shadow": {"version": 1, "fraction": 2}},
        {"shadow": {"fraction": 1}},
        {"labels": {"": 1}},
        {"labels": {"a": -1}},
        {"labels": {"a": 9}},
        {"weights": {"9": 99, "2": 1}},
        {"shadow": {"version": 9}},
        [],
        None,
    ]:
        answer = requests.put(f"{ADMIN}/models/steps/rollout", json=body, timeout=30)
        assert answer.status_code == 400 and answer.json()["error"], (body, answer.status_code, answer.text)
    assert requests.put(f"{ADMIN}/models/nope/rollout", json={}, timeout=30).status_code == 404
    assert order("GET", "models/steps/rollout") == before


def a_version_that_goes_gets_no_traffic():
    order("PUT", "models/steps/rollout", {"weights": {"3": 99, "2": 1}})
    with without("3"):
        for _ in range(50):
            answer = requests.post(URL + ":predict", json={"instances": [[0.0]]}, timeout=30)
            assert answer.json()["predictions"] == [[2.0]]
    found = [requests.post(URL + ":predict", json={"instances": [[0.0]]}, timeout=30).json() for _ in range(50)]
    assert {"predictions": [[3.0]]} in found


def main():
    total = under_load()
    weights_hold()
    wrong_rollouts_change_nothing()
    a_version_that_goes_gets_no_traffic()
    print(f"{total} requests under {CHANGES} changes")
    print("checked", total)


main()
