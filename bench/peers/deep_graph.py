"""A graph of many nodes, to time its planning: deep_graph.py FILE NODES

A deep chain of convolutions with normalization and activation, residual sums, and every so often a
fan of elementwise nodes that is summed up again.
"""

import argparse
import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

CHANNELS = 8
SIDE = 8
FAN = 16


class Network:
    def __init__(self) -> None:
        self.nodes, self.tensors = [], []
        self.random = np.random.RandomState(0)

    def weight(self, *shape: int, scale: float = 0.1, value: float = 0.0) -> str:
        name = f"weight{len(self.tensors)}"
        values = self.random.randn(*shape).astype("f") * scale + value
        self.tensors.append(numpy_helper.from_array(values.astype("f"), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def block(self, x: str) -> str:
        y = self.node("Conv", x, self.weight(CHANNELS, CHANNELS, 3, 3), pads=[1, 1, 1, 1])
        norm = [self.weight(CHANNELS, scale=0, value=value) for value in (1, 0, 0, 1)]
        return self.node("Add", x, self.node("Relu", self.node("BatchNormalization", y, *norm)))

    def fan(self, x: str) -> str:
        """Branches that are independent of each other, and their sum."""
        total = x
        for index in range(FAN):
            branch = self.node(("Sigmoid", "Tanh", "Relu")[index % 3], x)
            branch = self.node("Mul", branch, self.weight(1, CHANNELS, 1, 1))
            total = self.node("Add", total, branch)
        return self.node("Mul", total, self.weight(1, scale=0, value=1 / FAN))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("nodes", type=int)
    args = parser.parse_args()
    network, x, rounds = Network(), "x", 0
    while len(network.nodes) < args.nodes - 3:
        x = network.fan(x) if rounds % 8 == 7 else network.block(x)
        rounds += 1
    x = network.node("Flatten", network.node("GlobalAveragePool", x))
    network.node("Gemm", x, network.weight(CHANNELS, 10))
    network.nodes[-1].output[0] = "y"
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])]
    graph = helper.make_graph(network.nodes, "deep", inputs, outputs, network.tensors)
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), args.file)
    print(json.dumps({"nodes": len(network.nodes)}))


if __name__ == "__main__":
    main()
