"""Who may come in: TLS, certificates of clients, keys with scopes, all changed while serving.

    security.py MODELS HTTP GRPC FOLDER

FOLDER has the certificates of `certificates.sh` and the keys' file that the server reads. Whoever
may not is turned away before any model sees the request: its counters say so.
"""
import hashlib
import pathlib
import socket
import ssl
import sys
import time
import warnings

import grpc
import requests
import tritonclient.grpc
import tritonclient.http
from common import GRPC, HTTP, close, expected, run, sample
from ovmsclient.tfs_compat.grpc.tensors import make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

FOLDER = pathlib.Path(sys.argv[4])
ROOT, CLIENT = str(FOLDER / "root.pem"), (str(FOLDER / "edge.pem"), str(FOLDER / "edge.key"))
URL = f"https://localhost:{HTTP.rsplit(':', 1)[1]}"
ADDRESS = f"localhost:{GRPC.rsplit(':', 1)[1]}"
X = sample(1, 2, 3)
BODY = {"instances": X.tolist()}
OPERATOR, TEAM, WATCHER = "operator-secret", "team-secret", "watcher-secret"
PREDICT = "/v1/models/affine:predict"


def bearer(key):
    return {"authorization": f"Bearer {key}"} if key else {}


def ask(method, path, key=OPERATOR, **given):
    return requests.request(method, URL + path, headers=bearer(key), verify=ROOT, cert=CLIENT, timeout=30, **given)


def channel(with_certificate=True):
    pair = [pathlib.Path(file).read_bytes() for file in CLIENT] if with_certificate else [None, None]
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ROOT).read_bytes(), pair[1], pair[0])
    return grpc.secure_channel(ADDRESS, credentials)


def predict_request(name="affine"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].CopyFrom(make_tensor_proto(X))
    return request


def grpc_code(call, request, key):
    try:
        call(request, metadata=tuple(bearer(key).items()), timeout=30)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def requests_seen():
    """Requests that any model ever saw, by the server's own count."""
    answer = ask("GET", "/metrics")
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if line.startswith("sardonyx_requests_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def who_may_not_never_reaches_a_model():
    body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": X.ravel().tolist()}]}
    assert requests_seen() == 0
    for key, status in [(None, 401), ("wrong", 401), (WATCHER, 403), (TEAM + "x", 401)]:
        for path in [PREDICT, "/v1/models/line:classify", "/v1/models/line:regress"]:
            answer = ask("POST", path, key, json=BODY)
            assert answer.status_code == status, (key, path, answer.status_code)
        answer = ask("POST", "/v2/models/affine/infer", key, json=body)
        assert answer.status_code == status, (key, answer.status_code)
        assert status == 403 or answer.headers["www-authenticate"] == "Bearer"
        with channel() as wire:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(wire)
            wanted = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[status]
            assert grpc_code(stub.Predict, predict_request(), key) == wanted
            model = model_service_pb2_grpc.ModelServiceStub(wire)
            reload = model_management_pb2.ReloadConfigRequest()
            assert grpc_code(model.HandleReloadConfigRequest, reload, key) == wanted
    # Basic credentials, and a key where it does not belong.
    for headers in [{"authorization": f"Basic {TEAM}"}, {"authorization": TEAM}, {"x-api-key": TEAM}]:
        answer = requests.post(URL + PREDICT, json=BODY, headers=headers, verify=ROOT, cert=CLIENT, timeout=30)
        assert answer.status_code == 401, (headers, answer.status_code)
    assert ask("POST", PREDICT + f"?key={TEAM}", None, json=BODY).status_code == 401
    assert requests_seen() == 0


def scopes_are_of_models_and_verbs():
    """The team may infer `affine*` and read about it; the watcher may read metrics."""
    answer = ask("POST", PREDICT, TEAM, json=BODY)
    close(answer.json()["predictions"], expected("affine", x=X)["y"], "team")
    for method, path, key, status in [
        ("POST", "/v1/models/pair:predict", TEAM, 403),
        ("POST", "/v1/models/nope:predict", TEAM, 403),
        ("GET", "/v1/models/affine", TEAM, 200),
        ("GET", "/v1/models/pair", TEAM, 403),
        ("GET", "/metrics", TEAM, 403),
        ("GET", "/metrics", WATCHER, 200),
        ("GET", "/v1/models/affine", WATCHER, 403),
        ("POST", "/v2/repository/models/affine/unload", TEAM, 403),
        ("POST", "/v2/repository/models/affine/unload", WATCHER, 403),
        ("GET", "/v2/models/affine/stats", TEAM, 403),
        ("GET", "/healthz", None, 200),
        ("GET", "/readyz", None, 200),
        ("GET", "/v2/health/ready", None, 200),
    ]:
        answer = ask(method, path, key)
        assert answer.status_code == status, (method, path, key, answer.status_code, answer.text)
    with channel() as wire:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(wire)
        assert grpc_code(stub.Predict, predict_request(), TEAM) == "OK"
        assert grpc_code(stub.Predict, predict_request("pair"), TEAM) == "PERMISSION_DENIED"
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "pair"
        stub = model_service_pb2_grpc.ModelServiceStub(wire)
        assert grpc_code(stub.GetModelStatus, status, TEAM) == "PERMISSION_DENIED"
        assert grpc_code(stub.GetModelStatus, status, OPERATOR) == "OK"


def tritons_clients_over_tls():
    certificate, key = CLIENT
    with tritonclient.grpc.InferenceServerClient(
        ADDRESS, ssl=True, root_certificates=ROOT, private_key=key, certificate_chain=certificate
    ) as client:
        tensor = tritonclient.grpc.InferInput("x", list(X.shape), "FP32")
        tensor.set_data_from_numpy(X)
        answer = client.infer("affine", [tensor], headers=bearer(TEAM))
        close(answer.as_numpy("y"), expected("affine", x=X)["y"], "tritonclient.grpc")
        try:
            client.infer("affine", [tensor])
        except tritonclient.utils.InferenceServerException as error:
            assert error.status() == "StatusCode.UNAUTHENTICATED", error
        else:
            raise AssertionError("not refused")
    options = {"ca_certs": ROOT, "certfile": certificate, "keyfile": key}
    with tritonclient.http.InferenceServerClient(URL.removeprefix("https://"), ssl=True, ssl_options=options) as client:
        tensor = tritonclient.http.InferInput("x", list(X.shape), "FP32")
        tensor.set_data_from_numpy(X)
        answer = client.infer("affine", [tensor], headers=bearer(TEAM))
        close(answer.as_numpy("y"), expected("affine", x=X)["y"], "tritonclient.http")


def without_a_certificate_nobody_comes_in():
    for pair in [None, (str(FOLDER / "stranger.pem"), str(FOLDER / "stranger.key"))]:
        try:
            requests.post(URL + PREDICT, json=BODY, headers=bearer(OPERATOR), verify=ROOT, cert=pair, timeout=30)
        except requests.exceptions.ConnectionError:
            continue
        raise AssertionError(f"not refused: {pair}")
    with channel(with_certificate=False) as wire:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(wire)
        assert grpc_code(stub.Predict, predict_request(), OPERATOR) == "UNAVAILABLE"
    # Plain text is no way around.
    try:
        answer = requests.post(f"http://{HTTP}{PREDICT}", json=BODY, headers=bearer(OPERATOR), timeout=30)
    except requests.exceptions.ConnectionError:
        return
    raise AssertionError(f"answered in plain text: {answer.status_code}")


def old_versions_of_tls_are_refused():
    context = ssl.create_default_context(cafile=ROOT)
    context.load_cert_chain(*CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = HTTP.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        try:
            context.wrap_socket(plain, server_hostname="localhost")
        except (ssl.SSLError, ConnectionResetError):
            return
    raise AssertionError("TLS 1.1 was taken")


def shown():
    """The certificate that the server shows, as its fingerprint."""
    context = ssl.create_default_context(cafile=ROOT)
    context.load_cert_chain(*CLIENT)
    host, port = HTTP.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as wire:
            return hashlib.sha256(wire.getpeercert(binary_form=True)).hexdigest()


def wait(until, what):
    deadline = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def put(name, content):
    """A file appears whole, as a mounted secret does."""
    (FOLDER / "next").write_bytes(content)
    (FOLDER / "next").replace(FOLDER / name)


def certificates_change_without_a_pause():
    first = shown()
    session = requests.Session()
    # The environment's roots would be taken before the session's.
    session.trust_env = False
    session.verify, session.cert, session.headers = ROOT, CLIENT, bearer(TEAM)
    answer = session.post(URL + PREDICT, json=BODY, timeout=30)
    assert answer.status_code == 200
    good = (FOLDER / "server.pem").read_bytes()
    put("server.pem", b"no certificate")
    time.sleep(3)
    assert shown() == first, "a damaged file changes nothing"
    put("server.pem", (FOLDER / "second.pem").read_bytes())
    put("server.key", (FOLDER / "second.key").read_bytes())
    wait(lambda: shown() != first, "the new certificate is shown")
    # The connection from before goes on.
    assert session.post(URL + PREDICT, json=BODY, timeout=30).status_code == 200
    assert good != (FOLDER / "server.pem").read_bytes()
    assert ask("POST", PREDICT, TEAM, json=BODY).status_code == 200


def keys_change_while_serving():
    old = (FOLDER / "keys.toml").read_text()
    fresh = "fresh-secret"
    entry = f'[[keys]]\nname = "fresh"\nsha256 = "{hashlib.sha256(fresh.encode()).hexdigest()}"\nverbs = ["infer"]\n'
    put("keys.toml", (old + entry).encode())
    wait(lambda: ask("POST", PREDICT, fresh, json=BODY).status_code == 200, "the new key is known")
    put("keys.toml", b"[[keys]]\nnonsense")
    time.sleep(3)
    assert ask("POST", PREDICT, fresh, json=BODY).status_code == 200, "a damaged file changes nothing"
    put("keys.toml", old.encode())
    wait(lambda: ask("POST", PREDICT, fresh, json=BODY).status_code == 401, "the key is taken back")
    assert ask("POST", PREDICT, TEAM, json=BODY).status_code == 200
    reloads = [line for line in ask("GET", "/metrics", WATCHER).text.splitlines() if "reload" in line and "keys" in line]
    assert reloads, "reloads are counted"


def main():
    run([
        who_may_not_never_reaches_a_model,
        without_a_certificate_nobody_comes_in,
        old_versions_of_tls_are_refused,
        scopes_are_of_models_and_verbs,
        tritons_clients_over_tls,
        certificates_change_without_a_pause,
        keys_change_while_serving,
    ])


main()
