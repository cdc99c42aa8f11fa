"""A process of a run that is not the first: it reads no command line and owns no folder.

The first process of a run starts the others as `python -m minigpt.commands.other_process`. Where
torchrun, srun or a user starts all of them with the same command, all but the first come here too.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from minigpt.errors import UserError
from minigpt.lean_imports import without_collection
from minigpt.runs.run_folder import RunFolder
from minigpt.signals import Interrupted, stop_signals

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment

# -P: a module in the current folder must not take the place of one that this needs.
COMMAND = (sys.executable, "-P", "-m", "minigpt.commands.other_process")

# One of these is set in a process that was started with others: by torchrun, srun, jsrun, mpirun
# or by hand. Without one there is no need to wait for torch's import.
LAUNCHED = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK",
            "OMPI_COMM_WORLD_RANK", "PMI_RANK")  # fmt: skip


def main() -> None:
    """Take part in the run of the process that started this one."""
    end_with_parent()
    with without_collection():
        from minigpt.training.processes import find_environment

    take_part(find_environment())


def end_with_parent() -> None:
    """End this process as soon as the one that started it ends, even by SIGKILL."""

    def wait() -> None:
        # Not through sys.stdin, whose lock would block Python's own exit.
        os.read(0, 1)  # returns when the parent's end of the pipe is closed
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def take_part(environment: "ClusterEnvironment") -> None:
    """Wait for the first process, then train with the configuration that it sends."""
    from minigpt.commands.one_run import train
    from minigpt.training.meeting import receive_job, report_failure

    try:
        with stop_signals(), report_failure(environment):
            job = receive_job(environment)
            config = OmegaConf.create(job.config)
            assert isinstance(config, DictConfig)
            train(config, RunFolder(job.run_folder), job.overrides, resume=job.resume)
    except Interrupted as stop:
        raise SystemExit(stop.code) from None  # the first process says that the run stopped


@contextmanager
def run_by_launcher() -> Iterator[None]:
    """Run the block in the first of several processes only; the others take part in its run.

    Raises UserError for a sweep, whose jobs start their processes themselves.
    """
    environment = _launcher_environment()
    if environment is None:
        yield
        return
    from minigpt.training.meeting import release_waiting_processes
    from minigpt.training.processes import count_launched, is_first_process

    if not is_first_process(environment):
        take_part(environment)
        raise SystemExit(0)
    with release_waiting_processes(environment):
        if (count_launched(environment) or 1) > 1 and {"-m", "--multirun"} & {*sys.argv}:
            raise UserError(
                "a sweep starts the processes of its jobs itself; leave the launcher (torchrun, "
                "srun) out and set trainer.devices"
            )
        yield


def _launcher_environment() -> "ClusterEnvironment | None":
    if not any(name in os.environ for name in LAUNCHED):
        return None
    from minigpt.training.processes import find_environment

    return find_environment()


if __name__ == "__main__":
    main()
