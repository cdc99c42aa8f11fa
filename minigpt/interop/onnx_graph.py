"""The network as an ONNX graph, for any batch and any length up to block_size.

Shapes: B batch, T tokens, C channels (n_embd), H heads, D = C / H, U hidden units, V vocabulary.
It is written by hand: the graph of a GPT is short, and an exporter's depends on its version.
"""

import math
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from minigpt.interop.gpt2_weights import position_table
from minigpt.interop.onnx_nodes import Nodes
from minigpt.model.bigrams import bigram_multiplier
from minigpt.model.config import GPTConfig
from minigpt.model.feed_forward import GELUS
from minigpt.model.rotary import rotation_at
from minigpt.runs.stored_model import Weights

OPSET = 20  # the first with Gelu


class GraphWriter(Nodes):
    """The parts of the network, in the order of its data."""

    def __init__(self, shape: GPTConfig, weights: Weights) -> None:
        super().__init__(weights)
        self.shape = shape
        self.rotation: list[str] = []  # of rotary positions: cosines and sines

    def embeddings(self, ids: str) -> tuple[str, str]:
        """(B, T) ids -> (B, T, C), and the mask (T, T): -inf for later positions."""
        x = self.node("Gather", self.weight("wte.weight"), ids)
        length = self.node("Shape", ids, start=1, end=2)  # (1)
        if self.shape.positions in ("learned", "sinusoidal"):
            x = self.node("Add", x, self._first_rows("positions", self._positions(), length))
        if self.shape.bigram_embeddings:
            x = self.node("Add", x, self._bigrams(ids, self.shape.bigram_embeddings))
        if self.shape.positions == "rotary":
            D = self.shape.n_embd // self.shape.n_head
            tables = rotation_at(torch.arange(self.shape.block_size), D)
            self.rotation = [
                self._first_rows(name, table[:, 0, 0, :, None].numpy(), length)  # (T, D / 2, 1)
                for name, table in tables._asdict().items()
            ]
        square = self.node("Concat", length, length, axis=0)
        minus_infinity = helper.make_tensor("value", TensorProto.FLOAT, [1], [-math.inf])
        full = self.node("ConstantOfShape", square, value=minus_infinity)
        return x, self.node("Trilu", full, self.constant("one", np.array(1)), upper=1)

    def _first_rows(self, name: str, table: NDArray[Any], length: str) -> str:
        zero = self.constant("zero", [0])
        return self.node("Slice", self.constant(name, table), zero, length, zero)

    def _bigrams(self, ids: str, rows: int) -> str:
        """(B, T) ids -> (B, T, C), as BigramEmbedding looks them up."""
        zero, minus_one = self.constant("zero", [0]), self.constant("minus_one", [-1])
        last_axis, one = self.constant("last_axis", [-1]), self.constant("end_of_first", [1])
        first = self.node("Slice", ids, zero, one, last_axis)  # (B, 1)
        nothing = self.constant("nothing", np.array(self.shape.vocab_size))
        no_id = self.node("Add", self.node("Sub", first, first), nothing)
        earlier = self.node("Slice", ids, zero, minus_one, last_axis)  # (B, T - 1)
        previous = self.node("Concat", no_id, earlier, axis=1)
        multiplier = np.array(bigram_multiplier(rows, self.shape.vocab_size))
        hashed = self.node("Mul", previous, self.constant("multiplier", multiplier))
        hashed = self.node("Add", hashed, ids)
        row = self.node("Mod", hashed, self.constant("rows", np.array(rows)))
        return self.node("Gather", self.weight("bigrams.table.weight"), row)

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
        if self.shape.qk_norm:
            q = self.node("Mul", self.rms_normalised(q), self.weight(f"{name}.qk_norm.query_gain"))
            k = self.node("Mul", self.rms_normalised(k), self.weight(f"{name}.qk_norm.key_gain"))
        if self.shape.positions == "rotary":
            q, k = self._turned(q), self._turned(k)
        transposed = self.node("Transpose", k, perm=[0, 1, 3, 2])
        scores = self.node("MatMul", q, transposed)  # (B, H, T, T)
        scaled = self.node("Mul", scores, self.constant("scale", 1 / math.sqrt(D)))
        p = self.node("Softmax", self.node("Add", scaled, mask), axis=-1)
        y = self.node("Transpose", self.node("MatMul", p, v), perm=[0, 2, 1, 3])
        y = self.node("Reshape", y, self.constant("channels", [0, 0, H * D]))
        return self.linear(y, f"{name}.proj")

    def _turned(self, x: str) -> str:
        """(B, H, T, D) -> (B, H, T, D), as rotary positions turn it."""
        D = self.shape.n_embd // self.shape.n_head
        pairs = self.node("Reshape", x, self.constant("pairs", [0, 0, 0, D // 2, 2]))
        first, second = self.node("Split", pairs, outputs=2, axis=-1, num_outputs=2)
        cos, sin = self.rotation

        def product(a: str, b: str) -> str:
            return self.node("Mul", a, b)

        left = self.node("Sub", product(first, cos), product(second, sin))
        right = self.node("Add", product(first, sin), product(second, cos))
        turned = self.node("Concat", left, right, axis=-1)  # (B, H, T, D / 2, 2)
        return self.node("Reshape", turned, self.constant("head_channels", [0, 0, 0, D]))

    def norm(self, x: str, name: str) -> str:
        """(..., C) -> (..., C)."""
        if self.shape.norm == "layer":
            return self.layer_norm(x, name)
        return self.node("Mul", self.rms_normalised(x), self.weight(f"{name}.weight"))

    def activation(self, x: str) -> str:
        """(B, T, U) -> (B, T, U), or from (B, T, 2 U) for swiglu."""
        kind = self.shape.activation
        if kind == "relu2":
            y = self.node("Relu", x)
            return self.node("Mul", y, y)
        if kind == "swiglu":
            gate, up = self.node("Split", x, outputs=2, axis=-1, num_outputs=2)
            silu = self.node("Mul", gate, self.node("Sigmoid", gate))
            return self.node("Mul", silu, up)
        return self.node("Gelu", x, approximate=GELUS[kind])

    def block(self, x: str, embedding: str, mask: str, name: str) -> str:
        """(B, T, C) -> (B, T, C)."""
        if self.shape.embedding_shortcuts:
            shares = self.weights[f"{name}.shortcut.shares"].tolist()
            stream, past = (
                self.node("Mul", value, self.constant(f"{name}.share_{i}", share))
                for i, (value, share) in enumerate(zip((x, embedding), shares, strict=True))
            )
            x = self.node("Add", stream, past)
        attended = self.attention(self.norm(x, f"{name}.ln_1"), mask, f"{name}.attn")
        x = self.node("Add", x, attended)
        y = self.activation(self.linear(self.norm(x, f"{name}.ln_2"), f"{name}.mlp.fc"))
        return self.node("Add", x, self.linear(y, f"{name}.mlp.proj"))

    def capped(self, logits: str) -> str:
        """(B, T, V) -> (B, T, V), under the softcap where there is one."""
        if self.shape.logit_softcap is None:
            return logits
        cap = self.constant("softcap", float(self.shape.logit_softcap))
        return self.node("Mul", self.node("Tanh", self.node("Div", logits, cap)), cap)


def onnx_graph(shape: GPTConfig, weights: Weights) -> onnx.ModelProto:
    """input_ids (B, T) of int64 -> logits (B, T, V) of float32."""
    if shape.tie_weights:
        weights = {name: value for name, value in weights.items() if name != "head.weight"}
    graph = GraphWriter(shape, weights)
    x, mask = graph.embeddings("input_ids")
    embedding = graph.rms_normalised(x) if shape.embedding_shortcuts else x
    for i in range(shape.n_layer):
        x = graph.block(x, embedding, mask, f"blocks.{i}")
    x = graph.norm(x, "ln_f")
    logits = graph.capped(graph.linear(x, "wte" if shape.tie_weights else "head"))
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
