"""config.yaml: moves with its folder, and changes key by key when a run is resumed."""

import os

import pytest

from minigpt.config import compose_config
from minigpt.errors import UserError
from minigpt.runs.run_config import resolved, resumed_config
from minigpt.runs.run_folder import RunFolder


def saved(folder, *overrides):
    config = compose_config(["name=test", *overrides])
    config.run_dir = str(folder)
    run = RunFolder(folder)
    run.write_config(resolved(config))
    return run


def test_a_saved_run_moves_with_its_folder(tmp_path):
    saved(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    config = resumed_config(RunFolder(tmp_path / "new"), ["optimizer.lr=1e-4"])
    assert config.callbacks.last.run_dir == f"{tmp_path}/new"
    assert config.logger.csv.folder == f"{tmp_path}/new"
    assert config.optimizer.lr == 1e-4
    assert config.model.n_embd == 64


def test_any_key_of_the_runs_own_configuration_can_be_changed(tmp_path):
    run = saved(tmp_path, "callbacks=early_stopping", "data.batch_size=7")
    config = resumed_config(
        run,
        ["callbacks.early_stopping.patience=20", "optimizer.betas=[0.8,0.9]", "++data.stride=2"],
    )
    assert config.callbacks.early_stopping.patience == 20
    assert config.optimizer.betas == [0.8, 0.9]
    assert config.data.stride == 2
    assert config.data.batch_size == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.n_emb=3", "unknown key model.n_emb; did you mean 'model.n_embd'?"),
        ("model=wide", "model=wide: a resumed run keeps its config groups"),
        ("~callbacks.samples", "~callbacks.samples: a resumed run keeps all of its keys"),
        ("seed=1,2", "seed: resume continues one run, not several"),
        ("hydra.run.dir=x", "hydra.run.dir: a resumed run keeps its folder"),
    ],
)
def test_an_override_that_a_resume_cannot_take_is_refused(tmp_path, override, message):
    with pytest.raises(UserError) as refused:
        resumed_config(saved(tmp_path), [override])
    assert str(refused.value).startswith(message)


def test_a_folder_of_runs_is_refused_with_the_command_for_its_newest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    for age, name in enumerate(["b/run", "sweeps/x/0-lr=1,n=2", "c/run"]):
        config = saved(tmp_path / "outputs" / name).config
        os.utime(config, (1e9 - age, 1e9 - age))
    for folder, newest in {"outputs": "b/run", "outputs/sweeps": "sweeps/x/0-lr=1,n=2"}.items():
        with pytest.raises(UserError) as refused:
            resumed_config(RunFolder(tmp_path / folder), [])
        assert str(refused.value) == (
            f"resume={tmp_path}/{folder}: this is not a run folder, it has no config.yaml; the "
            f"newest run below it: python train.py resume=outputs/{newest}"
        )


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="this is not a run folder, it has no config.yaml"):
        resumed_config(RunFolder(tmp_path), [])
