"""Several processes: how they were started, which is the first, and what they agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from omegaconf import DictConfig
from torch import Tensor

from minigpt.errors import UserError


class SingleCommand(LightningEnvironment):
    """The user typed one command; launcher.py starts the other processes of this machine."""

    @property
    def creates_processes_externally(self) -> bool:
        return True  # Lightning's own launcher would run the user's command line again


def find_environment() -> ClusterEnvironment:
    """How this process was started: by torchrun, srun, another launcher, by hand, or alone.

    Raises UserError where SLURM's variables are set, but not as srun sets them.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and (tasks := int(os.environ["SLURM_NTASKS"])) > 1:
        if "SLURM_PROCID" not in os.environ:
            raise UserError(
                f"SLURM_NTASKS={tasks} is set, but srun did not start this process; run "
                "`unset SLURM_NTASKS` to train without SLURM, or start the command with srun"
            )
        try:
            # minigpt/commands/requeue.py does it, once the whole run is saved.
            return SLURMEnvironment(auto_requeue=False)
        except RuntimeError:
            raise UserError(
                f"srun started {tasks} processes, but SLURM_NTASKS_PER_NODE is not set; use "
                "srun --ntasks-per-node=... instead of --ntasks"
            ) from None
    for launched in (LSFEnvironment, MPIEnvironment):
        if launched.detect():
            return launched()
    # LOCAL_RANK is set in the processes that launcher.py starts, and where a user starts each
    # process by hand.
    return LightningEnvironment() if "LOCAL_RANK" in os.environ else SingleCommand()


def is_first_process(environment: ClusterEnvironment) -> bool:
    """True in the process that owns the run folder; known before there is a trainer."""
    if isinstance(environment, LightningEnvironment):  # it learns its global rank from a trainer
        return environment.node_rank() == 0 and environment.local_rank() == 0
    return environment.global_rank() == 0


def count_launched(environment: ClusterEnvironment) -> int | None:
    """Processes that a launcher started; None where trainer.devices decides."""
    return None if isinstance(environment, LightningEnvironment) else environment.world_size()


def use_launched_processes(
    config: DictConfig, environment: ClusterEnvironment, *, is_asked: bool
) -> None:
    """Set trainer.devices to the number of processes that a launcher started on each node.

    is_asked: False where trainer.devices is only what an earlier start of the run had.
    Raises UserError where trainer.devices asks for another number.
    """
    launched = count_launched(environment)
    if launched is None or launched == 1:
        return
    nodes = config.trainer.get("num_nodes", 1)
    per_node = launched // nodes
    devices = config.trainer.get("devices", "auto")
    asked = devices if isinstance(devices, int | str) else len(devices)
    if str(asked) in ("1", "-1", "auto") or not is_asked:
        config.trainer.devices = per_node
    elif str(asked) != str(per_node) or per_node * nodes != launched:
        raise UserError(
            f"trainer.devices={devices}: the launcher started {launched} processes on {nodes} "
            f"node(s); set trainer.devices={per_node}, or leave it out"
        )


def is_first(trainer: pl.Trainer) -> bool:
    """True in the one process that writes files and prints."""
    return trainer.is_global_zero


def sum_over_processes(trainer: pl.Trainer, values: Tensor) -> Tensor:
    """The elementwise sum of every process's values; every process has to call this.

    `values` itself does not change, so a second call returns the same sum.
    """
    if trainer.world_size == 1:
        return values
    # Values from a checkpoint may still be on the CPU, where NCCL cannot read them.
    values = values.to(trainer.strategy.root_device, copy=True)
    total = trainer.strategy.reduce(values, reduce_op="sum")
    assert isinstance(total, Tensor)
    return total


def agree_on_largest(trainer: pl.Trainer, value: int) -> int:
    """The largest value of all processes; every process has to call this."""
    if trainer.world_size == 1:
        return value
    values = torch.tensor(value)
    torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX, group=_cpu_group())
    return int(values.item())


@contextmanager
def raise_together() -> Iterator[None]:
    """Raise a UserError of the block in any process in all of them; all have to come here.

    Otherwise the others would wait for the one that ended.
    """
    message = ""
    try:
        yield
    except UserError as error:
        message = str(error)
    messages = [message] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(messages, message, group=_cpu_group())
    if any(messages):
        raise UserError(next(filter(None, messages)))


def loss_weight(trainer: pl.Trainer, nats_and_tokens: Tensor) -> Tensor:
    """What a process's mean loss is multiplied by before the backward pass; a scalar.

    The strategy averages the gradients of all processes. With this weight their average is the
    gradient of the mean over all tokens, also where processes have different numbers of tokens.
    NaN if the loss of any process is not finite, so that all of them stop at the same step.
    """
    total_nats, total_tokens = sum_over_processes(trainer, nats_and_tokens)
    weight = nats_and_tokens[1] * trainer.world_size / total_tokens.clamp_min(1)
    return weight + 0 * total_nats


_agreeing: torch.distributed.ProcessGroup | None = None


def _cpu_group() -> torch.distributed.ProcessGroup:
    """A gloo group of all processes, made when it is first needed.

    Over NCCL an agreement would wait for all work of the GPU, at every step.
    """
    global _agreeing
    if _agreeing is None:
        _agreeing = torch.distributed.new_group(backend="gloo")
    return _agreeing


def leave_groups() -> None:
    """Close this process's connections to the others; a later run makes new ones."""
    global _agreeing
    _agreeing = None  # gloo aborts if its group is still referenced when Python exits
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
