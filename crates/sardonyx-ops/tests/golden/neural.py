"""Writes neural.txt: what ONNX Runtime computes for nodes of the neural-network operators.

Needs onnx, onnxruntime and numpy; run as `python neural.py > neural.txt` in this folder. Where
ONNX Runtime is known to leave the definition, the ONNX reference implementation is asked instead
(witness "reference").
"""

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

rng = numpy.random.default_rng(7)
TYPES = {"float32": "f32", "int64": "i64", "int32": "i32", "bool": "bool", "int8": "i8",
         "uint8": "u8"}


def floats(*shape, low=-2.0, high=2.0):
    return numpy.asarray(rng.uniform(low, high, shape).round(2), "float32")


def run(op, opset, attributes, inputs, outputs, witness):
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    fed = {name: x for name, x in zip(names, inputs) if x is not None}
    graph = helper.make_graph(
        [node], "golden",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
         for n, x in fed.items()],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    if witness == "reference":
        return ReferenceEvaluator(model).run(None, fed)
    model = onnx.shape_inference.infer_shapes(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, fed)


def tensor(kind, x):
    if x is None:
        return f"{kind} -"
    x = numpy.asarray(x)
    if x.dtype.kind == "f":
        values = " ".join(f"{v:.8g}" for v in x.ravel())
    else:
        values = " ".join(str(int(v)) for v in x.ravel())
    shape = ",".join(map(str, x.shape))
    return f"{kind} {TYPES[str(x.dtype)]} [{shape}] {values}".rstrip()


def case(op, inputs, opset=21, outputs=1, witness="runtime", **attributes):
    results = run(op, opset, attributes, inputs, outputs, witness)
    print(f"case {op} {opset}")
    for name, value in attributes.items():
        kind = {int: "int", float: "float", str: "string", list: "ints"}[type(value)]
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        print(f"attribute {name} {kind} {text}")
    for x in inputs:
        print(tensor("input", x))
    for y in results:
        print(tensor("output", y))


def convolutions():
    x, w, b = floats(2, 4, 5, 6), floats(6, 2, 3, 2), floats(6)
    case("Conv", [x, w, b], group=2)
    case("Conv", [x, w], group=2, pads=[1, 0, 2, 1], strides=[2, 3], dilations=[1, 2])
    for pad in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
        case("Conv", [x, w], group=2, auto_pad=pad, strides=[2, 1])
    case("Conv", [floats(2, 2, 9), floats(3, 2, 4)], strides=[3], pads=[2, 3])
    case("Conv", [floats(1, 2, 3, 4, 3), floats(2, 2, 2, 3, 2)], pads=[1, 0, 0, 0, 1, 0])
    x, w, b = floats(1, 4, 3, 4), floats(4, 2, 3, 2), floats(4)
    strided = {"group": 2, "strides": [2, 3]}
    case("ConvTranspose", [x, w, b], group=2)
    case("ConvTranspose", [x, w], pads=[1, 0, 2, 1], output_padding=[1, 2], **strided)
    case("ConvTranspose", [x, w], output_shape=[6, 11], **strided)
    case("ConvTranspose", [x, w], output_shape=[6, 9], auto_pad="SAME_UPPER", **strided)
    for pad in ["SAME_UPPER", "SAME_LOWER"]:
        case("ConvTranspose", [x, w], auto_pad=pad, dilations=[2, 3], **strided)
    case("ConvTranspose", [floats(2, 2, 4), floats(2, 3, 3)], strides=[2])


def pools():
    x = floats(1, 2, 6, 7)
    window = {"kernel_shape": [2, 3]}
    padded = dict(window, strides=[3, 2], pads=[1, 2, 0, 1])
    case("MaxPool", [x], outputs=2, **window)
    case("MaxPool", [x], outputs=2, storage_order=1, **padded)
    case("MaxPool", [x], ceil_mode=1, **padded)
    case("MaxPool", [x], dilations=[3, 2], **window)
    case("MaxPool", [x], auto_pad="SAME_UPPER", strides=[2, 2], **window)
    case("MaxPool", [x], auto_pad="SAME_LOWER", strides=[2, 2], **window)
    case("MaxPool", [x], auto_pad="VALID", ceil_mode=1, strides=[3, 3], **window)
    case("MaxPool", [floats(1, 1, 4, 3, 4)], outputs=2, storage_order=1, kernel_shape=[2, 2, 3])
    ties = numpy.array([[[3, 3, 1, 1, 2, 2, 2]]], "int8")
    case("MaxPool", [ties], outputs=2, kernel_shape=[3], strides=[2])
    case("AveragePool", [x], **window)
    case("AveragePool", [x], dilations=[3, 2], **window)
    case("AveragePool", [x], auto_pad="SAME_LOWER", strides=[2, 2], **window)
    for include in [0, 1]:
        case("AveragePool", [x], count_include_pad=include, **padded)
        case("AveragePool", [x], count_include_pad=include, ceil_mode=1, **padded)
    case("AveragePool", [floats(2, 2, 7)], kernel_shape=[3], strides=[2])
    for p in [1, 2, 3]:
        case("LpPool", [x], opset=18, p=p, **window)
    case("LpPool", [x], opset=18, **padded)
    for op in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]:
        case(op, [x])


def products():
    for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        left, right = floats(*[(3, 4), (4, 3)][a]), floats(*[(4, 5), (5, 4)][b])
        for c in [None, floats(), floats(5), floats(3, 1)]:
            case("Gemm", [left, right] + [c] * (c is not None), transA=a, transB=b, alpha=0.5,
                 beta=-1.5)


def normalizations():
    x = floats(2, 4, 3, 2)
    channel = [floats(4, low=0.5) for _ in range(3)] + [floats(4, low=0.5)]
    case("BatchNormalization", [x] + channel, epsilon=0.01)
    case("BatchNormalization", [x] + channel, opset=9)
    case("BatchNormalization", [x] + channel, outputs=3, training_mode=1, momentum=0.7,
         witness="reference")
    case("InstanceNormalization", [x, *channel[:2]], epsilon=0.01)
    case("GroupNormalization", [x, *channel[:2]], num_groups=2)
    case("GroupNormalization", [x, floats(2), floats(2)], opset=18, num_groups=2)
    case("LayerNormalization", [x, floats(3, 2), floats(3, 2)], outputs=3, axis=2)
    case("LayerNormalization", [x, floats(2)], epsilon=0.1)
    case("LRN", [x], size=3, alpha=0.5, beta=0.6, bias=1.5)
    case("LRN", [floats(1, 6, 2, 1)], size=5, alpha=0.5)
    for p in [1, 2]:
        case("LpNormalization", [x], p=p, axis=1)
    case("MeanVarianceNormalization", [x])
    case("MeanVarianceNormalization", [x], axes=[1, 3])


def classifiers():
    x = floats(2, 3, 4)
    for op in ["Softmax", "LogSoftmax", "Hardmax"]:
        case(op, [x])
        case(op, [x], axis=1)
        case(op, [x], opset=11)
        case(op, [x], opset=11, axis=0)
    tied = numpy.array([[1, 3, 3], [2, 2, 0]], "float32")
    case("Hardmax", [tied])
    scores, weights = floats(2, 4, 2, 3), floats(4, low=0.5)
    labels = numpy.array([[[0, 3, 1], [1, 2, 2]], [[0, 1, 3], [3, 0, 1]]], "int64")
    for reduction in ["mean", "sum", "none"]:
        reduced = {"reduction": reduction, "ignore_index": 1}
        case("SoftmaxCrossEntropyLoss", [scores, labels, weights], outputs=2, **reduced)
        case("SoftmaxCrossEntropyLoss", [scores, labels], outputs=2, reduction=reduction)
        case("NegativeLogLikelihoodLoss", [scores, labels, weights], **reduced)
    case("SoftmaxCrossEntropyLoss", [scores[:, :, 0, 0], labels[:, 0, 0]], outputs=2)
    case("NegativeLogLikelihoodLoss", [scores[:, :, 0, 0], labels[:, 0, 0].astype("int32")])


def elementwise():
    x, y = floats(2, 3), floats(3)
    scalar = lambda value, kind="float32": numpy.array(value, kind)
    case("Clip", [x, scalar(-1), scalar(0.5)])
    case("Clip", [x, scalar(-1)])
    case("Clip", [x, None, scalar(0.5)])
    case("Clip", [x, scalar(1), scalar(-1)])
    case("Clip", [x], opset=6, min=-0.5, max=1.0)
    case("Clip", [numpy.arange(-3, 4, dtype="int8"), scalar(-1, "int8"), scalar(2, "int8")])
    case("Dropout", [x], outputs=2)
    case("Dropout", [x], opset=7, ratio=0.3)
    case("Dropout", [x, scalar(0.5), scalar(False, "bool")], outputs=2)
    case("Pow", [abs(x), y])
    case("Pow", [x, numpy.array([2, 3, -1], "int64")])
    case("Pow", [numpy.array([-3, 2, 7], "int32"), numpy.array([3, 10, 0], "int32")])
    case("Pow", [numpy.array([4, 9, 2], "int32"), scalar(0.5)])
    whole = numpy.array([-4, 7, 5, 4, -7, 8], "int32")
    divisor = numpy.array([2, -3, 8, -2, 3, 5], "int32")
    case("Mod", [whole, divisor])
    case("Mod", [whole, divisor], fmod=1)
    case("Mod", [x, y], fmod=1)
    for op in ["Max", "Mean", "Min", "Sum"]:
        case(op, [x])
        case(op, [x, y, floats(4, 1, 1)])
    case("Max", [whole, divisor])


for family in [convolutions, pools, products, normalizations, classifiers, elementwise]:
    family()
