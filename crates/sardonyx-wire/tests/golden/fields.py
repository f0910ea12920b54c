"""Makes fields.txt: python fields.py (needs tensorflow-serving-api==2.21.0 and tritonclient==2.73.0).

Each line is the name of a message and, in hexadecimal, the message with every field set to a value
of its own, as the official protobuf code serialises it; one line for each alternative of a oneof.
Whoever decodes such a line and encodes it again gets the same bytes only with the same numbers and
types for all fields.
"""

import pathlib

from google.protobuf.descriptor import FieldDescriptor as F
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from tritonclient.grpc import model_config_pb2, service_pb2

HERE = pathlib.Path(__file__).parent
# Fields that Sardonyx has no use for, by the full name of their message.
LEFT_OUT = {
    "tensorflow.TensorProto": {"scomplex_val", "dcomplex_val", "resource_handle_val", "variant_val", "float8_val"},
    "tensorflow.TensorInfo": {"coo_sparse", "composite_tensor"},
    "tensorflow.SignatureDef": {"defaults"},
    "tensorflow.serving.PredictRequest": {"predict_streamed_options", "request_options"},
    "tensorflow.serving.ReloadConfigResponse": {"metric"},
    "tensorflow.serving.ModelServerConfig": {"custom_model_config"},
    "tensorflow.serving.ModelConfig": {"model_type"},
    "tensorflow.serving.LoggingConfig": {"custom_logging_config"},
    "tensorflow.serving.SamplingConfig": {"attributes", "per_task_sampling_configs"},
    "inference.ModelConfig": {"batch_input", "batch_output", "model_operations", "model_repository_agents", "model_metrics"},
    "inference.ModelOptimizationPolicy": {"graph", "cuda", "execution_accelerators", "input_pinned_memory", "output_pinned_memory", "gather_kernel_buffer_threshold"},
    "inference.ModelSequenceBatching": {"control_input", "state", "direct", "oldest", "iterative_sequence"},
    "inference.ModelEnsembling": {"max_inflight_requests"},
    "inference.ModelEnsembling.Step": {"model_namespace"},
    "inference.ModelInstanceGroup": {"rate_limiter", "secondary_devices"},
}
INTEGERS = {F.TYPE_INT32, F.TYPE_INT64, F.TYPE_UINT32, F.TYPE_UINT64}
MESSAGES = {
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "ClassificationRequest": classification_pb2.ClassificationRequest,
    "ClassificationResponse": classification_pb2.ClassificationResponse,
    "RegressionRequest": regression_pb2.RegressionRequest,
    "RegressionResponse": regression_pb2.RegressionResponse,
    "MultiInferenceRequest": inference_pb2.MultiInferenceRequest,
    "MultiInferenceResponse": inference_pb2.MultiInferenceResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "ReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    "ReloadConfigResponse": model_management_pb2.ReloadConfigResponse,
    "TensorProto": tensor_pb2.TensorProto,
    "Example": example_pb2.Example,
    "SignatureDef": meta_graph_pb2.SignatureDef,
}
TRITON = [
    "ServerLiveResponse", "ServerReadyResponse", "ModelReadyRequest", "ModelReadyResponse",
    "ServerMetadataResponse", "ModelMetadataRequest", "ModelMetadataResponse", "ModelInferRequest",
    "ModelInferResponse", "ModelStreamInferResponse", "ModelConfigRequest", "ModelConfigResponse",
    "ModelStatisticsRequest", "ModelStatisticsResponse", "RepositoryIndexRequest",
    "RepositoryIndexResponse", "RepositoryModelLoadRequest", "RepositoryModelUnloadRequest",
    "SystemSharedMemoryStatusResponse", "SystemSharedMemoryRegisterRequest",
    "CudaSharedMemoryStatusResponse", "CudaSharedMemoryRegisterRequest", "TraceSettingRequest",
    "TraceSettingResponse",
]
MESSAGES |= {name: getattr(service_pb2, name) for name in TRITON}
MESSAGES["LogSettings"] = service_pb2.LogSettingsRequest
MESSAGES["TritonModelConfig"] = model_config_pb2.ModelConfig


class Filler:
    """Sets every field; of a oneof, alternative number `choice` modulo their number."""

    def __init__(self, choice):
        self.choice, self.number, self.widest = choice, 0, 1

    def scalar(self, field):
        self.number += 1
        if field.type == F.TYPE_BOOL:
            return True
        if field.type in INTEGERS:
            return self.number
        if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
            return self.number + 0.5
        if field.type == F.TYPE_STRING:
            return f"text {self.number}"
        if field.type == F.TYPE_BYTES:
            return f"bytes {self.number}".encode()
        assert field.type == F.TYPE_ENUM, field.full_name
        values = field.enum_type.values
        return values[-1].number

    def fill(self, message, depth=0):
        assert depth < 12, message.DESCRIPTOR.full_name
        descriptor = message.DESCRIPTOR
        fields = [f for f in descriptor.fields if f.name not in LEFT_OUT.get(descriptor.full_name, ())]
        for field in fields:
            oneof = field.containing_oneof
            if oneof is not None:
                others = [f for f in fields if f.containing_oneof is oneof]
                self.widest = max(self.widest, len(others))
                if others[self.choice % len(others)] is not field:
                    continue
            self.set(message, field, depth)
        return message

    def set(self, message, field, depth):
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        if entry:
            key, value = field.message_type.fields
            target, name = getattr(message, field.name), self.scalar(key)
            if value.message_type is not None:
                self.fill(target[name], depth + 1)
            else:
                target[name] = self.scalar(value)
        elif field.is_repeated:
            target = getattr(message, field.name)
            for _ in range(2):
                if field.message_type is not None:
                    self.fill(target.add(), depth + 1)
                else:
                    target.append(self.scalar(field))
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, depth + 1)
        else:
            setattr(message, field.name, self.scalar(field))


def main():
    lines = []
    for name, kind in MESSAGES.items():
        choice, widest = 0, 1
        while choice < widest:
            filler = Filler(choice)
            data = filler.fill(kind()).SerializeToString(deterministic=True)
            lines.append(f"{name} {data.hex()}\n")
            choice, widest = choice + 1, filler.widest
    (HERE / "fields.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
