"""Rotary positions: queries and keys are turned by angles that grow with the position.

Shapes: B batch, T tokens, H heads, D head width, P = D / 2 pairs; "..." is T tokens, or B sequences
of one token.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

BASE = 10_000.0  # of the wavelengths, as in the paper


class Rotation(NamedTuple):
    """Cosines and sines of the angles, one for each pair of channels."""

    cos: Float[Tensor, "... 1 1 P"]
    sin: Float[Tensor, "... 1 1 P"]


def rotation_at(positions: Int[Tensor, "..."], head_width: int) -> Rotation:
    """(...) positions -> the angles position * BASE^(-2i / D), i from 0 to D / 2 - 1.

    See Su et al., 2021. The product of a turned query and a turned key depends on how far apart
    they are, not on where they stand.
    """
    even_channels = torch.arange(0, head_width, 2, device=positions.device)
    angles = positions[..., None, None, None] * BASE ** (-even_channels / head_width)
    return Rotation(angles.cos(), angles.sin())


def rotate(qk: Float[Tensor, "B T 2 H D"], rotation: Rotation) -> Float[Tensor, "B T 2 H D"]:
    """(B, T, 2, H, D) queries and keys -> the same shape and dtype; neighbouring channels turn."""
    pairs = qk.float().unflatten(-1, (-1, 2))  # (B, T, 2, H, P, 2)
    as_complex = qk.device.type == "cpu" and not torch.compiler.is_compiling()
    turned = _turned_as_complex(pairs, rotation) if as_complex else _turned(pairs, rotation)
    return turned.flatten(-2).to(qk.dtype)


def _turned(
    pairs: Float[Tensor, "B T 2 H P 2"], rotation: Rotation
) -> Float[Tensor, "B T 2 H P 2"]:
    first, second = pairs.unbind(-1)
    cos, sin = rotation
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)


def _turned_as_complex(
    pairs: Float[Tensor, "B T 2 H P 2"], rotation: Rotation
) -> Float[Tensor, "B T 2 H P 2"]:
    # One pass each forward and backward, a quarter of the time; no compiler writes complex code.
    return torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(*rotation))
