"""Writes counts.tsv and outputs.tsv: what PyTorch, torchvision and Keras say of the zoo.

    python reference.py            # needs torch and torchvision
    python reference.py keras      # prints Keras's counts, which counts.tsv holds too

Weights are a formula of the parameter's name and the element's index, which the tests have too,
so that no file of weights is needed.
"""

import math
import sys

import numpy as np


def fnv1a(name):
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def mixed(name, count):
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + fnv1a(name)) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint64(shift)
        x = x * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def unit(name, count):
    return (mixed(name, count) >> np.uint64(8)).astype(np.float64) / 2.0**24 - 0.5


def formula(name, shape):
    u = unit(name, math.prod(shape))
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        u = 1.0 + 0.5 * u
    elif len(shape) == 1:
        u = 0.2 * u
    else:
        u = u * (2.0 * math.sqrt(6.0 / math.prod(shape[1:])))
    return u.astype(np.float32).reshape(shape)


def load(model, names):
    """Fills `model` by the formula. `names` gives the zoo's name of a parameter, the shape it has
    there and how PyTorch's is made of it; parameters not in it have the same name and shape."""
    state = {}
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = value
            continue
        name, shape, convert = names.get(key, (key, tuple(value.shape), lambda array: array))
        array = np.ascontiguousarray(convert(formula(name, shape)))
        state[key] = torch.from_numpy(array).double()
    model.load_state_dict(state)
    return model.double().eval()


def dense_layers(indices):
    """Names of the dense layers of a `Sequential`, as the zoo numbers them."""
    return {
        f"{index}.{part}": f"dense_{number + 1}.{part}"
        for number, index in enumerate(indices)
        for part in ("weight", "bias")
    }


def renamed(model, names):
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    return {key: (name, shapes[key], lambda array: array) for key, name in names.items()}


if sys.argv[1:] == ["keras"]:
    import keras

    def count(layers, shape):
        model = keras.Sequential([keras.Input(shape), *layers])
        return model.count_params()

    k = keras.layers
    cnn = [k.Conv2D(32, 3), k.MaxPooling2D(), k.Conv2D(64, 3), k.MaxPooling2D(), k.Flatten()]
    print("seed-cnn", count([*cnn, k.Dense(128), k.Dense(10)], (28, 28, 1)))
    print("mlp", count([k.Flatten(), k.Dense(512), k.Dense(512), k.Dense(10)], (28, 28)))
    print("mlp-small", count([k.Flatten(), k.Dense(128), k.Dense(10)], (28, 28)))
    for name in ("VGG16", "MobileNetV2"):
        model = getattr(keras.applications, name)(weights=None)
        print(name, sum(math.prod(weight.shape) for weight in model.trainable_weights))
    sys.exit()

import torch
import torch.nn.functional as F
import torchvision
from torch import nn


class BasicBlock(torchvision.models.resnet.BasicBlock):
    pass


def small_resnet(stages, filters, classes, channels):
    """torchvision's residual network with a 3x3 stem and any number of stages."""
    model = torchvision.models.ResNet(BasicBlock, [*stages, 1, 1, 1, 1][:4], num_classes=classes)
    model.conv1 = nn.Conv2d(channels, filters, 3, 1, 1, bias=False)
    model.bn1 = nn.BatchNorm2d(filters)
    model.maxpool = nn.Identity()
    model.inplanes = filters
    for stage in range(4):
        layer = nn.Identity()
        if stage < len(stages):
            stride = 1 if stage == 0 else 2
            layer = model._make_layer(BasicBlock, filters << stage, stages[stage], stride)
        setattr(model, f"layer{stage + 1}", layer)
    model.fc = nn.Linear(filters << (len(stages) - 1), classes)
    return model


def resnet8(shape, classes):
    return small_resnet([1, 1, 1], 32, classes, shape[0]), {}


def resnet18_32(shape, classes):
    return small_resnet([2, 2, 2, 2], 64, classes, shape[0]), {}


def seed_cnn(shape, classes):
    padding = 1 if min(shape[1:]) < 10 else 0
    left = [side if padding else side - 2 for side in shape[1:]]
    left = [side // 2 for side in left]
    left = [(side if padding else side - 2) // 2 for side in left]
    model = nn.Sequential(
        nn.Conv2d(shape[0], 32, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * math.prod(left), 128), nn.ReLU(), nn.Linear(128, classes),
    )
    names = dense_layers([7, 9])
    for number, index in enumerate((0, 3)):
        for part in ("weight", "bias"):
            names[f"{index}.{part}"] = f"conv2d_{number + 1}.{part}"
    return model, renamed(model, names)


def mlp(hidden):
    def build(shape, classes):
        sizes = [math.prod(shape), *hidden]
        layers = [nn.Flatten()]
        for left, right in zip(sizes, sizes[1:]):
            layers += [nn.Linear(left, right), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
        return model, renamed(model, dense_layers(range(1, 2 * len(hidden) + 2, 2)))

    return build


def vision(name):
    def build(shape, classes):
        model = getattr(torchvision.models, name)(num_classes=classes)
        if name.startswith("vgg") and shape[1:] != (224, 224):
            # The zoo's classifier reads what the pools leave, without an adaptive pool.
            model.avgpool = nn.Identity()
            features = 512 * (shape[1] // 32) * (shape[2] // 32)
            model.classifier[0] = nn.Linear(features, 4096)
        return model, {}

    return build


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, steps, width = x.shape
        parts = self.qkv(x).view(n, steps, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(n, steps, width))


class Encoder(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dense1, self.dense2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.dense2(F.relu(self.dense1(x))))


class Transformer(nn.Module):
    def __init__(self, steps, width, classes, vocabulary):
        super().__init__()
        if vocabulary:
            self.embedding = nn.Embedding(vocabulary, width)
            self.position = nn.Parameter(torch.zeros(steps, width))
        self.vocabulary = vocabulary
        self.layers = nn.ModuleList(Encoder(width, 4, 512) for _ in range(4))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        if self.vocabulary:
            x = self.embedding(x) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


def transformer(vocabulary):
    def build(shape, classes):
        width = 128 if vocabulary else shape[1]
        model = Transformer(shape[0], width, classes, vocabulary)
        names = {
            "embedding.weight": ("embedding_1.weight", (vocabulary, width), lambda w: w),
            "position": ("positional_embedding_1.weight", (shape[0], width), lambda w: w),
        }
        own = {"dense1": "dense_1", "dense2": "dense_2", "norm1": "layer_norm_1",
               "norm2": "layer_norm_2", "attention.qkv": "attention.qkv",
               "attention.out": "attention.out"}
        for key, value in model.state_dict().items():
            if not key.startswith("layers."):
                continue
            _, index, *path, part = key.split(".")
            name = f"layer{index}.{own['.'.join(path)]}.{part}"
            # Over sequences the zoo multiplies by [features, units].
            names[key] = (name, tuple(value.shape)[::-1], lambda w: w.T)
        return model, names

    return build


class Recurrent(nn.Module):
    def __init__(self, cell, features, classes):
        super().__init__()
        self.cell, self.head = cell(features, 128, batch_first=True), nn.Linear(128, classes)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


def recurrent(name, cell, order):
    """`order[i]` is where ONNX has the gate that PyTorch has at `i`."""

    def gates(array):
        return np.concatenate([np.split(array, len(order))[at] for at in order])

    def build(shape, classes):
        model, rows = Recurrent(cell, shape[1], classes), 128 * len(order)
        bias = (f"{name}_1.bias", (1, 2 * rows))
        names = {
            "cell.weight_ih_l0": (f"{name}_1.weight", (1, rows, shape[1]), lambda w: gates(w[0])),
            "cell.weight_hh_l0": (f"{name}_1.recurrence", (1, rows, 128), lambda w: gates(w[0])),
            "cell.bias_ih_l0": (*bias, lambda b: gates(b[0, :rows])),
            "cell.bias_hh_l0": (*bias, lambda b: gates(b[0, rows:])),
        }
        for part in ("weight", "bias"):
            shape_of = tuple(getattr(model.head, part).shape)
            names[f"head.{part}"] = (f"dense_1.{part}", shape_of, lambda w: w)
        return model, names

    return build


BUILD = {
    "gru": recurrent("gru", nn.GRU, [1, 0, 2]),
    "lstm": recurrent("lstm", nn.LSTM, [0, 2, 3, 1]),
    "mlp": mlp([512, 512]),
    "mlp-small": mlp([128]),
    "mobilenet-v2": vision("mobilenet_v2"),
    "resnet18": vision("resnet18"),
    "resnet18-32": resnet18_32,
    "resnet50": vision("resnet50"),
    "resnet8": resnet8,
    "rnn": recurrent("rnn", nn.RNN, [0]),
    "seed-cnn": seed_cnn,
    "text-transformer": transformer(0),
    "vgg11": vision("vgg11"),
    "vgg16": vision("vgg16"),
}

COUNTS = [
    ("gru", (64, 64), 10), ("lstm", (64, 64), 10), ("mlp", (1, 28, 28), 10),
    ("mlp-small", (1, 28, 28), 10), ("mobilenet-v2", (3, 224, 224), 1000),
    ("mobilenet-v2", (3, 96, 96), 2), ("resnet18", (3, 224, 224), 1000),
    ("resnet18-32", (3, 32, 32), 10), ("resnet50", (3, 224, 224), 1000),
    ("resnet8", (1, 28, 28), 10), ("resnet8", (3, 32, 32), 10), ("rnn", (64, 64), 10),
    ("seed-cnn", (1, 8, 8), 10), ("seed-cnn", (1, 28, 28), 10), ("seed-cnn", (3, 32, 32), 100),
    ("text-transformer", (64, 128), 10), ("vgg11", (3, 224, 224), 1000),
    ("vgg16", (3, 224, 224), 1000),
]

OUTPUTS = [
    ("gru", (5, 7), 3, 0), ("lstm", (5, 7), 3, 0), ("mlp", (1, 4, 5), 4, 0), ("mlp", (9,), 4, 0),
    ("mlp-small", (3, 3, 5), 4, 0), ("mobilenet-v2", (3, 33, 40), 4, 0),
    ("resnet18", (3, 33, 40), 4, 0), ("resnet18-32", (3, 9, 8), 4, 0),
    ("resnet50", (3, 32, 32), 4, 0), ("resnet8", (1, 9, 11), 4, 0), ("resnet8", (3, 16, 16), 4, 0),
    ("rnn", (5, 7), 3, 0), ("seed-cnn", (1, 8, 8), 10, 0), ("seed-cnn", (2, 12, 15), 5, 0),
    ("text-transformer", (6, 32), 4, 0), ("text-transformer", (6,), 4, 50),
    ("vgg11", (3, 32, 32), 4, 0),
]


def dims(shape):
    return "x".join(map(str, shape))


def main():
    with open("counts.tsv", "w") as file:
        file.write("model\tinput\tclasses\tparameters\n")
        for name, shape, classes in COUNTS:
            model, _ = BUILD[name](shape, classes)
            count = sum(parameter.numel() for parameter in model.parameters())
            file.write(f"{name}\t{dims(shape)}\t{classes}\t{count}\n")
    with open("outputs.tsv", "w") as file:
        file.write("model\tinput\tclasses\tvocabulary\tlogits of a batch of two\n")
        for name, shape, classes, vocabulary in OUTPUTS:
            build = transformer(vocabulary) if vocabulary else BUILD[name]
            model, names = build(shape, classes)
            size = (2, *shape)
            if vocabulary:
                ids = mixed("input", math.prod(size)) % np.uint64(vocabulary)
                x = torch.from_numpy(ids.astype(np.int64).reshape(size))
            else:
                x = (2.0 * unit("input", math.prod(size))).astype(np.float32)
                x = torch.from_numpy(x.reshape(size)).double()
            with torch.no_grad():
                logits = load(model, names)(x).flatten().tolist()
            values = " ".join(f"{value:.9g}" for value in logits)
            file.write(f"{name}\t{dims(shape)}\t{classes}\t{vocabulary}\t{values}\n")


main()
