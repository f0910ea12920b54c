"""Writes node tests as text that `tests/conformance.rs` reads: those of the ONNX package, and some
more whose outputs ONNX Runtime computes, for what the package's tests leave out.

Usage: python conformance.py > ../golden/conformance.txt

Only tests of a single node of the operators below, with types that Sardonyx has and of moderate
size. Made with onnx 1.17.0 and onnxruntime 1.32.0. One line each: `case NAME OPSET OP`, `attr NAME KIND VALUES`,
`in TENSOR`, `out TENSOR`, where a tensor is `TYPE SHAPE VALUES`, lists are separated by commas, an
empty list is `.` and what is left out is `-`.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

OPS = """
ArgMax ArgMin BitShift BitwiseNot Cast CastLike Compress Concat Constant ConstantOfShape CumSum
DepthToSpace DequantizeLinear Einsum Expand EyeLike GRU Gather GatherElements GatherND IsInf IsNaN
LSTM Mod NonZero Not OneHot Pad QuantizeLinear RNN Range Resize ReverseSequence ScatterElements
ScatterND Shape Size Slice SpaceToDepth Split Tile TopK Trilu Unique Where
""".split()
NAMES = {
    "float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int8": "i8",
    "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16",
    "uint32": "u32", "uint64": "u64", "bool": "bool",
}
MAX_ELEMENTS = 600


def join(values):
    return ",".join(str(v) for v in values) or "."


def tensor(array):
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel()]
        return f"string {join(array.shape)} {join(t.hex() or '_' for t in texts)}"
    name = NAMES[array.dtype.name]
    values = array.ravel()
    if array.dtype.kind in "iub":
        values = [int(v) for v in values]
    else:
        values = [repr(float(v)) for v in values.astype(np.float64)]
    return f"{name} {join(array.shape)} {join(values)}"


def proto(value):
    if value.data_type == onnx.TensorProto.BFLOAT16:
        raise KeyError("bfloat16")
    return tensor(numpy_helper.to_array(value))


def attribute(attribute):
    value = helper.get_attribute_value(attribute)
    kind = onnx.AttributeProto.AttributeType.Name(attribute.type).lower()
    if kind in ("int", "float"):
        values = value
    elif kind in ("ints", "floats"):
        values = join(value)
    elif kind == "string":
        values = value.hex() or "_"
    elif kind == "strings":
        values = join(v.hex() or "_" for v in value)
    elif kind == "tensor":
        values = proto(value)
    else:
        raise KeyError(kind)
    return f"attr {attribute.name} {kind} {values}"


def case(test):
    graph = test.model.graph
    (node,) = graph.node
    if node.op_type not in OPS or node.domain:
        return None
    (inputs, outputs), = test.data_sets
    opset = next(o.version for o in test.model.opset_import if not o.domain)
    lines = [f"case {test.name} {opset} {node.op_type}"]
    lines += [attribute(a) for a in node.attribute]
    value = lambda v: proto(v) if isinstance(v, onnx.TensorProto) else tensor(v)
    given = dict(zip((v.name for v in graph.input), inputs))
    wanted = dict(zip((v.name for v in graph.output), outputs))
    if any(np.size(v) > MAX_ELEMENTS for v in [*inputs, *outputs] if not isinstance(v, onnx.TensorProto)):
        return None
    for x in graph.input:
        assert x.type.HasField("tensor_type")
    for kind in [v.type.tensor_type.elem_type for v in [*graph.input, *graph.output]]:
        if kind == onnx.TensorProto.BFLOAT16 or kind > 16:
            return None
    lines += ["in " + (value(given[name]) if name else "-") for name in node.input]
    lines += ["out " + (value(wanted[name]) if name else "-") for name in node.output]
    return "\n".join(lines)


def recurrent_cases(rng):
    t, b, i, h = 4, 3, 2, 3
    f = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)
    for op, gates in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
        for direction, d in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
            inputs = [
                f(t, b, i), f(d, gates * h, i), f(d, gates * h, h), f(d, 2 * gates * h),
                np.array([4, 2, 1], np.int32), f(d, b, h),
            ]
            if op == "LSTM":
                inputs += [f(d, b, h), f(d, 3 * h)]
            outputs = 3 if op == "LSTM" else 2
            attributes = dict(hidden_size=h, direction=direction)
            yield f"ort_{op.lower()}_{direction}", op, attributes, inputs, outputs
            if op == "GRU":
                attributes = dict(attributes, linear_before_reset=1)
                yield f"ort_gru_{direction}_linear", op, attributes, inputs, outputs


def runtime_cases(rng):
    """Name, operator, attributes, inputs and number of outputs."""
    yield from recurrent_cases(rng)
    f = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)
    ints = lambda *values: np.array(values, np.int64)
    for equation, shapes in [
        ("bhid,bhjd->bhij", [(2, 2, 3, 2), (2, 2, 4, 2)]), ("iij->j", [(3, 3, 2)]),
        ("ij,kj,j", [(2, 3), (4, 3), (3,)]), ("a...b,b...->a...", [(2, 3, 4), (4, 3)]),
    ]:
        yield "ort_einsum", "Einsum", dict(equation=equation), [f(*s) for s in shapes], 1
    for mode, pads in [("edge", (2, -1, 0, 3)), ("reflect", (1, 2, 2, 1)), ("constant", (-1, 2, 3, -2))]:
        yield "ort_pad_" + mode, "Pad", dict(mode=mode), [f(3, 4), ints(*pads)], 1
    for reduction in ["add", "mul", "max", "min"]:
        nd = [f(3, 2), ints(0, 2, 0).reshape(3, 1), f(3, 2)]
        yield "ort_scatter_nd_" + reduction, "ScatterND", dict(reduction=reduction), nd, 1
        elements = [f(3, 2), ints(0, 2, 1, 0).reshape(2, 2), f(2, 2)]
        yield "ort_scatter_" + reduction, "ScatterElements", dict(reduction=reduction), elements, 1
    nd = [f(2, 3, 4), ints(2, 0, 1, 1).reshape(2, 2, 1)]
    yield "ort_gather_nd", "GatherND", dict(batch_dims=1), nd, 1
    values = np.array([3, 1, 3, 2, 1, 1, 2, 3], np.float32).reshape(2, 4)
    yield "ort_top_k_ties", "TopK", dict(axis=1, largest=0), [values, ints(3)], 2
    yield "ort_unique_axis", "Unique", dict(axis=1), [values[:, [0, 1, 0, 2]]], 4
    slices = [f(5, 6), ints(-1, 10), ints(-(2**63), 1), ints(0, 1), ints(-2, -3)]
    yield "ort_slice_steps", "Slice", {}, slices, 1
    scale, zero = np.float32([0.013, 0.2]), np.array([3, -7], np.int8)
    quantized = [rng.uniform(-9, 9, (5, 2, 4)).astype(np.float32), scale, zero]
    yield "ort_quantize_axis", "QuantizeLinear", dict(axis=1), quantized, 1
    yield "ort_dequantize_axis", "DequantizeLinear", dict(axis=-1), [np.arange(-4, 4, dtype=np.int8).reshape(4, 2), scale, zero], 1
    for mode in ["nearest", "linear", "cubic"]:
        for coordinates in ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]:
            attributes = dict(mode=mode, coordinate_transformation_mode=coordinates)
            inputs = [f(1, 2, 4, 5), None, None, ints(1, 2, 7, 3)]
            yield f"ort_resize_{mode}_{coordinates}", "Resize", attributes, inputs, 1


def runtime_case(name, op, attributes, inputs, outputs):
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    of = lambda name, x: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    feeds = {n: x for n, x in zip(names, inputs) if n}
    outs = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([node], "case", [of(n, x) for n, x in feeds.items()], outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    lines = [f"case {name} 18 {op}"] + [attribute(a) for a in node.attribute]
    lines += ["in " + ("-" if x is None else tensor(x)) for x in inputs]
    lines += ["out " + tensor(y) for y in session.run(None, feeds)]
    return "\n".join(lines)


def main():
    seen = set()
    for test in sorted(collect_testcases(None), key=lambda t: t.name):
        if len(test.model.graph.node) != 1 or test.name in seen:
            continue
        seen.add(test.name)
        try:
            text = case(test)
        except (KeyError, AssertionError, AttributeError):
            continue
        if text:
            print(text)
    for name, op, attributes, inputs, outputs in runtime_cases(np.random.default_rng(0)):
        print(runtime_case(name, op, attributes, inputs, outputs))


main()
