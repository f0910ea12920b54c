"""What the scripts that ask a server share: where it is, its models in ONNX Runtime, and a check.

Every script is called with the folder of models, the HTTP address and the gRPC address.
"""
import functools
import pathlib
import sys

import numpy as np
import onnxruntime

MODELS, HTTP, GRPC = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]


@functools.cache
def session(name, version=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = MODELS / name / str(version) / "model.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def expected(name, version=1, **inputs):
    """The outputs of ONNX Runtime by name."""
    model = session(name, version)
    names = [output.name for output in model.get_outputs()]
    return dict(zip(names, model.run(names, inputs)))


def close(found, wanted, what):
    found = np.asarray(found)
    assert found.shape == wanted.shape, (what, found.shape, wanted.shape)
    np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=1e-5, atol=1e-5, err_msg=what)


def sample(seed, *shape):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32)


def run(checks):
    """Runs every check, tells which failed, and how many there were."""
    failed = []
    for check in checks:
        try:
            check()
        except Exception as error:
            failed.append(check.__name__)
            print(f"{check.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
    assert not failed, failed
    print(f"checked {len(checks)}")
