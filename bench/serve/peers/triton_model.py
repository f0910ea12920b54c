"""The model as Triton's Python backend runs it; the environment names the file: MODEL."""

import os

import numpy
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """One input, one output; the requests of a batch run as one."""

    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        self.name_in = self.session.get_inputs()[0].name
        self.name_out = self.session.get_outputs()[0].name

    def execute(self, requests):
        inputs = [triton.get_input_tensor_by_name(r, self.name_in).as_numpy() for r in requests]
        outputs = self.session.run(None, {self.name_in: numpy.concatenate(inputs)})[0]
        answers, start = [], 0
        for x in inputs:
            part = outputs[start : start + len(x)]
            answers.append(triton.InferenceResponse([triton.Tensor(self.name_out, part)]))
            start += len(x)
        return answers
