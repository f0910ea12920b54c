"""Writes the models that the tests of the server ask.

    models.py FOLDER

Leaves `FOLDER/NAME/VERSION/model.onnx` for each of:

    affine    [N, W] -> 2 x + 1, any width: batches only form among equal widths
    classes   [N, 4] -> probabilities of 3 named classes
    colours   pictures of 3 x 24 x 32 as they are, and the mean of each channel
    grey      pictures of 1 x 24 x 32, the brightest pixel 1
    kinds     an input and an output of every element type, each its own output
    line      [N, 2] -> one value for each sample
    pair      two inputs, two outputs
    slow      enough matrix products to be busy for a while
    steps     versions 1, 2 and 3 add their number
    vision    a small convolution over pictures of any size
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
KINDS = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FLOAT16", "FLOAT", "DOUBLE"]


def value(name, dims, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array, dtype=np.float32), name)


def save(folder, name, version, nodes, inputs, outputs, constants=(), metadata=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    place = pathlib.Path(folder) / name / str(version)
    place.mkdir(parents=True)
    onnx.save(model, place / "model.onnx")


def arithmetic(folder):
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["d"]),
        helper.make_node("Add", ["d", "one"], ["y"]),
    ]
    sides = [value("x", ["N", "W"])], [value("y", ["N", "W"])]
    save(folder, "affine", 1, nodes, *sides, [constant("two", 2), constant("one", 1)])
    for version in (1, 2, 3):
        nodes = [helper.make_node("Add", ["x", "step"], ["y"])]
        sides = [value("x", ["N", 1])], [value("y", ["N", 1])]
        save(folder, "steps", version, nodes, *sides, [constant("step", version)])
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Mul", ["a", "b"], ["product"]),
    ]
    inputs = [value("a", ["N", 3]), value("b", ["N", 3])]
    save(folder, "pair", 1, nodes, inputs, [value("sum", ["N", 3]), value("product", ["N", 3])])


def learned(folder):
    random = np.random.default_rng(7)
    weights = [constant("w", random.normal(size=(4, 3))), constant("b", random.normal(size=3))]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    names = {"sardonyx.classes": json.dumps(["ash", "birch", "cedar"])}
    save(folder, "classes", 1, nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], weights, names)
    weights = [constant("w", random.normal(size=(2, 1))), constant("b", [0.5])]
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    save(folder, "line", 1, nodes, [value("x", ["N", 2])], [value("y", ["N", 1])], weights)
    weights = [constant(f"w{layer}", random.normal(size=(512, 512)) / 16) for layer in range(4)]
    nodes, fed = [], "x"
    for layer in range(32):
        nodes.append(helper.make_node("MatMul", [fed, f"w{layer % 4}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]))
        fed = f"r{layer}"
    nodes[-1].output[0] = "y"
    save(folder, "slow", 1, nodes, [value("x", ["N", 512])], [value("y", ["N", 512])], weights)


def pictures(folder):
    for name, channels, brightest in [("colours", 3, 255), ("grey", 1, 1)]:
        nodes = [
            helper.make_node("Identity", ["x"], ["pixels"]),
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["means"]),
        ]
        form = {"kind": "image", "channels": channels, "height": 24, "width": 32, "pixel_max": brightest}
        sample = ["N", channels, 24, 32]
        outputs = [value("pixels", sample), value("means", ["N", channels])]
        save(folder, name, 1, nodes, [value("x", sample)], outputs, (), {"sardonyx.input": json.dumps(form)})
    random = np.random.default_rng(11)
    weights = [
        constant("k", random.normal(size=(6, 2, 3, 3)) / 4),
        constant("kb", random.normal(size=6)),
        constant("w", random.normal(size=(6, 5))),
        constant("b", random.normal(size=5)),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "k", "kb"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["z"]),
        helper.make_node("Tanh", ["z"], ["y"]),
    ]
    save(folder, "vision", 1, nodes, [value("x", ["N", 2, "H", "W"])], [value("y", ["N", 5])], weights)


def kinds(folder):
    nodes, inputs, outputs = [], [], []
    for kind in KINDS:
        code = getattr(TensorProto, kind)
        nodes.append(helper.make_node("Identity", [f"in_{kind}"], [f"out_{kind}"]))
        inputs.append(value(f"in_{kind}", ["N", 2], code))
        outputs.append(value(f"out_{kind}", ["N", 2], code))
    save(folder, "kinds", 1, nodes, inputs, outputs)


if __name__ == "__main__":
    for make in [arithmetic, learned, pictures, kinds]:
        make(sys.argv[1])
