"""Networks defined and exported by PyTorch, by both of its exporters, and what PyTorch makes of
them: predictions, the losses of some training steps, predictions after those.

    python torch_networks.py FOLDER [CASE...] [--narrow]

Needs torch, onnx, onnxscript and onnxruntime. Every case gives CASE.script.onnx, CASE.dynamo.onnx
and CASE.json. The networks have their papers' widths; with --narrow they are thinner, small enough
to be kept as golden files (`golden/torch`). Samples and labels are a formula of step and position.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

warnings.filterwarnings("ignore")
CLASSES = 10
BATCH = 8


def cnn(w):
    first, second, dense = 32 // w, 64 // w, 128 // w
    return nn.Sequential(
        *[nn.Conv2d(1, first, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(first, second, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(25 * second, dense), nn.ReLU(), nn.Linear(dense, CLASSES)],
    )


def mlp(w):
    hidden = 512 // w
    return nn.Sequential(
        *[nn.Linear(144, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()],
        nn.Linear(hidden, CLASSES),
    )


def conv(inputs, outputs, kernel, stride=1, groups=1):
    padding = kernel // 2
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    """Layers with a way around them."""

    def __init__(self, layers, inputs, outputs, stride):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        is_same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if is_same else nn.Sequential(*conv(inputs, outputs, 1, stride))

    def forward(self, x):
        return functional.relu(self.layers(x) + self.around(x))


def head(inputs):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES)]


def resnet18(w):
    inputs = 64 // w
    layers = [*conv(3, inputs, 3), nn.ReLU()]
    for outputs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        outputs //= w
        block = [*conv(inputs, outputs, 3, stride), nn.ReLU(), *conv(outputs, outputs, 3)]
        layers.append(Residual(block, inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(*layers, *head(inputs))


def resnet50(w):
    inputs = 64 // w
    layers = [*conv(3, inputs, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for middle, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        middle //= w
        for index in range(count):
            stride = stride if index == 0 else 1
            block = [*conv(inputs, middle, 1), nn.ReLU(), *conv(middle, middle, 3, stride)]
            block += [nn.ReLU(), *conv(middle, 4 * middle, 1)]
            layers.append(Residual(block, inputs, 4 * middle, stride))
            inputs = 4 * middle
    return nn.Sequential(*layers, *head(inputs))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        self.has_residual = stride == 1 and inputs == outputs
        layers = [*conv(inputs, hidden, 1), nn.ReLU6()] if expansion != 1 else []
        layers += [*conv(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        self.layers = nn.Sequential(*layers, *conv(hidden, outputs, 1))

    def forward(self, x):
        return x + self.layers(x) if self.has_residual else self.layers(x)


MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2(w):
    inputs = 32 // w
    layers = [*conv(3, inputs, 3, 2), nn.ReLU6()]
    for expansion, outputs, count, stride in MOBILENET:
        outputs //= w
        for index in range(count):
            layers.append(Inverted(inputs, outputs, stride if index == 0 else 1, expansion))
            inputs = outputs
    last = 1280 // w
    return nn.Sequential(*layers, *conv(inputs, last, 1), nn.ReLU6(), *head(last))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        qkv = self.qkv(x).view(batch, steps, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(batch, steps, width))


class Encoder(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.attention = Attention(width, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dense = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x):
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + self.dense(x))


class Transformer(nn.Module):
    def __init__(self, w):
        super().__init__()
        width = 128 // w
        self.first = nn.Linear(16, width)
        self.layers = nn.Sequential(*[Encoder(width, 4, 512 // w) for _ in range(4)])
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(self.layers(self.first(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, cell, w):
        super().__init__()
        self.cell = cell(16, 128 // w, batch_first=True)
        self.head = nn.Linear(128 // w, CLASSES)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.001, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


# Network, by how much it is thinned, shape of a sample, steps, optimizer. Networks with
# fresh normalisation are chaotic, so that their steps are few and small: at ten times the learning
# rate a relative change of ResNet-18's weights by 1e-7 changes the fourth loss by 2e-2 in PyTorch
# itself, and MobileNetV2 is worse.
CASES = {
    "cnn": (cnn, 8, (1, 28, 28), 8, adam),
    "gru": (lambda w: Recurrent(nn.GRU, w), 4, (12, 16), 8, adam),
    "lstm": (lambda w: Recurrent(nn.LSTM, w), 4, (12, 16), 8, adam),
    "mlp": (mlp, 8, (144,), 8, adam),
    "mobilenet_v2": (mobilenet_v2, 8, (3, 64, 64), 2, sgd),
    "resnet18": (resnet18, 16, (3, 16, 16), 4, sgd),
    "resnet50": (resnet50, 32, (3, 64, 64), 0, sgd),
    "transformer": (Transformer, 8, (10, 16), 8, adam),
}


def batch(shape, step):
    """Of the size of a batch; the first step's is what predictions are made of, too."""
    count = BATCH * int(np.prod(shape))
    index = np.arange(count, dtype=np.float64) + step * count
    samples = np.sin(index * 12.9898) * 43758.5453
    samples = (samples - np.floor(samples) - 0.5).astype(np.float32).reshape(BATCH, *shape)
    labels = np.array([(step * BATCH + i) * 7 % 11 % CLASSES for i in range(BATCH)])
    return torch.from_numpy(samples), torch.from_numpy(labels)


def export(model, shape, path, keeps_norm):
    """By both exporters. What is to be trained on keeps its normalisation as nodes; the newer
    exporter's optimizer would fold it into convolutions."""
    names = {"input_names": ["input"], "output_names": ["output"]}
    example = (torch.zeros(2, *shape),)
    torch.onnx.export(
        model, example, f"{path}.script.onnx", dynamo=False, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE, opset_version=17,
        dynamic_axes={name: {0: "batch"} for name in ("input", "output")}, **names,
    )
    program = torch.onnx.export(
        model, example, dynamo=True, optimize=not keeps_norm,
        dynamic_shapes=({0: torch.export.Dim("batch")},), **names,
    )
    proto = program.model_proto
    # Traces name folders of the machine that this runs on.
    for node in proto.graph.node:
        del node.metadata_props[:]
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]:
        del value.metadata_props[:]
    pathlib.Path(f"{path}.dynamo.onnx").write_bytes(proto.SerializeToString())


def predict(path, samples):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [output] = session.run(None, {session.get_inputs()[0].name: samples.numpy()})
    return output


def statistics(model):
    """Running means and variances, to the digits that floats have."""
    buffers = [(n, b) for n, b in model.named_buffers() if n.endswith(("mean", "var"))]
    return {n: [float(f"{value:.7g}") for value in b.tolist()] for n, b in buffers}


def witness(name, folder, is_narrow):
    make, thinner, shape, steps, optimizer = CASES[name]
    torch.manual_seed(3)
    model = make(thinner if is_narrow else 1)
    with torch.no_grad():  # statistics as of a network that was trained before
        for buffer in (b for n, b in model.named_buffers() if n.endswith(("mean", "var"))):
            buffer.add_(torch.rand_like(buffer) * 0.2)
    samples, _ = batch(shape, 0)
    model.eval()
    expected = model(samples).detach().numpy()
    is_normal = lambda module: isinstance(module, nn.BatchNorm2d)
    export(model, shape, folder / name, steps > 0 and any(map(is_normal, model.modules())))
    outputs = [predict(folder / f"{name}.{kind}.onnx", samples) for kind in ("script", "dynamo")]
    for output in outputs:
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
    losses, stepper = [], optimizer(model.parameters())
    model.train()
    for step in range(steps):
        x, y = batch(shape, step)
        stepper.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    model.eval()
    told = {
        "sample": shape,
        "output": outputs[0].flatten().tolist(),
        "losses": losses,
        "trained": model(samples).flatten().tolist(),
        "statistics": statistics(model) if steps else {},
    }
    (folder / f"{name}.json").write_text(json.dumps(told) + "\n")
    for kind in ("script", "dynamo"):
        path = folder / f"{name}.{kind}.onnx"
        operators = {node.op_type for node in onnx.load(path).graph.node}
        print(name, kind, path.stat().st_size, sorted(operators))


def main():
    is_narrow = "--narrow" in sys.argv
    folder, *names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        witness(name, folder, is_narrow)
    print("checked", *(names or CASES))


if __name__ == "__main__":
    main()
