"""The sizes of activations over widths and training steps: the coordinate check of μP.

Under a parametrization that lets settings move from a narrow network to a wide one, a step changes
every kind of activation by an amount that does not depend on the width (Yang et al., 2022, appendix
D.1). Shapes: B batch, T tokens, C channels (n_embd), V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

import torch
from jaxtyping import Int
from torch import Tensor, nn

from minigpt.batches.loader import Batch
from minigpt.model.attention import CausalSelfAttention
from minigpt.model.config import GPTConfig
from minigpt.model.feed_forward import FeedForward
from minigpt.model.gpt import GPT
from minigpt.model.parametrization import PARAMETRIZATIONS
from minigpt.statistics.width_trend import WidthTrend
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.optimizer import OptimizerConfig, make_optimizer
from minigpt.training.schedule import SchedulerConfig

QUANTITIES = ("embedding", "attention", "MLP", "stream", "logits")
FIGURES = ("size at the start", "size at the end", "change")


@dataclass(frozen=True)
class Setting:
    """What the networks of all widths have in common."""

    model: GPTConfig  # its width and parametrization are varied
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    loss: str
    seed: int
    batches: Sequence[Batch]  # one a step
    probe: Int[Tensor, "B T"]  # the tokens whose activations are measured


@dataclass(frozen=True)
class Coordinates:
    """Mean absolute values: quantity -> width -> one after each number of steps."""

    parametrization: str
    sizes: dict[str, dict[int, list[float]]]
    changes: dict[str, dict[int, list[float]]]  # of the difference from the untrained network's

    @property
    def lines(self) -> list[tuple[str, str, WidthTrend]]:
        """(quantity, one of FIGURES, its trend over the widths) for every pair of them."""
        return [
            (quantity, figure, WidthTrend({w: steps[at] for w, steps in by_width.items()}))
            for figure, source, at in zip(
                FIGURES, (self.sizes, self.sizes, self.changes), (0, -1, -1), strict=True
            )
            for quantity, by_width in source.items()
        ]


def coordinates(setting: Setting, widths: Sequence[int]) -> list[Coordinates]:
    """The check under each parametrization, with a step of training for each batch.

    Raises UserError for a width that the network cannot have.
    """
    models = {
        (name, width): replace(setting.model, parametrization=name, n_embd=width)
        for name in PARAMETRIZATIONS
        for width in widths
    }
    checks = []
    for name in PARAMETRIZATIONS:
        check = Coordinates(name, {q: {} for q in QUANTITIES}, {q: {} for q in QUANTITIES})
        for width in widths:
            states = _activations_over_steps(setting, models[name, width])
            first = next(states)
            for state in chain([first], states):
                for quantity, x in state.items():
                    check.sizes[quantity].setdefault(width, []).append(_size(x))
                    change = _size(x - first[quantity])
                    check.changes[quantity].setdefault(width, []).append(change)
        checks.append(check)
    return checks


def _size(x: Tensor) -> float:
    return x.abs().mean().item()


def _activations_over_steps(setting: Setting, model: GPTConfig) -> Iterator[dict[str, Tensor]]:
    """The activations of a new network, then after each step of training without dropout."""
    torch.manual_seed(setting.seed)
    lit = LitGPT(
        model, setting.optimizer, setting.scheduler, {}, {}, setting.loss, 0.0, setting.seed
    ).eval()
    optimizer = make_optimizer(lit.optimizer_config, lit.net, model.scaling)
    yield activations(lit.net, setting.probe)
    for batch in setting.batches:
        lit.loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        yield activations(lit.net, setting.probe)


@torch.no_grad()
def activations(net: GPT, tokens: Int[Tensor, "B T"]) -> dict[str, Tensor]:
    """By quantity: (B, T, C) or, of what every block has, (L, B, T, C); logits are (B, T, V)."""
    outputs: dict[str, list[Tensor]] = {quantity: [] for quantity in QUANTITIES}
    with _watched(net, outputs):
        outputs["logits"].append(net(tokens))
    return {quantity: torch.stack(tensors) for quantity, tensors in outputs.items()}


@contextmanager
def _watched(net: GPT, outputs: dict[str, list[Tensor]]) -> Iterator[None]:
    """Within the block, a pass through the network adds its activations to `outputs`."""

    def keep_input(quantity: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_pre_hook(
            lambda _, inputs: outputs[quantity].append(inputs[0])
        )

    def keep_output(quantity: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, output: outputs[quantity].append(output))

    hooks = [keep_input("embedding", net.blocks[0]), keep_input("stream", net.ln_f)]
    for module in net.modules():
        if isinstance(module, CausalSelfAttention):
            hooks.append(keep_output("attention", module))
        elif isinstance(module, FeedForward):
            hooks.append(keep_output("MLP", module))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
