"""Rotary positions: queries and keys are turned by angles that grow with the position.

Shapes: B batch, T tokens, H heads, D head width; "..." is T tokens, or B sequences of one token.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

BASE = 10_000.0  # of the wavelengths, as in the paper


class Rotation(NamedTuple):
    """Cosines and sines of the angles, one for each pair of channels."""

    cos: Float[Tensor, "... 1 1 D/2"]
    sin: Float[Tensor, "... 1 1 D/2"]


def rotation_at(positions: Int[Tensor, "..."], head_width: int) -> Rotation:
    """(...) positions -> the angles position * BASE^(-2i / D), i from 0 to D / 2 - 1.

    See Su et al., 2021. The product of a turned query and a turned key depends on how far apart
    they are, not on where they stand.
    """
    even_channels = torch.arange(0, head_width, 2, device=positions.device)
    angles = positions[..., None, None, None] * BASE ** (-even_channels / head_width)
    return Rotation(angles.cos(), angles.sin())


def rotate(qk: Float[Tensor, "B T 2 H D"], rotation: Rotation) -> Float[Tensor, "B T 2 H D"]:
    """(B, T, 2, H, D) queries and keys -> the same shape and dtype, turned.

    Channel i is paired with channel i + D / 2. The paper pairs neighbours, which is the same up to
    the order of the channels.
    """
    first, second = qk.chunk(2, dim=-1)
    cos, sin = rotation
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(qk.dtype)
