"""What Hydra says in several lines is one line with the way out."""

import tomllib

import pytest
from hydra.errors import MissingConfigException

from minigpt.error_lines import EXTRAS, explain
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


def test_every_extra_that_is_named_can_be_installed():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert extras["optional-dependencies"].keys() >= {*EXTRAS, "wandb", "mlflow"}
