"""Nodes of an ONNX graph, and the layers that several parts of the network are made of.

Shapes: C channels (n_embd), "..." any others.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from minigpt.model.norms import EPSILON
from minigpt.runs.stored_model import Weights


class Nodes:
    """Adds nodes in order; each method returns the name of the value that it makes."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name: str, value: NDArray[Any] | list[int] | float) -> str:
        array = np.asarray(value, np.float32 if isinstance(value, float) else None)
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name].detach().float().numpy())

    def linear(self, x: str, name: str) -> str:
        """(..., in) -> (..., out)."""
        transposed = self.node("Transpose", self.weight(f"{name}.weight"), perm=[1, 0])
        y = self.node("MatMul", x, transposed)
        has_bias = f"{name}.bias" in self.weights
        return self.node("Add", y, self.weight(f"{name}.bias")) if has_bias else y

    def layer_norm(self, x: str, name: str) -> str:
        """(..., C) -> (..., C)."""
        biases = [self.weight(f"{name}.bias")] if f"{name}.bias" in self.weights else []
        scale = self.weight(f"{name}.weight")
        return self.node("LayerNormalization", x, scale, *biases, epsilon=EPSILON)

    def rms_normalised(self, x: str) -> str:
        """(..., C) -> (..., C). ONNX has an operator for it only since opset 23."""
        square = self.node("Mul", x, x)
        mean = self.node("ReduceMean", square, self.constant("last_axis", [-1]))
        root = self.node("Sqrt", self.node("Add", mean, self.constant("epsilon", EPSILON)))
        return self.node("Div", x, root)
