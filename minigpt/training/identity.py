"""What all processes of a run must have alike, compared before the first step."""

import json
import platform
import socket

import lightning.pytorch as pl
import torch
from torch.distributed.distributed_c10d import Store

from minigpt.errors import UserError
from minigpt.training.data_module import TokenDataModule
from minigpt.version import __version__, code_commit

HOST = "host"  # where a process runs, which may differ


def identity(data: TokenDataModule) -> dict[str, str]:
    """The versions, the code and the text that this process trains with, and its host."""
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": pl.__version__,
        "minigpt": f"{__version__} at {code_commit() or 'no commit'}",
        "text": f"{data.store.manifest.fingerprint} in {data.store.folder.name}",
        HOST: socket.gethostname(),
    }


def tell(store: Store, rank: int, mine: dict[str, str]) -> None:
    """Tell the first process what this one has."""
    store.set(f"identity/{rank}", json.dumps(mine))


def check_alike(store: Store, world_size: int, mine: dict[str, str]) -> None:
    """Raises UserError with the first process that has something else, and with what it has."""
    for rank in range(1, world_size):
        other = json.loads(store.get(f"identity/{rank}"))
        different = [name for name in mine if name != HOST and other[name] != mine[name]]
        if different:
            listed = "; ".join(f"{name} {other[name]}, not {mine[name]}" for name in different)
            raise UserError(
                f"process {rank} on {other[HOST]} has other than the first on {mine[HOST]}: "
                f"{listed}; give all of them the same environment and the same files"
            )
