"""How a process was started, and what several processes agree on."""

import json
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from omegaconf import OmegaConf

from minigpt.errors import UserError
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.loss_meter import LossMeter, mean
from minigpt.training.processes import (
    SingleCommand,
    count_launched,
    find_environment,
    is_first_process,
    loss_weight,
    sum_over_processes,
    use_launched_processes,
)

LAUNCHERS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID",
             "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_NAME", "SLURM_NTASKS_PER_NODE")  # fmt: skip


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def torchrun(monkeypatch, rank):
    set_all(monkeypatch, TORCHELASTIC_RUN_ID="1", RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2")


def srun(monkeypatch, rank):
    set_all(monkeypatch, SLURM_NTASKS="2", SLURM_NTASKS_PER_NODE="2", SLURM_PROCID=rank)


def test_one_command_starts_its_other_processes_itself():
    environment = find_environment()
    assert isinstance(environment, SingleCommand)
    assert environment.creates_processes_externally  # in Lightning's eyes
    assert count_launched(environment) is None
    assert is_first_process(environment)


@pytest.mark.parametrize(
    ("launched_by", "kind"), [(torchrun, TorchElasticEnvironment), (srun, SLURMEnvironment)]
)
def test_the_first_process_of_a_launcher_is_that_of_global_rank_0(monkeypatch, launched_by, kind):
    for rank, first in (("0", True), ("1", False)):
        launched_by(monkeypatch, rank)
        environment = find_environment()
        assert isinstance(environment, kind)
        assert is_first_process(environment) is first
        assert count_launched(environment) == 2


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
    ],
)
def test_a_process_started_by_hand_is_first_on_the_first_node_only(monkeypatch, variables, first):
    set_all(monkeypatch, **variables)
    environment = find_environment()
    assert isinstance(environment, LightningEnvironment)
    assert is_first_process(environment) is first


def test_slurms_variables_without_srun_are_named(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    with pytest.raises(UserError) as error:
        find_environment()
    assert str(error.value) == (
        "SLURM_NTASKS=4 is set, but srun did not start this process; run `unset SLURM_NTASKS` to "
        "train without SLURM, or start the command with srun"
    )


def test_a_single_task_of_slurm_trains_alone(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert isinstance(find_environment(), SingleCommand)


def test_srun_without_tasks_per_node_is_told_the_option(monkeypatch):
    set_all(monkeypatch, SLURM_NTASKS="2", SLURM_PROCID="0")
    with pytest.raises(UserError, match="use srun --ntasks-per-node=... instead of --ntasks"):
        find_environment()


@pytest.mark.parametrize("devices", [1, 2, "auto", -1, [0, 1]])
def test_the_launcher_decides_the_number_of_devices(monkeypatch, devices):
    torchrun(monkeypatch, "0")
    config = OmegaConf.create({"trainer": {"devices": devices}})
    use_launched_processes(config, find_environment(), is_asked=True)
    assert config.trainer.devices in (2, [0, 1])


def test_the_devices_of_two_nodes_are_half_of_the_processes(monkeypatch):
    torchrun(monkeypatch, "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    config = OmegaConf.create({"trainer": {"devices": 1, "num_nodes": 2}})
    use_launched_processes(config, find_environment(), is_asked=True)
    assert config.trainer.devices == 4


def test_a_resumed_run_takes_the_processes_that_are_there(monkeypatch):
    torchrun(monkeypatch, "0")
    config = OmegaConf.create({"trainer": {"devices": 4}})
    use_launched_processes(config, find_environment(), is_asked=False)
    assert config.trainer.devices == 2


def test_a_number_of_devices_that_the_launcher_did_not_start_is_refused(monkeypatch):
    torchrun(monkeypatch, "0")
    config = OmegaConf.create({"trainer": {"devices": 3}})
    with pytest.raises(UserError, match=r"trainer\.devices=3: the launcher started 2 processes"):
        use_launched_processes(config, find_environment(), is_asked=True)


def test_without_a_launcher_the_devices_are_the_configurations():
    config = OmegaConf.create({"trainer": {"devices": 3}})
    use_launched_processes(config, find_environment(), is_asked=True)
    assert config.trainer.devices == 3


class Strategy:
    """A process of several, as a sum over them sees it; it adds in place, as torch does."""

    root_device = torch.device("cpu")

    def __init__(self, others):
        self.others = others

    def reduce(self, values, reduce_op):
        assert reduce_op == "sum"
        for other in self.others:
            values += torch.tensor(other, dtype=values.dtype)
        return values


def trainer(*others):
    """The trainer of a process, where the others contribute these values to each sum."""
    return SimpleNamespace(
        world_size=1 + len(others), strategy=Strategy(others), is_global_zero=True
    )


def test_asking_for_a_sum_twice_gives_the_same(monkeypatch):
    meter = LossMeter()
    meter.add(torch.tensor([60.0, 20.0]))
    run = trainer([40.0, 30.0])
    for _ in range(3):
        assert mean(sum_over_processes(run, meter.totals)) == 2.0  # (60 + 40) / (20 + 30)
    assert meter.totals.tolist() == [60.0, 20.0]

    metrics = Metrics()
    metrics._step_meter = meter
    assert [metrics.total_tokens(run), metrics.total_tokens(run)] == [50, 50]


@pytest.mark.parametrize(
    ("tokens", "other", "weight"),
    [
        (40.0, 0.0, 2.0),  # all tokens are here: half of twice the gradient
        (0.0, 40.0, 0.0),
        (64.0, 64.0, 1.0),
        (30.0, 10.0, 1.5),
    ],
)
def test_a_loss_weighs_as_many_tokens_as_it_has(tokens, other, weight):
    here = torch.tensor([3.0 * tokens, tokens])
    assert loss_weight(trainer([2.0 * other, other]), here).item() == weight


def test_the_average_gradient_of_two_processes_is_that_of_all_tokens():
    torch.manual_seed(0)
    x, y = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    whole = torch.zeros(3, 3, requires_grad=True)
    torch.nn.functional.cross_entropy(x @ whole, y).backward()
    gradients = []
    for part, other in ((slice(0, 4), 1.0), (slice(4, 5), 4.0)):
        weight = torch.zeros(3, 3, requires_grad=True)
        loss = torch.nn.functional.cross_entropy(x[part] @ weight, y[part])
        totals = torch.stack((loss.detach() * len(y[part]), torch.tensor(float(len(y[part])))))
        (loss * loss_weight(trainer([0.0, other]), totals)).backward()
        gradients.append(weight.grad)
    torch.testing.assert_close((gradients[0] + gradients[1]) / 2, whole.grad)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_in_one_process_is_so_in_all(value):
    assert loss_weight(trainer([value, 8.0]), torch.tensor([16.0, 8.0])).isnan()


def test_a_checkpoints_sums_are_loaded_once_over_all_processes():
    saved = {
        "epoch": [10.0, 4.0],
        "step": [5.0, 2.0],
        "epoch_val_loss": None,
        "best": None,
        "latest": {},
        "unlogged_seconds": 0.0,
        "tokens_seen": 6,
        "train_seconds": 1.0,
    }
    assert json.loads(json.dumps(saved)) == saved  # plain types
    sums = []
    for first in (True, False):
        metrics = Metrics()
        metrics._trainer = SimpleNamespace(is_global_zero=first)
        metrics.load_state_dict(saved)
        # Not None in any process: one that has nothing to add still takes part in the sum.
        sums.append(metrics._epoch_meter.totals + metrics._step_meter.totals)
        assert metrics.tokens_seen == 6
    assert sum(sums).tolist() == [15.0, 6.0]


def test_sums_from_a_checkpoint_move_to_the_device_of_the_next_batch():
    meter = LossMeter()
    meter.load([10.0, 4.0])
    batch = torch.zeros(2, dtype=torch.float64, device="meta")
    meter.add(batch)
    assert meter.totals.device.type == "meta"
    meter.add(batch)
    assert meter.totals.shape == (2,)


def test_sums_from_a_checkpoint_are_reduced_on_the_strategys_device():
    strategy = SimpleNamespace(
        root_device=torch.device("meta"), reduce=lambda values, reduce_op: values
    )
    run = SimpleNamespace(world_size=2, strategy=strategy)
    meter = LossMeter()
    meter.load([10.0, 4.0])
    assert sum_over_processes(run, meter.totals).device.type == "meta"
    assert meter.totals.tolist() == [10.0, 4.0]


def test_lightning_finds_our_environment_and_starts_no_process():
    run = pl.Trainer(
        devices=2,
        accelerator="cpu",
        plugins=[SingleCommand()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    assert run.world_size == 2
    assert run.is_global_zero
    assert run.strategy.launcher.cluster_environment.creates_processes_externally
