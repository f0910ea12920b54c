"""Every method of TensorFlow Serving's gRPC services, through stubs that were generated from its
public protos, and the health check of gRPC's own package."""
import grpc
import numpy as np
from common import GRPC, MODELS, close, expected, run, sample
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ovmsclient.tfs_compat.grpc.tensors import make_ndarray, make_tensor_proto
from ovmsclient.tfs_compat.protos.tensorflow.core.example import example_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

CHANNEL = grpc.insecure_channel(GRPC)
PREDICTION = prediction_service_pb2_grpc.PredictionServiceStub(CHANNEL)
MODEL = model_service_pb2_grpc.ModelServiceStub(CHANNEL)
HEALTH = health_pb2_grpc.HealthStub(CHANNEL)
TIMEOUT = 30


def refused(call, code, *words):
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        assert all(word in error.details() for word in words), error.details()
        return
    raise AssertionError(f"not refused: {answer}")


def predict_request(name, version=None, label=None, outputs=(), signature="serving_default", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(make_tensor_proto(value))
    request.output_filter.extend(outputs)
    return request


def predict(*arguments, **given):
    return PREDICTION.Predict(predict_request(*arguments, **given), timeout=TIMEOUT)


def predicts():
    x = sample(1, 3, 7)
    answer = predict("affine", x=x)
    close(make_ndarray(answer.outputs["y"]), expected("affine", x=x)["y"], "affine")
    assert answer.model_spec.name == "affine" and answer.model_spec.version.value == 1


def predicts_several_and_filters():
    a, b = sample(2, 2, 3), sample(3, 2, 3)
    answer = predict("pair", a=a, b=b)
    for name, wanted in expected("pair", a=a, b=b).items():
        close(make_ndarray(answer.outputs[name]), wanted, name)
    answer = predict("pair", outputs=["product"], a=a, b=b)
    assert list(answer.outputs) == ["product"]
    refused(lambda: predict("pair", outputs=["nope"], a=a, b=b), grpc.StatusCode.INVALID_ARGUMENT, "nope")
    refused(lambda: predict("pair", a=a), grpc.StatusCode.INVALID_ARGUMENT, "b")
    refused(lambda: predict("pair", a=a, b=b, c=b), grpc.StatusCode.INVALID_ARGUMENT, "c")


def chooses_versions():
    x = np.zeros([1, 1], np.float32)
    for version, label, wanted in [(None, None, 3), (0, None, 3), (1, None, 1), (2, None, 2), (None, "stable", 1), (None, "canary", 2)]:
        answer = predict("steps", version, label, x=x)
        assert make_ndarray(answer.outputs["y"]) == wanted, (version, label)
        assert answer.model_spec.version.value == wanted
    refused(lambda: predict("steps", 9, x=x), grpc.StatusCode.NOT_FOUND, "9")
    refused(lambda: predict("steps", None, "nope", x=x), grpc.StatusCode.INVALID_ARGUMENT, "nope")
    refused(lambda: predict("nope", x=x), grpc.StatusCode.NOT_FOUND, "nope")
    refused(lambda: predict("steps", signature="nope", x=x), grpc.StatusCode.FAILED_PRECONDITION, "nope")


def every_kind_comes_back():
    inputs = {}
    for name, kind in [("BOOL", np.bool_), ("FLOAT", np.float32), ("DOUBLE", np.float64), ("FLOAT16", np.float16)]:
        inputs[f"in_{name}"] = np.array([[0, 1]], kind)
    for bits in [8, 16, 32, 64]:
        for name, kind in [(f"INT{bits}", f"int{bits}"), (f"UINT{bits}", f"uint{bits}")]:
            limits = np.iinfo(kind)
            inputs[f"in_{name}"] = np.array([[limits.min, limits.max]], kind)
    answer = predict("kinds", **inputs)
    assert len(answer.outputs) == 12
    for name, value in inputs.items():
        found = make_ndarray(answer.outputs[name.replace("in_", "out_")])
        assert found.dtype == value.dtype and (found == value).all(), (name, found)


def raw_bytes_are_taken_too():
    x = sample(4, 2, 5)
    request = predict_request("affine", x=x)
    request.inputs["x"].ClearField("float_val")
    request.inputs["x"].tensor_content = x.tobytes()
    answer = PREDICTION.Predict(request, timeout=TIMEOUT)
    close(make_ndarray(answer.outputs["y"]), expected("affine", x=x)["y"], "tensor_content")


def examples(name, rows):
    found = input_pb2.Input()
    for row in rows:
        example = example_pb2.Example()
        example.features.feature["x"].float_list.value.extend(row.tolist())
        found.example_list.examples.add().CopyFrom(example)
    return found


def classifies():
    x = sample(5, 3, 4)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "classes"
    request.input.CopyFrom(examples("classes", x))
    answer = PREDICTION.Classify(request, timeout=TIMEOUT)
    wanted = expected("classes", x=x)["y"]
    found = [[one.score for one in row.classes] for row in answer.result.classifications]
    close(found, wanted, "classes")
    for row in answer.result.classifications:
        assert [one.label for one in row.classes] == ["ash", "birch", "cedar"]
    request.model_spec.name = "vision"
    refused(lambda: PREDICTION.Classify(request, timeout=TIMEOUT), grpc.StatusCode.INVALID_ARGUMENT)


def context_is_shared_by_examples():
    x = sample(6, 2, 4)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "classes"
    shared = request.input.example_list_with_context
    shared.context.features.feature["x"].float_list.value.extend(x[0].tolist())
    shared.examples.add()
    shared.examples.add().features.feature["x"].float_list.value.extend(x[1].tolist())
    answer = PREDICTION.Classify(request, timeout=TIMEOUT)
    found = [[one.score for one in row.classes] for row in answer.result.classifications]
    close(found, expected("classes", x=x)["y"], "context")


def regresses():
    x = sample(7, 4, 2)
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "line"
    request.input.CopyFrom(examples("line", x))
    answer = PREDICTION.Regress(request, timeout=TIMEOUT)
    found = [[one.value] for one in answer.result.regressions]
    close(found, expected("line", x=x)["y"], "line")
    request.input.Clear()
    refused(lambda: PREDICTION.Regress(request, timeout=TIMEOUT), grpc.StatusCode.INVALID_ARGUMENT, "empty")


def infers_several_tasks():
    x = sample(8, 2, 2)
    request = inference_pb2.MultiInferenceRequest()
    request.input.CopyFrom(examples("line", x))
    for _ in range(2):
        task = request.tasks.add(method_name="tensorflow/serving/regress")
        task.model_spec.name = "line"
    answer = PREDICTION.MultiInference(request, timeout=TIMEOUT)
    assert len(answer.results) == 2
    for result in answer.results:
        found = [[one.value] for one in result.regression_result.regressions]
        close(found, expected("line", x=x)["y"], "multi")
    request.tasks[1].model_spec.name = "classes"
    refused(lambda: PREDICTION.MultiInference(request, timeout=TIMEOUT), grpc.StatusCode.INVALID_ARGUMENT, "same")
    request.tasks[1].model_spec.name = "line"
    request.tasks[1].method_name = "tensorflow/serving/predict"
    refused(lambda: PREDICTION.MultiInference(request, timeout=TIMEOUT), grpc.StatusCode.UNIMPLEMENTED)


def tells_metadata():
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "pair"
    request.metadata_field.append("signature_def")
    answer = PREDICTION.GetModelMetadata(request, timeout=TIMEOUT)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    # The stubs' package has a name of its own, so the type is compared here.
    packed = answer.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures.ParseFromString(packed.value)
    signature = signatures.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert sorted(signature.inputs) == ["a", "b"] and sorted(signature.outputs) == ["product", "sum"]
    assert [one.size for one in signature.inputs["a"].tensor_shape.dim] == [-1, 3]
    assert signature.inputs["a"].dtype == 1
    request.metadata_field[0] = "nope"
    refused(lambda: PREDICTION.GetModelMetadata(request, timeout=TIMEOUT), grpc.StatusCode.INVALID_ARGUMENT, "nope")


def tells_status():
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "steps"
    answer = MODEL.GetModelStatus(request, timeout=TIMEOUT)
    assert [(one.version, one.state) for one in answer.model_version_status] == [(3, 30), (2, 30), (1, 30)]
    request.model_spec.version.value = 2
    answer = MODEL.GetModelStatus(request, timeout=TIMEOUT)
    assert [one.version for one in answer.model_version_status] == [2]
    request.model_spec.name = "nope"
    refused(lambda: MODEL.GetModelStatus(request, timeout=TIMEOUT), grpc.StatusCode.NOT_FOUND, "nope")


def healthy():
    for service in ["", "tensorflow.serving.PredictionService", "inference.GRPCInferenceService", "affine"]:
        answer = HEALTH.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    missing = health_pb2.HealthCheckRequest(service="nope")
    refused(lambda: HEALTH.Check(missing, timeout=TIMEOUT), grpc.StatusCode.NOT_FOUND)
    watched = HEALTH.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()
    watched = HEALTH.Watch(missing, timeout=TIMEOUT)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watched.cancel()


def deadlines_and_packing():
    slow = np.repeat(sample(9, 1, 512), 4096, axis=0)
    request = predict_request("slow", x=slow)
    refused(lambda: PREDICTION.Predict(request, timeout=0.02), grpc.StatusCode.DEADLINE_EXCEEDED)
    x = sample(10, 64, 64)
    answer = PREDICTION.Predict(predict_request("affine", x=x), timeout=TIMEOUT, compression=grpc.Compression.Gzip)
    close(make_ndarray(answer.outputs["y"]), expected("affine", x=x)["y"], "gzip")
    plain = grpc.insecure_channel(GRPC, compression=grpc.Compression.Deflate)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(plain)
    answer = stub.Predict(predict_request("affine", x=x), timeout=TIMEOUT)
    close(make_ndarray(answer.outputs["y"]), expected("affine", x=x)["y"], "deflate")


def reloads_its_configuration():
    """Last, as it changes what is served: only two models are left."""
    request = model_management_pb2.ReloadConfigRequest()
    for name, versions in [("steps", [1, 3]), ("line", [])]:
        config = request.config.model_config_list.config.add()
        config.name, config.base_path, config.model_platform = name, str(MODELS / name), "tensorflow"
        if versions:
            config.model_version_policy.specific.versions.extend(versions)
            config.version_labels["stable"] = 3
    answer = MODEL.HandleReloadConfigRequest(request, timeout=TIMEOUT)
    assert answer.status.error_code == 0, answer
    x = np.zeros([1, 1], np.float32)
    answer = predict("steps", None, "stable", x=x)
    assert make_ndarray(answer.outputs["y"]) == 3
    refused(lambda: predict("steps", 2, x=x), grpc.StatusCode.NOT_FOUND)
    refused(lambda: predict("affine", x=x), grpc.StatusCode.NOT_FOUND)
    request.config.model_config_list.config[0].base_path = str(MODELS / "nowhere")
    answer = MODEL.HandleReloadConfigRequest(request, timeout=TIMEOUT)
    assert answer.status.error_code != 0 and "nowhere" in answer.status.error_message, answer
    answer = predict("line", x=np.zeros([1, 2], np.float32))
    close(make_ndarray(answer.outputs["y"]), expected("line", x=np.zeros([1, 2], np.float32))["y"], "line stays")


run([
    predicts,
    predicts_several_and_filters,
    chooses_versions,
    every_kind_comes_back,
    raw_bytes_are_taken_too,
    classifies,
    context_is_shared_by_examples,
    regresses,
    infers_several_tasks,
    tells_metadata,
    tells_status,
    healthy,
    deadlines_and_packing,
    reloads_its_configuration,
])
