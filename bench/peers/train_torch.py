"""Training steps in PyTorch: train_torch.py NETWORK eager|channels-last|compile"""

import torch
from timing import answer, arguments, measure
from torch import nn
from torch.nn import functional as F


def seed_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv(inputs, outputs, 3, stride), nn.ReLU(), *conv(outputs, outputs, 3))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv(inputs, outputs, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def resnet18_32() -> nn.Module:
    layers, width = [*conv(3, 64, 3), nn.ReLU()], 64
    for outputs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(Residual(width, outputs, stride))
        width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [*conv(inputs, hidden, 1), nn.ReLU6()] if expansion != 1 else []
        depthwise = [*conv(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *depthwise, *conv(hidden, outputs, 1))
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.is_residual else self.body(x)


STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2() -> nn.Module:
    layers, width = [*conv(3, 32, 3, 2), nn.ReLU6()], 32
    for expansion, outputs, repeats, stride in STAGES:
        for index in range(repeats):
            layers.append(Inverted(width, outputs, stride if index == 0 else 1, expansion))
            width = outputs
    head = [*conv(width, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, *head, nn.Linear(1280, 1000))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inwards, self.outwards = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        parts = self.inwards(x).view(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*parts)
        return self.outwards(y.transpose(1, 2).reshape(batch, steps, width))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dense = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + self.dense(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[Encoder(128, 4, 512) for _ in range(4)])
        self.head = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer, self.head = kind(64, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0][:, -1])


# Network: how it is made, shape of a sample, optimizer.
NETWORKS = {
    "gru": (lambda: Recurrent(nn.GRU), (64, 64), "adam"),
    "lstm": (lambda: Recurrent(nn.LSTM), (64, 64), "adam"),
    "mlp": (mlp, (1, 28, 28), "adam"),
    "mobilenet-v2": (mobilenet_v2, (3, 224, 224), "sgd"),
    "resnet18-32": (resnet18_32, (3, 32, 32), "sgd"),
    "seed-cnn": (seed_cnn, (1, 28, 28), "adam"),
    "text-transformer": (Transformer, (64, 128), "adam"),
}


def main() -> None:
    args = arguments("network", "mode")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    make, shape, optimizer_name = NETWORKS[args.network]
    model, x = make(), torch.randn(args.batch, *shape)
    y = torch.randint(0, 10, (args.batch,))
    if args.mode == "channels-last":
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    if optimizer_name == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    is_compiled = args.mode == "compile"
    forward = torch.compile(model) if is_compiled else model
    update = torch.compile(optimizer.step) if is_compiled else optimizer.step

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        update()
        return loss.item()

    times = measure(step, args.seconds)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    answer(**times, parameters=parameters, version=torch.__version__)


if __name__ == "__main__":
    main()
