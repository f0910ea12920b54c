"""Predictions of an ONNX file: predict_onnx.py onnxruntime|openvino FILE CHECK

CHECK is a folder with input_0.npy and output_0.npy, as `sardonyx bench --save` writes them: the
prediction is timed for that input and must agree with that output.
"""

import pathlib
import time

import numpy as np
from timing import answer, arguments, measure


def onnxruntime_session(path: str, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return (lambda x: session.run(None, {name: x})[0]), start, onnxruntime.__version__


def openvino_session(path: str, threads: int, shape: tuple[int, ...]):
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    # Rounding to bfloat16 where the processor has it is not the same mathematics.
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    start = time.perf_counter()
    model = core.read_model(path)
    model.reshape(list(shape))
    request = core.compile_model(model, "CPU").create_infer_request()

    def run(x: np.ndarray) -> np.ndarray:
        return request.infer({0: x}, share_inputs=True, share_outputs=True)[0]

    return run, start, openvino.__version__.split("-")[0]


def main() -> None:
    args = arguments("peer", "file", "check")
    check = pathlib.Path(args.check)
    x, expected = np.load(check / "input_0.npy"), np.load(check / "output_0.npy")
    if args.peer == "onnxruntime":
        run, start, version = onnxruntime_session(args.file, args.threads)
    else:
        run, start, version = openvino_session(args.file, args.threads, x.shape)
    found = run(x)
    first = time.perf_counter() - start
    difference = float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
    times = measure(lambda: run(x), args.seconds)
    answer(**times, first_ms=1e3 * first, difference=difference, version=version)


if __name__ == "__main__":
    main()
