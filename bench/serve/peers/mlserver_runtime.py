"""The model as MLServer runs it; the environment names the file: MODEL."""

import os

import numpy
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """One input, one output."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        self.name_in = self.session.get_inputs()[0].name
        self.name_out = self.session.get_outputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0]).astype(numpy.float32, copy=False)
        y = self.session.run(None, {self.name_in: x})[0]
        outputs = [NumpyCodec.encode_output(self.name_out, y)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
