"""Writes trajectory.onnx and trajectory.json: a small network exported by PyTorch, and the losses
and final weights of 100 steps of each optimizer in PyTorch. Needs torch, onnx and onnxscript.

Samples and labels are a formula of step and position, so that nothing else has to be stored.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import torch
from torch import nn

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).parent
BATCH, CLASSES, STEPS = 8, 5, 100


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, CLASSES)
    )


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    index = np.arange(BATCH * 64, dtype=np.float64) + step * BATCH * 64
    samples = np.sin(index * 12.9898) * 43758.5453
    samples = (samples - np.floor(samples)).astype(np.float32).reshape(BATCH, 1, 8, 8)
    labels = np.array([(step * BATCH + i) * 7 % 11 % CLASSES for i in range(BATCH)])
    # The class shows in the brightness of one row, so that there is something to learn.
    for i, label in enumerate(labels):
        samples[i, 0, label] += np.float32(0.5)
    return torch.from_numpy(samples), torch.from_numpy(labels)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "clipped": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=2e-3, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=2e-3, weight_decay=1e-2),
}


# The norms of the gradients are 0.17 to 5.7: about half of the steps are clipped.
CLIP_NORMS = {"clipped": 0.5}


def trajectory(make, clip_norm: float | None) -> dict:
    model = network()
    optimizer = make(model.parameters())
    losses = []
    for step in range(STEPS):
        samples, labels = batch(step)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(samples), labels)
        loss.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        losses.append(loss.item())
        assert math.isfinite(losses[-1])
    weights = {name: value.flatten().tolist() for name, value in model.state_dict().items()}
    return {"losses": losses, "weights": weights}


def main() -> None:
    example = (torch.zeros(BATCH, 1, 8, 8),)
    axes = {"input": {0: "N"}, "output": {0: "N"}}
    torch.onnx.export(
        network(), example, FOLDER / "trajectory.onnx", dynamo=False, opset_version=17,
        input_names=["input"], output_names=["output"], dynamic_axes=axes,
    )
    result = {name: trajectory(make, CLIP_NORMS.get(name)) for name, make in OPTIMIZERS.items()}
    (FOLDER / "trajectory.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
