"""Exports tiny models of other frameworks, with inputs and the outputs of ONNX Runtime.

    python make_exports.py torch FOLDER     needs torch, onnxscript, onnx, onnxruntime, numpy
    python make_exports.py tf FOLDER        needs tensorflow, tf2onnx, onnx, onnxruntime, numpy

Each case is a folder with model.onnx, input.pb and output.pb (tensors as ONNX messages). The batch is symbolic in the model;
the input has another batch size than the one that the model was exported with.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime


def store(folder, name, model, sample):
    """Writes one case; `sample` is what the model is run on."""
    # Stack traces name folders of the machine that this runs on.
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if "stack_trace" not in entry.key]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.checker.check_model(model)
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.onnx").write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        path / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    [output] = session.run(None, {session.get_inputs()[0].name: sample})
    for kind, array in [("input", sample), ("output", output)]:
        message = onnx.numpy_helper.from_array(array, kind)
        (path / f"{kind}.pb").write_bytes(message.SerializeToString())
    size = (path / "model.onnx").stat().st_size
    assert size < 60_000, size
    print(name, size, output.shape, sorted({node.op_type for node in model.graph.node}))


def stored_output(path):
    message = onnx.TensorProto.FromString((path / "output.pb").read_bytes())
    return onnx.numpy_helper.to_array(message)


def torch_recurrent(cell, both_ways):
    """Two layers over sequences of 6 steps, and a classifier of the mean of their states."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell(8, 12, 2, batch_first=True, bidirectional=both_ways)
            self.head = torch.nn.Linear(24 if both_ways else 12, 5)

        def forward(self, x):
            return self.head(self.cell(x)[0].mean(1))

    return Network()


def torch_cases(folder):
    import torch

    torch.manual_seed(7)
    mlp = torch.nn.Sequential(
        torch.nn.Linear(12, 16),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(16, 5),
        torch.nn.Softmax(dim=1),
    )
    cnn = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=4),
        torch.nn.GELU(),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 3 * 3, 10),
        torch.nn.LogSoftmax(dim=1),
    )
    with torch.no_grad():
        cnn[1].running_mean.uniform_(-0.5, 0.5)
        cnn[1].running_var.uniform_(0.5, 1.5)
        cnn[1].weight.uniform_(0.5, 1.5)
        cnn[1].bias.uniform_(-0.5, 0.5)
    generator = np.random.default_rng(7)
    lstm, gru = torch_recurrent(torch.nn.LSTM, True), torch_recurrent(torch.nn.GRU, False)
    cases = [("mlp", mlp, (12,)), ("cnn", cnn, (1, 14, 14))]
    for name, module, shape in [*cases, ("lstm", lstm, (6, 8)), ("gru", gru, (6, 8))]:
        module.eval()
        example = torch.randn(2, *shape)
        sample = generator.standard_normal((3, *shape)).astype(np.float32)
        expected = module(torch.from_numpy(sample)).detach().numpy()
        script = folder / "script.onnx"
        torch.onnx.export(
            module,
            (example,),
            script,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps BatchNormalization as a node
            do_constant_folding=False,
            opset_version=17,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )
        store(folder, f"torch_script_{name}", onnx.load(script), sample)
        script.unlink()
        batch = torch.export.Dim("batch")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: batch},),
        )
        store(folder, f"torch_dynamo_{name}", program.model_proto, sample)
        for kind in ["script", "dynamo"]:
            output = stored_output(folder / f"torch_{kind}_{name}")
            np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def tf_cases(folder):
    import tensorflow as tf
    import tf2onnx

    tf.keras.utils.set_random_seed(7)
    layers = tf.keras.layers
    mlp = tf.keras.Sequential(
        [
            layers.Input((12,)),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax"),
        ]
    )
    cnn = tf.keras.Sequential(
        [
            layers.Input((14, 14, 1)),
            layers.Conv2D(8, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(3, activation="sigmoid"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    generator = np.random.default_rng(7)
    norm = cnn.layers[1]
    norm.set_weights(
        [generator.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in norm.get_weights()]
    )
    for name, model, shape in [("mlp", mlp, (12,)), ("cnn", cnn, (14, 14, 1))]:
        sample = generator.standard_normal((3, *shape)).astype(np.float32)
        signature = [tf.TensorSpec((None, *shape), tf.float32, name="input")]
        function = tf.function(lambda x, model=model: model(x, training=False))
        proto, _ = tf2onnx.convert.from_function(function, signature, opset=17)
        store(folder, f"tf2onnx_{name}", proto, sample)
        output = stored_output(folder / f"tf2onnx_{name}")
        np.testing.assert_allclose(output, model(sample).numpy(), rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    {"torch": torch_cases, "tf": tf_cases}[kind](folder)
