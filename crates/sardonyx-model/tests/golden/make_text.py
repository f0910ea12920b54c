"""The text form of graphs against ONNX's own parser and printer (onnx 1.19 or newer).

    python make_text.py print FOLDER         writes NAME.onnx.txt, by onnx.printer, for the models of
                                             this folder, and the models that are made here
    python make_text.py check FOLDER MODELS  reads FOLDER/*.txt, which this project printed, with
                                             onnx.parser, and compares each with its model; MODELS
                                             is onnx/backend/test/data of onnx 1.17 or the folder of
                                             `print`
"""

import pathlib
import sys

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx.printer

HERE = pathlib.Path(__file__).parent

MADE = {
    "functions": """
        <ir_version: 8, opset_import: ["" : 17, "local" : 1], model_version: 3>
        functions (float[N] x, float[N] k) => (float[N] y, float[N] same)
        {
            [first] y, same = local.twice <alpha = 0.5> (x, k)
        }
        <domain: "local", opset_import: ["" : 17, "local" : 1]>
        twice <alpha> (a, b) => (r, a)
        {
            t = local.leak <slope: float = @alpha> (a)
            r = Sum (t, t, b)
        }
        <domain: "local", opset_import: ["" : 17]>
        leak <slope: float = 0.125> (a) => (r)
        {
            r = LeakyRelu <alpha: float = @slope> (a)
        }
    """,
    "subgraphs": """
        <ir_version: 9, opset_import: ["" : 19], metadata_props: ["key": "value"]>
        "sub/graphs" (bool c, float[N,2] x, float[3] d = {1, -2.5, 1e-7}) => (float[M,2] y)
        <int64[2] w = {7, -9}, string[1] s = {"a\\\\\\"b"}, float[N,2] "m/1">
        {
            [name] "m/1" = Neg (x)
            y = If (c) <
                then_branch = yes () => (float[N,2] r) { r = Add (x, "m/1") },
                else_branch = no () => (float[N,2] r)
                <float[2] w1 = {1, 2}>
                { r = Mul ("m/1", w1) }>
        }
    """,
}


def models():
    """Name and model of everything that `print` prints."""
    for name, text in MADE.items():
        yield name, onnx.parser.parse_model(text)
    for path in sorted(HERE.glob("exports/*_mlp/model.onnx")):
        yield path.parent.name, onnx.load(path)


def print_all(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models():
        (folder / f"{name}.onnx.txt").write_text(onnx.printer.to_text(model) + "\n")
        if name in MADE:
            (folder / f"{name}.onnx").write_bytes(model.SerializeToString())


def arrays(tensors):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors}


def comparable(graph):
    """What the text form says of a graph, initializers aside."""
    nodes = []
    for node in graph.node:
        attributes = {}
        for attribute in node.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            if isinstance(value, onnx.GraphProto):
                value = comparable(value)
            elif isinstance(value, onnx.TensorProto):
                value = onnx.numpy_helper.to_array(value).tolist()
            elif isinstance(value, onnx.TypeProto):
                value = value.SerializeToString()
            attributes[attribute.name] = repr(value)
        domain = "" if node.domain == "ai.onnx" else node.domain
        node = (node.op_type, domain, list(node.input), list(node.output), node.name)
        nodes.append((*node, sorted(attributes.items())))
    ends = [(value.name, repr(value.type)) for value in [*graph.input, *graph.output]]
    return nodes, ends


def check(folder, data):
    files = sorted(path for path in folder.glob("*.txt") if not path.name.endswith(".onnx.txt"))
    n_compared = 0
    for path in files:
        try:
            printed = onnx.parser.parse_model(path.read_text())
        except onnx.parser.ParseError as error:
            raise SystemExit(f"{path}: {error}")
        name = path.name.removesuffix(".txt")
        group, _, case = name.partition(".")
        candidates = [
            data / group / case / "model.onnx",
            data / f"{name}.onnx",
            HERE / "exports" / name / "model.onnx",
        ]
        model = onnx.load(next(path for path in candidates if path.exists()))
        if model.functions or model.ir_version < 4 or model.graph.sparse_initializer:
            continue  # these change when they are read
        assert comparable(printed.graph) == comparable(model.graph), path
        found, wanted = arrays(printed.graph.initializer), arrays(model.graph.initializer)
        assert found.keys() == wanted.keys(), path
        for key, array in wanted.items():
            assert array.dtype == found[key].dtype, path
            np.testing.assert_array_equal(array, found[key], err_msg=str(path))
        n_compared += 1
    print(f"{len(files)} texts are read by onnx.parser, {n_compared} are compared and equal")


if __name__ == "__main__":
    if sys.argv[1] == "print":
        print_all(pathlib.Path(sys.argv[2]))
    else:
        check(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
