"""Makes the golden files of this folder: python make.py (needs onnx==1.18.0, numpy).

The files are written by the reference implementation of the format, so that the reader is checked
against it and not against itself. `all_fields.onnx` has every field of the schema filled with a
value of its own; `all_fields.txt` says which field has which.
"""

import pathlib

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor as F
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
TYPED = helper.make_tensor


def raw(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def bits(name, data_type, values):
    """A tensor of 16-bit elements given by their bits, as raw data."""
    data = np.asarray(values, dtype="<u2").tobytes()
    return TYPED(name, data_type, [len(values)], data, raw=True)


def model(graph, **more):
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("local", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=11, **more)
    made.producer_name = "golden"
    made.producer_version = ""
    return made


def write(name, made):
    data = made.SerializeToString(deterministic=True)
    assert len(data) < 20_000, (name, len(data))
    (HERE / name).write_bytes(data)


def value(name, shape=(2,), elem=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, elem, shape)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)


def types():
    """Every element type that Sardonyx computes with, as raw data and in its typed field."""
    ints = {
        "u8": (np.uint8, [0, 1, 255]),
        "i8": (np.int8, [-128, 0, 127]),
        "u16": (np.uint16, [0, 1, 65535]),
        "i16": (np.int16, [-32768, 0, 32767]),
        "i32": (np.int32, [-(2**31), 0, 2**31 - 1]),
        "i64": (np.int64, [-(2**63), 0, 2**63 - 1]),
        "u32": (np.uint32, [0, 1, 2**32 - 1]),
        "u64": (np.uint64, [0, 1, 2**64 - 1]),
        "bool": (np.bool_, [True, False, True]),
        "f32": (np.float32, [-1.5, 0.1, 3e38]),
        "f64": (np.float64, [-1.5, 0.1, 1e300]),
        "f16": (np.float16, [-1.5, 0.1, 65504.0]),
    }
    tensors = []
    for name, (dtype, values) in ints.items():
        array = np.array(values, dtype)
        tensors.append(raw(f"{name}_raw", array))
        data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensors.append(TYPED(f"{name}_typed", data_type, [3], array.tolist()))
    bf16 = TensorProto.BFLOAT16
    tensors.append(bits("bf16_raw", bf16, [0xBFC0, 0x3DCD, 0x7F7F]))
    typed = TensorProto(name="bf16_typed", data_type=bf16, dims=[3])
    typed.int32_data.extend([0xBFC0, 0x3DCD, 0x7F7F])
    tensors.append(typed)
    strings = TensorProto(name="string_typed", data_type=TensorProto.STRING, dims=[3])
    strings.string_data.extend([b"", "é".encode(), b"abc"])
    tensors.append(strings)
    tensors.append(raw("scalar", np.float32(7.0)))
    tensors.append(raw("empty", np.zeros((0, 3), np.float32)))
    tensors.append(TensorProto(name="empty_bare", data_type=TensorProto.INT64, dims=[2, 0]))
    write("types.onnx", model(helper.make_graph([], "types", [], [], tensors)))


def unsupported():
    """Element types that Sardonyx does not compute with: readable, not convertible."""
    tensors = [
        raw("complex64", np.array([1 + 2j, 3], np.complex64)),
        TYPED("complex128", TensorProto.COMPLEX128, [2], [1 + 2j, 3]),
        TYPED("float8e4m3fn", TensorProto.FLOAT8E4M3FN, [3], [0.5, 1.0, 2.0]),
        TYPED("float8e5m2", TensorProto.FLOAT8E5M2, [3], b"\x01\x02\x03", raw=True),
        TYPED("int4", TensorProto.INT4, [3], [-8, 0, 7]),
        TYPED("uint4", TensorProto.UINT4, [3], b"\x21\x03", raw=True),
        TYPED("float4e2m1", TensorProto.FLOAT4E2M1, [3], [0.5, 1.0, 2.0]),
    ]
    write("unsupported.onnx", model(helper.make_graph([], "unsupported", [], [], tensors)))


def refer(tensor, location, offset, length):
    """Replaces the tensor's data by a reference to another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in [("location", location), ("offset", offset), ("length", length)]:
        if text is not None:
            tensor.external_data.add(key=key, value=str(text))
    return tensor


def external():
    """Every place of a model that can hold a tensor, with its data in external.bin."""
    floats = np.arange(8, dtype="<f4")
    ints = np.array([0, 3], dtype="<i8")
    (HERE / "external.bin").write_bytes(floats.tobytes() + ints.tobytes())

    def floats_at(name, start, count):
        tensor = raw(name, floats[start : start + count])
        return refer(tensor, "external.bin", 4 * start, 4 * count)

    def sparse_at(name):
        indices = refer(raw("", ints), "external.bin", 32, 16)
        return helper.make_sparse_tensor(floats_at(name, 2, 2), indices, [2, 2])

    inner = helper.make_graph(
        [node("Identity", ["deep"], ["y"])], "inner", [], [value("y")], [floats_at("deep", 4, 2)]
    )
    nodes = [
        node("Constant", [], ["a"], value=floats_at("attribute", 0, 2)),
        node("Constant", [], ["b"], sparse_value=sparse_at("sparse_attribute")),
        node("If", ["c"], ["d"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "main", [value("c", [], TensorProto.BOOL)], [value("d")])
    graph.initializer.append(floats_at("weight", 0, 8))
    tail = floats_at("to_the_end", 6, 2)
    del tail.external_data[2]
    graph.initializer.append(tail)
    graph.sparse_initializer.append(sparse_at("sparse_weight"))
    default = helper.make_attribute("bias", floats_at("default", 1, 2))
    body = [node("Constant", [], ["k"], value=floats_at("in_function", 3, 2))]
    opsets = [helper.make_opsetid("", 22)]
    function = helper.make_function("local", "F", [], ["k"], body, opsets, [], [default])
    made = model(graph, functions=[function])
    step = helper.make_graph([], "step", [], [], [floats_at("in_training", 5, 2)])
    made.training_info.add().algorithm.CopyFrom(step)
    write("external.onnx", made)


def sparse():
    """Sparse tensors in both forms of indices, as initializers and as an attribute."""
    values = np.array([1.5, -2.5], np.float32)
    linear = helper.make_sparse_tensor(raw("linear", values), raw("", np.array([1, 5])), [2, 3])
    pairs = raw("", np.array([[0, 1], [1, 2]]))
    coordinates = helper.make_sparse_tensor(raw("coordinates", values), pairs, [2, 3])
    empty = helper.make_sparse_tensor(
        raw("nothing", values[:0]), raw("", np.zeros(0, np.int64)), [2, 3]
    )
    nodes = [node("Constant", [], ["y"], sparse_value=linear)]
    graph = helper.make_graph(nodes, "sparse", [], [value("y", [2, 3])])
    graph.sparse_initializer.extend([linear, coordinates, empty])
    write("sparse.onnx", model(graph))


def functions():
    """Functions that call each other, with defaults, overloads and metadata."""
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("local", 1)]
    scale = helper.make_node("LeakyRelu", ["x"], ["y"], name="leaky")
    reference = scale.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT)
    reference.ref_attr_name = "slope"
    default = helper.make_attribute("slope", 0.125)
    leaky = helper.make_function("local", "Leaky", ["x"], ["y"], [scale], opsets, [], [default])
    twice_body = [
        node("Leaky", ["x"], ["t"], domain="local"),
        node("Leaky", ["t"], ["y"], domain="local", slope=0.25),
    ]
    twice = helper.make_function(
        "local", "Twice", ["x"], ["y"], twice_body, opsets, value_info=[value("t")],
        overload="float", doc_string="Leaky, twice.",
    )
    twice.metadata_props.add(key="origin", value="test")
    nodes = [node("Twice", ["x"], ["y"], domain="local", overload="float")]
    graph = helper.make_graph(nodes, "functions", [value("x")], [value("y")])
    write("functions.onnx", model(graph, functions=[leaky, twice]))


def subgraphs():
    """An If inside an If inside a Loop, with initializers at every level."""

    def constant(level, number):
        name = f"c{level}"
        nodes = [node("Identity", [name], [f"r{level}"])]
        tensor = raw(name, np.array([number, -number], np.float32))
        return helper.make_graph(nodes, f"leaf{level}", [], [value(f"r{level}")], [tensor])

    inner = node("If", ["keep"], ["i"], then_branch=constant(0, 1), else_branch=constant(1, 2))
    middle = helper.make_graph([inner], "middle", [], [value("i")])
    outer = node("If", ["keep"], ["o"], then_branch=middle, else_branch=constant(2, 3))
    body = helper.make_graph(
        [node("Identity", ["go"], ["keep"]), outer],
        "body",
        [value("n", [], TensorProto.INT64), value("go", [], TensorProto.BOOL)],
        [value("keep", [], TensorProto.BOOL), value("o")],
    )
    start = [raw("trips", np.int64(3)), raw("true", np.bool_(True))]
    loop = node("Loop", ["trips", "true"], ["y"], body=body)
    write("subgraphs.onnx", model(helper.make_graph([loop], "main", [], [value("y", [3, 2])], start)))


def training():
    """A model with training_info: initial values and one step."""
    weight = raw("w", np.zeros(2, np.float32))
    nodes = [node("Mul", ["x", "w"], ["y"])]
    made = model(helper.make_graph(nodes, "main", [value("x")], [value("y")], [weight]))
    info = made.training_info.add()
    fill = node("Constant", [], ["w0"], value=raw("", np.array([0.5, 0.25], np.float32)))
    info.initialization.CopyFrom(helper.make_graph([fill], "start", [], [value("w0")]))
    step = [node("Sub", ["w", "rate"], ["w_new"])]
    rate = raw("rate", np.array([0.1], np.float32))
    info.algorithm.CopyFrom(helper.make_graph(step, "step", [], [value("w_new")], [rate]))
    info.initialization_binding.add(key="w", value="w0")
    info.update_binding.add(key="w", value="w_new")
    write("training.onnx", made)


class Filler:
    """Fills every field of every message, each with a value that comes nowhere else."""

    def __init__(self):
        self.count = 1000
        self.lines = []
        self.done = set()

    def scalar(self, field):
        """A value, and how the debug form of the Rust struct shows it."""
        self.count += 1
        if field.type == F.TYPE_STRING:
            return f"s{self.count}", f'"s{self.count}"'
        if field.type == F.TYPE_BYTES:
            data = self.count.to_bytes(4, "big")
            return data, str(list(data))
        if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
            return self.count + 0.5, f"{self.count}.5"
        if field.type == F.TYPE_ENUM:
            return field.enum_type.values[-1].number, None
        return self.count, str(self.count)

    def fill(self, message, choice=0):
        """Fills a message; of a oneof, the alternative `choice`. Messages inside are filled the
        first time that their kind is met, later ones have their plain fields only."""
        key = (message.DESCRIPTOR.full_name, choice)
        first = key not in self.done
        self.done.add(key)
        for field in message.DESCRIPTOR.fields:
            group = field.containing_oneof
            if group and group.fields[choice % len(group.fields)] != field:
                continue
            if field.type != F.TYPE_MESSAGE:
                self.plain(message, field)
            elif first and field.is_repeated:
                oneofs = field.message_type.oneofs
                for inner in range(len(oneofs[0].fields) if oneofs else 1):
                    self.fill(getattr(message, field.name).add(), inner)
            elif first:
                self.fill(getattr(message, field.name))

    def plain(self, message, field):
        number, text = self.scalar(field)
        if field.is_repeated:
            getattr(message, field.name).append(number)
            line = f"{field.name}: [{text}]"
        else:
            setattr(message, field.name, number)
            line = f"{field.name}: Some({text})"
        if field.containing_oneof:
            line = f"{field.name.title().replace('_', '')}({text})"
        # Shown by name, and as a byte string: covered by the bytes of the file.
        if text and field.name != "raw_data":
            self.lines.append(line)


def all_fields():
    made = onnx.ModelProto()
    filler = Filler()
    filler.fill(made)
    schema = onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values()
    nested = [inner for message in schema for inner in message.nested_types]
    assert {m.full_name for m in [*schema, *nested]} == {name for name, _ in filler.done}
    (HERE / "all_fields.txt").write_text("\n".join(filler.lines) + "\n")
    write("all_fields.onnx", made)


if __name__ == "__main__":
    types()
    unsupported()
    external()
    sparse()
    functions()
    subgraphs()
    training()
    all_fields()
