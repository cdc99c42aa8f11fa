"""Other loggers, behind the same config group."""

import pytest
from mlflow.tracking import MlflowClient

from minigpt.errors import UserError
from minigpt.training.known_parts import make_parts
from tests.conftest import run_folders


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_keeps_the_same_figures_in_a_local_store(tiny, type_train, tmp_path):
    # MLflow remembers a relative address by the folder that it was first used in.
    store = f"sqlite:///{tmp_path}/mlflow.db"
    given = ["logger=mlflow", f"logger.mlflow.tracking_uri={store}"]
    typed = type_train(*tiny, *given, "trainer.max_epochs=1")
    assert typed.code == 0, typed.err
    assert run_folders(tmp_path)
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("minigpt")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["val/loss"] > 0
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) > 5


def test_only_the_loggers_asked_for_write(tiny, type_train, tmp_path):
    assert type_train(*tiny, "logger=csv", "trainer.max_epochs=1").code == 0
    (folder,) = run_folders(tmp_path)
    assert (folder / "metrics.csv").exists()
    assert not list(folder.glob("events.*"))
    assert type_train(*tiny, "logger=none", "name=quiet", "trainer.max_epochs=1").code == 0


@pytest.mark.parametrize(("name", "extra"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow")])
def test_a_logger_whose_package_is_missing_says_what_to_install(name, extra, monkeypatch):
    logger = f"lightning.pytorch.loggers.{name}"

    def missing(*_, **__):
        raise ModuleNotFoundError("Requirement not met")

    monkeypatch.setattr(f"{logger}.__init__", missing)
    with pytest.raises(UserError) as error:
        make_parts("logger", {extra: {"_target_": logger}})
    assert str(error.value) == (
        f"logger.{extra} needs the package {extra}, which is not installed: "
        f"pip install 'minigpt[{extra}]'"
    )
