"""TensorFlow Serving's REST API as plain HTTP clients use it: every form of a request, numbers that
JSON does not have, errors; and pictures through every door."""
import base64
import gzip
import io
import json
import zlib

import numpy as np
import ovmsclient
import requests
import tritonclient.grpc
import tritonclient.http
from common import GRPC, HTTP, close, expected, run, sample
from PIL import Image

URL = f"http://{HTTP}/v1/models"
HTTP_SESSION = requests.Session()


def post(path, body, status=200, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = HTTP_SESSION.post(f"{URL}/{path}", data=data, headers=headers, timeout=30)
    assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/json"
    # Python's reader takes NaN and Infinity, as clients of TensorFlow Serving must.
    return answer.json()


def get(path, status=200):
    answer = HTTP_SESSION.get(f"{URL}/{path}", timeout=30)
    assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
    return answer.json()


def rows_and_columns():
    x = sample(1, 3, 4)
    wanted = expected("affine", x=x)["y"]
    rows = x.tolist()
    for body in [
        {"instances": rows},
        {"instances": [{"x": row} for row in rows]},
        {"signature_name": "serving_default", "instances": rows},
        {"instances": rows, "signature_name": "serving_default"},
    ]:
        close(post("affine:predict", body)["predictions"], wanted, str(body)[:60])
    for body in [{"inputs": rows}, {"inputs": {"x": rows}}]:
        close(post("affine:predict", body)["outputs"], wanted, str(body)[:60])


def several_inputs_and_outputs():
    a, b = sample(2, 2, 3), sample(3, 2, 3)
    wanted = expected("pair", a=a, b=b)
    rows = [{"a": one.tolist(), "b": two.tolist()} for one, two in zip(a, b)]
    found = post("pair:predict", {"instances": rows})["predictions"]
    columns = post("pair:predict", {"inputs": {"a": a.tolist(), "b": b.tolist()}})["outputs"]
    for name in ["sum", "product"]:
        close([row[name] for row in found], wanted[name], name)
        close(columns[name], wanted[name], name)


def versions_and_labels():
    body = {"instances": [[0.0]]}
    for path, wanted in [
        ("steps", 3),
        ("steps/versions/1", 1),
        ("steps/versions/2", 2),
        ("steps/versions/0", 3),
        ("steps/labels/stable", 1),
        ("steps/labels/canary", 2),
    ]:
        assert post(f"{path}:predict", body)["predictions"] == [[wanted]], path
    for path in ["steps/versions/9", "nope", "nope/versions/1"]:
        assert "error" in post(f"{path}:predict", body, 404), path
    assert "error" in post("steps/labels/nope:predict", body, 400)
    states = get("steps")["model_version_status"]
    assert [(one["version"], one["state"]) for one in states] == [(n, "AVAILABLE") for n in "321"]
    assert [one["version"] for one in get("steps/labels/stable")["model_version_status"]] == ["1"]
    assert get("steps/versions/2/metadata")["model_spec"]["version"] == "2"
    assert "x" in get("steps/metadata")["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    get("nope", 404)
    get("nope/metadata", 404)


def numbers_that_json_does_not_have():
    body = b'{"instances": [[NaN, Infinity, -Infinity, 1e39, -0.0, 1]]}'
    found = np.array(post("affine:predict", body)["predictions"])
    wanted = expected("affine", x=np.array([[np.nan, np.inf, -np.inf, np.inf, -0.0, 1]], np.float32))["y"]
    np.testing.assert_array_equal(found, wanted)
    body = {"inputs": {f"in_{name}": [[0, 1]] for name in ["INT32", "UINT8", "FLOAT"]}}
    assert "error" in post("kinds:predict", body, 400)


def classify_and_regress():
    x = sample(4, 3, 4)
    body = {"examples": [{"x": row.tolist()} for row in x]}
    found = post("classes:classify", body)["results"]
    close([[score for _, score in row] for row in found], expected("classes", x=x)["y"], "classify")
    assert [[label for label, _ in row] for row in found] == [["ash", "birch", "cedar"]] * 3
    shared = {"context": {"x": x[0].tolist()}, "examples": [{}, {"x": x[1].tolist()}]}
    found = post("classes:classify", shared)["results"]
    close([[score for _, score in row] for row in found], expected("classes", x=x[:2])["y"], "context")
    x = sample(5, 2, 2)
    found = post("line:regress", {"examples": [{"x": row.tolist()} for row in x]})["results"]
    close([[value] for value in found], expected("line", x=x)["y"], "regress")
    for path, body in [
        ("line:regress", {}),
        ("line:regress", {"examples": []}),
        ("line:regress", {"examples": [{"y": 1}]}),
        ("line:classify", {"examples": [{"x": ["a", "b"]}]}),
    ]:
        assert "error" in post(path, body, 400), body


def errors():
    for body in [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"instances": []}',
        b'{"instances": [[1], [1, 2]]}',
        b'{"instances": [["a"]]}',
        b'{"instances": [{"b64": "!"}]}',
        b'{"instances": [[1]], "inputs": [[1]]}',
        b'{"instances": [[1]], "signature_name": "nope"}',
        b'{"inputs": {"nope": [[1]]}}',
    ]:
        answer = post("affine:predict", body, 400)
        assert answer["error"], body
    assert "error" in post("affine:nope", {}, 400)
    assert HTTP_SESSION.post(f"http://{HTTP}/v1/nope", timeout=30).status_code in (400, 404)
    assert HTTP_SESSION.put(f"{URL}/affine:predict", timeout=30).status_code in (400, 405)


def packed_bodies():
    x = sample(6, 64, 64)
    wanted = expected("affine", x=x)["y"]
    body = json.dumps({"instances": x.tolist()}).encode()
    for name, packed in [("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))]:
        for accepted in ["gzip", "deflate", "identity"]:
            headers = {"Content-Encoding": name, "Accept-Encoding": accepted}
            answer = HTTP_SESSION.post(f"{URL}/affine:predict", data=packed, headers=headers, timeout=30)
            assert answer.status_code == 200, answer.text
            assert answer.headers.get("content-encoding", "identity") == accepted
            close(answer.json()["predictions"], wanted, f"{name} {accepted}")
    assert "error" in post("affine:predict", body, 400, Content_Encoding="gzip")
    assert "error" in post("affine:predict", body, 415, Content_Encoding="br")
    assert "error" in post("affine:predict", gzip.compress(body)[:-20], 400, Content_Encoding="gzip")


def picture(mode, size, form, **options):
    """A smooth picture as a file, and its pixels as Pillow reads them: [C, H, W]."""
    width, height = size
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    planes = [across, down, 255 - across, np.full_like(across, 200)][: len(mode)]
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    image = Image.fromarray(pixels.squeeze(-1) if mode == "L" else pixels, mode)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decoded(file, mode):
    pixels = np.asarray(Image.open(io.BytesIO(file)).convert(mode), np.float32)
    return np.atleast_3d(pixels).transpose(2, 0, 1)[None]


def through_every_door(name, files):
    """`pixels` and `means` of the files, by door."""
    texts = [base64.b64encode(file).decode() for file in files]
    url = f"{name}:predict"

    def of_rows(answer):
        rows = answer["predictions"]
        return [[row[key] for row in rows] for key in ["pixels", "means"]]

    yield "rows", of_rows(post(url, {"instances": [{"b64": text} for text in texts]}))
    yield "named rows", of_rows(post(url, {"instances": [{"x": {"b64": text}} for text in texts]}))
    columns = post(url, {"inputs": {"x": [{"b64": text} for text in texts]}})["outputs"]
    yield "columns", [columns["pixels"], columns["means"]]
    if len(files) == 1:
        kind = {b"\x89": "image/png", b"\xff": "image/jpeg"}[files[0][:1]]
        yield "raw body", of_rows(post(url, files[0], Content_Type=kind))
    array = np.array(files, dtype=object)
    for module, address in [(tritonclient.http, HTTP), (tritonclient.grpc, GRPC)]:
        client = module.InferenceServerClient(address)
        tensor = module.InferInput("x", [len(files)], "BYTES")
        tensor.set_data_from_numpy(array)
        answer = client.infer(name, [tensor])
        yield module.__name__, [answer.as_numpy(key) for key in ["pixels", "means"]]
        client.close()
    answer = ovmsclient.make_grpc_client(GRPC).predict({"x": list(files)}, name)
    yield "ovmsclient", [answer["pixels"], answer["means"]]


def check_pictures(name, files, mode, scale=1.0, off=1e-4):
    """Pixels within `off` of Pillow's; what the model makes of them as ONNX Runtime makes it."""
    wanted = np.concatenate([decoded(file, mode) for file in files]) * np.float32(scale)
    for door, (pixels, means) in through_every_door(name, files):
        pixels, means = np.asarray(pixels, np.float32), np.asarray(means, np.float32)
        assert pixels.shape == wanted.shape, (door, pixels.shape)
        difference = np.abs(pixels - wanted).max()
        assert difference <= off, (door, mode, difference)
        np.testing.assert_allclose(means, expected(name, x=pixels)["means"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(means, expected(name, x=wanted)["means"], rtol=1e-2, atol=off)


def pictures():
    png = [picture(mode, (32, 24), "PNG") for mode in ["RGB", "RGBA", "L"]]
    for file in png:
        check_pictures("colours", [file], "RGB")
    check_pictures("grey", [png[2]], "L", 1 / 255, 1e-6)
    check_pictures("colours", [png[0], png[2], png[0]], "RGB")
    # Decoders of JPEG differ in their rounding by a few steps of 255.
    for options in [{"quality": 95}, {"quality": 80, "subsampling": 2}, {"progressive": True}]:
        jpeg = picture("RGB", (32, 24), "JPEG", **options)
        check_pictures("colours", [jpeg], "RGB", off=6)
    check_pictures("grey", [picture("L", (32, 24), "JPEG")], "L", 1 / 255, off=3 / 255)


def pictures_of_other_sizes_are_brought_to_the_models():
    for size in [(64, 48), (7, 9), (200, 10)]:
        file = picture("RGB", size, "PNG")
        found = np.array(post("colours:predict", file, Content_Type="image/png")["predictions"][0]["pixels"])
        assert found.shape == (3, 24, 32) and found.min() >= 0 and found.max() <= 255
        # The gradients go the same way as before.
        assert found[0, :, -1].mean() > found[0, :, 0].mean() and found[1, -1].mean() > found[1, 0].mean()


def damaged_pictures_are_refused():
    good = picture("RGB", (32, 24), "PNG")
    huge = good[:16] + (60_000).to_bytes(4, "big") * 2 + good[24:]
    for file in [b"", b"GIF89a", good[:40], good[:-30], b"\xff\xd8\xff\xe0" + bytes(50), huge]:
        assert "error" in post("colours:predict", file, 400, Content_Type="image/png"), file[:20]
        text = base64.b64encode(file).decode()
        assert "error" in post("colours:predict", {"instances": [{"b64": text}]}, 400)
        for module, address in [(tritonclient.http, HTTP), (tritonclient.grpc, GRPC)]:
            client = module.InferenceServerClient(address)
            tensor = module.InferInput("x", [1], "BYTES")
            tensor.set_data_from_numpy(np.array([file], dtype=object))
            try:
                client.infer("colours", [tensor])
            except tritonclient.utils.InferenceServerException as error:
                assert error.status() in ("400", "StatusCode.INVALID_ARGUMENT"), error
            else:
                raise AssertionError("not refused")
            client.close()
    assert "error" in post("affine:predict", good, 400, Content_Type="image/png")


def pictures_and_numbers_side_by_side():
    x = np.random.default_rng(8).uniform(0, 255, (2, 3, 24, 32)).astype(np.float32)
    found = post("colours:predict", {"inputs": x.tolist()})["outputs"]
    close(found["means"], expected("colours", x=x)["means"], "numbers")


run([
    rows_and_columns,
    several_inputs_and_outputs,
    versions_and_labels,
    numbers_that_json_does_not_have,
    classify_and_regress,
    errors,
    packed_bodies,
    pictures,
    pictures_of_other_sizes_are_brought_to_the_models,
    damaged_pictures_are_refused,
    pictures_and_numbers_side_by_side,
])
