"""The model behind KServe's own Python server: python kserve_server.py MODEL PORT GRPC_PORT."""

import sys

import numpy
import onnxruntime
from kserve import Model, ModelServer


class OnnxModel(Model):
    """Answers TensorFlow Serving's form of a request."""

    def __init__(self, path: str):
        super().__init__("model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(path, options, providers=providers)
        self.name_in = self.session.get_inputs()[0].name
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        x = numpy.asarray(payload["instances"], numpy.float32)
        return {"predictions": self.session.run(None, {self.name_in: x})[0].tolist()}


path, port, grpc_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
server = ModelServer(
    http_port=port,
    grpc_port=grpc_port,
    workers=1,
    enable_docs_url=False,
    enable_latency_logging=False,
    access_log_format=None,
)
server.start([OnnxModel(path)])
