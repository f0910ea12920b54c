"""Triton's own clients, blocking and asynchronous, over HTTP and gRPC, with every extension that they
know: binary tensors, classification, streaming, compression, repository, statistics."""
import asyncio
import functools
import queue
import time

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from common import GRPC, HTTP, close, expected, run, sample
from tritonclient.utils import InferenceServerException

NAMES = {
    **{f"in_{kind}{bits}": f"{kind.lower()}{bits}" for kind in ["INT", "UINT"] for bits in [8, 16, 32, 64]},
    "in_BOOL": "bool",
    "in_DOUBLE": "float64",
    "in_FLOAT": "float32",
    "in_FLOAT16": "float16",
}
BLOCKING = [(tritonclient.http, HTTP), (tritonclient.grpc, GRPC)]


def given(module, name, array, **form):
    kind = tritonclient.utils.np_to_triton_dtype(array.dtype)
    tensor = module.InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(array, **form)
    return tensor


def refused(call, *words):
    try:
        answer = call()
    except InferenceServerException as error:
        assert all(word in str(error) for word in words), (words, str(error))
        return str(error)
    raise AssertionError(f"not refused: {answer}")


def on_both(check):
    """Runs a check with a client of each transport."""

    @functools.wraps(check)
    def checked():
        for module, address in BLOCKING:
            with module.InferenceServerClient(address) as client:
                check(module, client)

    return checked


@on_both
def every_kind_comes_back(module, client):
    arrays = {}
    for name, kind in NAMES.items():
        kind = np.dtype(kind)
        row = [np.iinfo(kind).min, np.iinfo(kind).max] if kind.kind in "iu" else [0, 1]
        arrays[name] = np.array([row, row], kind)
    forms = [{"binary_data": True}, {"binary_data": False}] if module is tritonclient.http else [{}]
    for form in forms:
        # JSON has no halves, in Triton neither.
        is_text = form == {"binary_data": False}
        inputs = [
            given(module, name, array, **(form if name != "in_FLOAT16" else {}))
            for name, array in arrays.items()
        ]
        outputs = [
            module.InferRequestedOutput(name.replace("in_", "out_"), **(form if name != "in_FLOAT16" else {}))
            for name in arrays
        ]
        answer = client.infer("kinds", inputs, outputs=outputs)
        for name, array in arrays.items():
            found = answer.as_numpy(name.replace("in_", "out_"))
            assert found.dtype == array.dtype and (found == array).all(), (name, is_text, found)


@on_both
def chooses_versions(module, client):
    x = np.zeros([1, 1], np.float32)
    for version, wanted in [("", 3), ("1", 1), ("2", 2), ("3", 3)]:
        answer = client.infer("steps", [given(module, "x", x)], model_version=version)
        assert answer.as_numpy("y") == wanted, version
        response = answer.get_response()
        told = response["model_version"] if isinstance(response, dict) else response.model_version
        assert told == str(wanted)
    refused(lambda: client.infer("steps", [given(module, "x", x)], model_version="9"), "9")
    refused(lambda: client.infer("nope", [given(module, "x", x)]), "nope")


@on_both
def names_priorities_and_timeouts(module, client):
    x = sample(1, 2, 3)
    inputs = [given(module, "x", x)]
    answer = client.infer("affine", inputs, request_id="é-7", priority=3, timeout=5_000_000)
    close(answer.as_numpy("y"), expected("affine", x=x)["y"], "with wishes")
    response = answer.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "é-7"
    answer = client.infer("affine", inputs, parameters={"mine": "a", "other": 3, "third": True})
    close(answer.as_numpy("y"), expected("affine", x=x)["y"], "with parameters")
    refused(lambda: client.infer("affine", inputs, timeout=1), "deadline")


@on_both
def classifies(module, client):
    x = sample(2, 2, 4)
    wanted = expected("classes", x=x)["y"]
    outputs = [module.InferRequestedOutput("y", class_count=2)]
    answer = client.infer("classes", [given(module, "x", x)], outputs=outputs).as_numpy("y")
    assert answer.shape == (2, 2), answer
    names = ["ash", "birch", "cedar"]
    for row, scores in zip(answer, wanted):
        order = np.argsort(-scores)[:2]
        for found, index in zip(row, order):
            score, place, name = found.decode().split(":")
            assert (int(place), name) == (index, names[index]), row
            assert abs(float(score) - scores[index]) < 1e-5


def compression_goes_both_ways():
    x = sample(3, 64, 64)
    wanted = expected("affine", x=x)["y"]
    for there in [None, "gzip", "deflate"]:
        for back in [None, "gzip", "deflate"]:
            for binary in [True, False]:
                with tritonclient.http.InferenceServerClient(HTTP) as client:
                    answer = client.infer(
                        "affine",
                        [given(tritonclient.http, "x", x, binary_data=binary)],
                        outputs=[tritonclient.http.InferRequestedOutput("y", binary_data=binary)],
                        request_compression_algorithm=there,
                        response_compression_algorithm=back,
                    )
                    close(answer.as_numpy("y"), wanted, f"{there} {back} {binary}")
    for packing in ["gzip", "deflate"]:
        with tritonclient.grpc.InferenceServerClient(GRPC) as client:
            answer = client.infer("affine", [given(tritonclient.grpc, "x", x)], compression_algorithm=packing)
            close(answer.as_numpy("y"), wanted, packing)


def callbacks():
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        answers = queue.Queue()
        arrays = [sample(seed, 1 + seed % 3, 5) for seed in range(24)]
        for seed, x in enumerate(arrays):
            inputs = [given(tritonclient.grpc, "x", x)]
            client.async_infer("affine", inputs, lambda result, error: answers.put((result, error)), request_id=str(seed))
        for _ in arrays:
            result, error = answers.get(timeout=30)
            assert error is None, error
            x = arrays[int(result.get_response().id)]
            close(result.as_numpy("y"), expected("affine", x=x)["y"], "callback")
    with tritonclient.http.InferenceServerClient(HTTP, concurrency=8) as client:
        asked = [client.async_infer("affine", [given(tritonclient.http, "x", x)]) for x in arrays]
        for x, answer in zip(arrays, asked):
            close(answer.get_result().as_numpy("y"), expected("affine", x=x)["y"], "greenlet")


def streams():
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        arrays = [sample(seed, 1 + seed % 4, 2 + seed % 3) for seed in range(40)]
        for seed, x in enumerate(arrays):
            client.async_stream_infer("affine", [given(tritonclient.grpc, "x", x)], request_id=str(seed))
        for seed, x in enumerate(arrays):
            result, error = answers.get(timeout=30)
            assert error is None, error
            # Answers keep the order of their requests.
            assert result.get_response().id == str(seed)
            close(result.as_numpy("y"), expected("affine", x=x)["y"], "stream")
        # A request that fails is answered, and the stream goes on.
        client.async_stream_infer("nope", [given(tritonclient.grpc, "x", arrays[0])])
        client.async_stream_infer("affine", [given(tritonclient.grpc, "x", arrays[0])])
        result, error = answers.get(timeout=30)
        assert result is None and "nope" in str(error)
        result, error = answers.get(timeout=30)
        close(result.as_numpy("y"), expected("affine", x=arrays[0])["y"], "after an error")
        client.stop_stream()


async def many_over(module, address):
    async with module.InferenceServerClient(address) as client:
        assert await client.is_server_ready() and await client.is_model_ready("affine")
        arrays = [sample(seed, 1 + seed % 3, 4) for seed in range(40)]

        async def ask(x):
            answer = await client.infer("affine", [given(module, "x", x)])
            close(answer.as_numpy("y"), expected("affine", x=x)["y"], module.__name__)

        await asyncio.gather(*map(ask, arrays))


def asynchronous():
    asyncio.run(many_over(tritonclient.http.aio, HTTP))
    asyncio.run(many_over(tritonclient.grpc.aio, GRPC))


def asynchronous_streams():
    arrays = [sample(seed, 2, 3) for seed in range(20)]

    async def asked():
        for x in arrays:
            yield {"model_name": "affine", "inputs": [given(tritonclient.grpc, "x", x)]}

    async def main():
        async with tritonclient.grpc.aio.InferenceServerClient(GRPC) as client:
            found = [pair async for pair in client.stream_infer(asked())]
        assert len(found) == len(arrays)
        for x, (result, error) in zip(arrays, found):
            assert error is None, error
            close(result.as_numpy("y"), expected("affine", x=x)["y"], "asynchronous stream")

    asyncio.run(main())


@on_both
def describes(module, client):
    as_dict = {} if module is tritonclient.http else {"as_json": True}
    assert client.get_server_metadata(**as_dict)["name"] == "sardonyx"
    metadata = client.get_model_metadata("pair", **as_dict)
    assert [one["name"] for one in metadata["inputs"]] == ["a", "b"]
    assert [int(size) for size in metadata["inputs"][0]["shape"]] == [-1, 3]
    assert metadata["inputs"][0]["datatype"] == "FP32" and metadata["versions"] == ["1"]
    config = client.get_model_config("pair", **as_dict)
    config = config.get("config", config)
    assert config["name"] == "pair" and config["max_batch_size"] > 1
    assert [one["name"] for one in config["output"]] == ["sum", "product"]
    assert not client.is_model_ready("nope") and not client.is_model_ready("steps", "9")
    assert client.is_model_ready("steps", "2")
    assert client.get_trace_settings(**as_dict) and client.get_log_settings(**as_dict)


@on_both
def counts(module, client):
    as_dict = {} if module is tritonclient.http else {"as_json": True}

    def success():
        told = client.get_inference_statistics("line", **as_dict)["model_stats"]
        assert [one["name"] for one in told] == ["line"]
        return int(told[0]["inference_stats"]["success"].get("count", 0)), int(told[0].get("inference_count", 0))

    before = success()
    client.infer("line", [given(module, "x", sample(1, 3, 2))])
    deadline = time.monotonic() + 10
    while success() != (before[0] + 1, before[1] + 3):
        assert time.monotonic() < deadline, (before, success())
    names = [one["name"] for one in client.get_inference_statistics(**as_dict)["model_stats"]]
    assert {"affine", "line", "pair"} <= set(names)


@on_both
def models_come_and_go(module, client):
    as_dict = {} if module is tritonclient.http else {"as_json": True}

    def states():
        index = client.get_model_repository_index(**as_dict)
        index = index if isinstance(index, list) else index["models"]
        return {(one["name"], one.get("version", "")): one.get("state", "") for one in index}

    assert states()[("pair", "1")] == "READY"
    client.unload_model("pair")
    assert not client.is_model_ready("pair")
    assert states().get(("pair", "1")) != "READY"
    a = sample(1, 1, 3)
    refused(lambda: client.infer("pair", [given(module, "a", a), given(module, "b", a)]), "pair")
    client.load_model("pair")
    assert client.is_model_ready("pair") and states()[("pair", "1")] == "READY"
    answer = client.infer("pair", [given(module, "a", a), given(module, "b", a)])
    close(answer.as_numpy("sum"), expected("pair", a=a, b=a)["sum"], "loaded again")
    refused(lambda: client.load_model("nope"), "nope")
    refused(lambda: client.load_model("pair", config="{}"), "repository")


@on_both
def shared_memory_is_refused_clearly(module, client):
    words = "shared memory"
    as_dict = {} if module is tritonclient.http else {"as_json": True}
    assert not client.get_system_shared_memory_status(**as_dict)
    assert not client.get_cuda_shared_memory_status(**as_dict)
    refused(lambda: client.register_system_shared_memory("region", "/region", 64), words)
    refused(lambda: client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 64), words)
    refused(lambda: client.unregister_system_shared_memory("region"), words)
    refused(lambda: client.unregister_cuda_shared_memory("region"), words)
    tensor = module.InferInput("x", [1, 2], "FP32")
    tensor.set_shared_memory("region", 8)
    refused(lambda: client.infer("affine", [tensor]), words)
    output = module.InferRequestedOutput("y")
    output.set_shared_memory("region", 8)
    inputs = [given(module, "x", sample(1, 1, 2))]
    refused(lambda: client.infer("affine", inputs, outputs=[output]), words)


@on_both
def sequences_mean_nothing_to_models_without_state(module, client):
    x = sample(1, 1, 2)
    answer = client.infer("affine", [given(module, "x", x)], sequence_id=7, sequence_start=True)
    close(answer.as_numpy("y"), expected("affine", x=x)["y"], "in a sequence")


@on_both
def what_is_wrong_is_said(module, client):
    x = sample(1, 2, 3)
    named = [given(module, "nope", x)]
    refused(lambda: client.infer("affine", named), "nope", "affine")
    refused(lambda: client.infer("affine", []), "x")
    refused(lambda: client.infer("affine", [given(module, "x", x.astype(np.float64))]), "FP32", "FP64")
    refused(lambda: client.infer("affine", [given(module, "x", x[0])]), "x")
    refused(lambda: client.infer("line", [given(module, "x", x)]), "x")
    outputs = [module.InferRequestedOutput("nope")]
    refused(lambda: client.infer("affine", [given(module, "x", x)], outputs=outputs), "nope")


run([
    every_kind_comes_back,
    chooses_versions,
    names_priorities_and_timeouts,
    classifies,
    compression_goes_both_ways,
    callbacks,
    streams,
    asynchronous,
    asynchronous_streams,
    describes,
    counts,
    models_come_and_go,
    shared_memory_is_refused_clearly,
    sequences_mean_nothing_to_models_without_state,
    what_is_wrong_is_said,
])
