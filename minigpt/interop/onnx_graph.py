"""The network as an ONNX graph, for any batch and any length up to block_size.

Shapes: B batch, T tokens, C channels (n_embd), H heads, D = C / H, V vocabulary. It is written by
hand: the graph of a GPT is short, and an exporter's depends on its version.
"""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from minigpt.interop.gpt2_config import LAYER_NORM_EPSILON
from minigpt.interop.gpt2_weights import position_table
from minigpt.model.block import ACTIVATIONS
from minigpt.model.gpt import GPTConfig
from minigpt.runs.stored_model import Weights

OPSET = 20  # the first with Gelu


class GraphWriter:
    """Adds nodes in order; each method returns the name of the value that it makes."""

    def __init__(self, shape: GPTConfig, weights: Weights) -> None:
        self.shape = shape
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
        biases = [self.weight(f"{name}.bias")] if f"{name}.bias" in self.weights else []
        scale = self.weight(f"{name}.weight")
        return self.node("LayerNormalization", x, scale, *biases, epsilon=LAYER_NORM_EPSILON)

    def embeddings(self, ids: str) -> tuple[str, str]:
        """(B, T) ids -> (B, T, C), and the mask (T, T): -inf for later positions."""
        x = self.node("Gather", self.weight("wte.weight"), ids)
        length = self.node("Shape", ids, start=1, end=2)  # (1)
        if self.shape.positions != "none":
            table = self.constant("positions", self._positions())
            zero = self.constant("zero", [0])
            x = self.node("Add", x, self.node("Slice", table, zero, length, zero))
        square = self.node("Concat", length, length, axis=0)
        minus_infinity = helper.make_tensor("value", TensorProto.FLOAT, [1], [-math.inf])
        full = self.node("ConstantOfShape", square, value=minus_infinity)
        return x, self.node("Trilu", full, self.constant("one", np.array(1)), upper=1)

    def _positions(self) -> NDArray[Any]:
        learned = self.weights.get("wpe.weight")
        table = position_table(self.shape) if learned is None else learned
        return table.detach().float().numpy()

    def attention(self, x: str, mask: str, name: str) -> str:
        """(B, T, C) -> (B, T, C)."""
        H, D = self.shape.n_head, self.shape.n_embd // self.shape.n_head
        heads = self.constant("heads", [0, 0, 3, H, D])  # 0 keeps the size
        qkv = self.node("Reshape", self.linear(x, f"{name}.qkv"), heads)
        qkv = self.node("Transpose", qkv, perm=[2, 0, 3, 1, 4])  # (3, B, H, T, D)
        which = [self.constant(f"part_{i}", np.array(i)) for i in range(3)]
        q, k, v = (self.node("Gather", qkv, i, axis=0) for i in which)
        transposed = self.node("Transpose", k, perm=[0, 1, 3, 2])
        scores = self.node("MatMul", q, transposed)  # (B, H, T, T)
        scaled = self.node("Mul", scores, self.constant("scale", 1 / math.sqrt(D)))
        p = self.node("Softmax", self.node("Add", scaled, mask), axis=-1)
        y = self.node("Transpose", self.node("MatMul", p, v), perm=[0, 2, 1, 3])
        y = self.node("Reshape", y, self.constant("channels", [0, 0, H * D]))
        return self.linear(y, f"{name}.proj")

    def block(self, x: str, mask: str, name: str) -> str:
        """(B, T, C) -> (B, T, C)."""
        attended = self.attention(self.layer_norm(x, f"{name}.ln_1"), mask, f"{name}.attn")
        x = self.node("Add", x, attended)
        y = self.linear(self.layer_norm(x, f"{name}.ln_2"), f"{name}.mlp.fc")
        y = self.node("Gelu", y, approximate=ACTIVATIONS[self.shape.activation])
        return self.node("Add", x, self.linear(y, f"{name}.mlp.proj"))


def onnx_graph(shape: GPTConfig, weights: Weights) -> onnx.ModelProto:
    """input_ids (B, T) of int64 -> logits (B, T, V) of float32."""
    if shape.tie_weights:
        weights = {name: value for name, value in weights.items() if name != "head.weight"}
    graph = GraphWriter(shape, weights)
    x, mask = graph.embeddings("input_ids")
    for i in range(shape.n_layer):
        x = graph.block(x, mask, f"blocks.{i}")
    x = graph.layer_norm(x, "ln_f")
    logits = graph.linear(x, "wte" if shape.tie_weights else "head")
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    out = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, ["batch", "sequence", shape.vocab_size]
    )
    body = helper.make_graph(graph.nodes, "gpt", [ids], [out], list(graph.constants.values()))
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
        producer_name="minigpt",
    )
