"""A network under μP as the same function under the standard parametrization.

Other projects' formats know neither a multiplier of the hidden states nor another scale of the
attention scores, but both can be weights.
"""

import math
from dataclasses import replace

from minigpt.model.config import GPTConfig
from minigpt.runs.stored_model import Weights


def in_standard_form(shape: GPTConfig, weights: Weights) -> tuple[GPTConfig, Weights]:
    """Shape and weights of the network whose logits are the same up to rounding.

    The final norm takes the multiplier of the hidden states, the queries the scale of the scores.
    """
    if shape.parametrization == "standard":
        return shape, weights
    scaling, folded = shape.scaling, dict(weights)
    query_scale = math.sqrt(scaling.head_width) / scaling.score_divisor
    for name, value in weights.items():
        if name.startswith("ln_f."):
            folded[name] = value * scaling.output_multiplier
        elif name.endswith(".query_gain"):  # of norms of queries, which undo a scale before them
            folded[name] = value * query_scale
        elif ".attn.qkv." in name and not shape.qk_norm:
            folded[name] = value.clone()
            folded[name][: shape.n_embd] *= query_scale  # rows: queries, keys, values
    return replace(shape, parametrization="standard"), folded
