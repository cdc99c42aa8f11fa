"""Which parameters are trained alike: by one algorithm, at one rate, with one weight decay."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

KINDS = ("matrices", "tables", "head", "vectors")


@dataclass(frozen=True)
class GroupSettings:
    """How a kind of parameter is trained; equal for all parameters of a group."""

    algorithm: str  # adamw or muon
    lr_ratio: float  # its learning rate as a multiple of optimizer.lr
    decays: bool  # whether weight decay covers it
    decay_ratio: float  # its weight decay as a multiple of optimizer.weight_decay


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share their settings, in the network's order."""

    name: str  # their kinds, such as matrices+head
    parameters: list[nn.Parameter]
    settings: GroupSettings


def parameter_kinds(net: nn.Module) -> dict[str, str]:
    """The kind of each trained parameter, by its name: one of KINDS.

    matrices: weights of the blocks' linear layers; tables: what tokens or positions look up, also
    where it is the head as well; head: its weight; vectors: biases, norms, single numbers.
    """
    tables = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding)}
    kinds = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in tables:
            kinds[name] = "tables"
        elif parameter.dim() < 2:
            kinds[name] = "vectors"
        else:
            kinds[name] = "head" if name == "head.weight" else "matrices"
    return kinds


def parameter_groups(
    net: nn.Module, settings_of: Callable[[str], GroupSettings]
) -> list[ParameterGroup]:
    """The fewest groups of parameters with equal settings; the one with the matrices is first.

    settings_of: one of KINDS -> how to train it.
    """
    kinds = parameter_kinds(net)
    members: dict[GroupSettings, list[str]] = {}
    for kind in KINDS:
        if kind in kinds.values():
            members.setdefault(settings_of(kind), []).append(kind)
    return [
        ParameterGroup(
            name="+".join(names),
            parameters=[p for name, p in net.named_parameters() if kinds.get(name) in names],
            settings=settings,
        )
        for settings, names in members.items()
    ]
