"""Writes recurrent.json and recurrent_<cell>.onnx: recurrent networks exported by PyTorch, and the
losses and final weights of 100 steps of Adam in PyTorch. Needs torch, onnx and onnxscript.

Samples and labels are those of trajectory.py, read as sequences of eight steps. Weights are in the
form that the export gives them.
"""

import json
import pathlib
import warnings

import onnx
import onnx.numpy_helper
import torch
from torch import nn

from trajectory import BATCH, CLASSES, STEPS, batch

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).parent


class Network(nn.Module):
    """Two layers both ways and the mean of all steps, or one layer and its last state."""

    def __init__(self, cell: type[nn.Module], hidden: int, both_ways: bool):
        super().__init__()
        layers = 2 if both_ways else 1
        self.cell = cell(8, hidden, layers, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(hidden * (2 if both_ways else 1), CLASSES)
        self.both_ways = both_ways

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, last = self.cell(x)
        if self.both_ways:
            return self.head(states.mean(1))
        last = last[0] if isinstance(last, tuple) else last
        return self.head(last.squeeze(0))


NETWORKS = {
    "gru": lambda: Network(nn.GRU, 32, False),
    "gru_both_ways": lambda: Network(nn.GRU, 7, True),
    "lstm": lambda: Network(nn.LSTM, 32, False),
    "lstm_both_ways": lambda: Network(nn.LSTM, 7, True),
    "rnn": lambda: Network(nn.RNN, 20, False),
}


def exported(model: nn.Module, path: pathlib.Path) -> onnx.ModelProto:
    model.eval()
    axes = {"input": {0: "N"}, "output": {0: "N"}}
    torch.onnx.export(
        model, (torch.zeros(BATCH, 8, 8),), path, dynamo=False, opset_version=17,
        input_names=["input"], output_names=["output"], dynamic_axes=axes,
    )
    return onnx.load(path)


def main() -> None:
    result = {}
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        model = make()
        exported(model, FOLDER / f"recurrent_{name}.onnx")
        model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-3)
        losses = []
        for step in range(STEPS):
            samples, labels = batch(step)
            optimizer.zero_grad()
            scores = model(samples.reshape(BATCH, 8, 8))
            loss = nn.functional.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        after = FOLDER / "after.onnx"
        graph = exported(model, after).graph
        after.unlink()
        trained = {"GRU", "LSTM", "RNN", "Gemm", "MatMul", "Add"}
        read = {name for node in graph.node if node.op_type in trained for name in node.input}
        arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if i.name in read}
        weights = {
            key: [round(value, 9) for value in array.flatten().tolist()]
            for key, array in arrays.items() if array.dtype.kind == "f"
        }
        result[name] = {"losses": losses, "weights": weights}
    (FOLDER / "recurrent.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
