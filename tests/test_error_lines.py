"""What Hydra says in several lines is one line with the way out."""

import tomllib

import pytest
import torch
from hydra.errors import MissingConfigException

from minigpt.error_lines import EXTRAS, explain, one_line_errors
from minigpt.errors import UserError
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("name", "extra"),
    [("hydra/sweeper/optuna", "optuna"), ("hydra/launcher/submitit_slurm", "submitit")],
)
def test_a_plugin_that_is_missing_says_what_to_install(name, extra):
    error = MissingConfigException("Could not find it", name, ["basic"])
    option = "=".join(name.rsplit("/", 1))
    assert explain(error) == (
        f"{option} needs a package that is not installed: pip install 'minigpt[{extra}]'"
    )


def test_a_mistyped_option_of_a_plugin_that_is_there_is_not_taken_for_a_missing_one():
    error = MissingConfigException("No", "hydra/launcher/ray_awz", ["basic", "ray", "ray_aws"])
    assert explain(error) == (
        "hydra/launcher=ray_awz is not one of basic, ray, ray_aws; did you mean 'ray_aws'?"
    )


def test_an_error_that_is_its_own_cause_is_still_one_line():
    first, second = RuntimeError("first"), OSError("second")
    first.__cause__, second.__context__ = second, first
    assert explain(first) == "first"
    second.__cause__ = UserError("the reason")
    assert explain(first) == "the reason"


MEMORY = "there is not enough memory; use a smaller data.batch_size"
DEVICE = "the device is out of memory; trainer.auto_accumulate=true"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1"), MEMORY),
        (RuntimeError("std::bad_alloc"), MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), DEVICE),
        (RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"), DEVICE),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors may come late"), DEVICE),
    ],
)  # fmt: skip
def test_too_little_memory_is_one_line_that_names_the_key(error, message, capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise error
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {message}")
    assert (stop.value.code, printed.count("\n")) == (2, 1)


def test_every_extra_that_is_named_can_be_installed():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert extras["optional-dependencies"].keys() >= {*EXTRAS, "wandb", "mlflow"}
