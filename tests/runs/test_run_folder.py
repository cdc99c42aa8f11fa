"""A run's folder: who holds it, what is in it, and what is not ours."""

import json
import subprocess
import sys

import pytest

from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder, find_run_folders, run_of
from minigpt.runs.summary import Epoch, Status, Summary

CONFIG = {"name": "test", "model": {}, "data": {}, "optimizer": {"lr": 1e-3}, "trainer": {}}


def test_config_and_summary_are_read_as_they_were_written(tmp_path):
    run = RunFolder(tmp_path)
    run.write_config(CONFIG)
    assert run.read_config() == CONFIG
    epoch = Epoch(epoch=1, step=3, train_loss=2.5, train_perplexity=12.18, seconds=0.5)
    summary = Summary(status=Status.FINISHED, steps=3, epochs=[epoch])
    run.write_summary(summary)
    assert run.read_summary() == summary
    assert run.read_summary().final == epoch
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "summary.json"]


def test_an_infinite_perplexity_is_written_as_null(tmp_path):
    run = RunFolder(tmp_path)
    epoch = Epoch(epoch=1, step=3, train_loss=800, train_perplexity=float("inf"), seconds=0.5)
    run.write_summary(Summary(status=Status.RUNNING, epochs=[epoch]))
    assert json.loads(run.summary.read_text())["epochs"][0]["train_perplexity"] is None
    assert run.read_summary().epochs[0].train_perplexity is None


def test_a_claimed_folder_is_refused_to_another_process(tmp_path):
    run = RunFolder(tmp_path / "run")
    code = (
        "import sys\n"
        "from minigpt.errors import UserError\n"
        "from minigpt.runs.run_folder import RunFolder\n"
        "try:\n"
        "    with RunFolder(sys.argv[1]).claim(): print('claimed')\n"
        "except UserError as error: print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(run.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with run.claim():
        assert "is in use by another process; wait until it ends" in other()
    assert other() == "claimed\n"


def test_the_claim_of_a_process_that_died_does_not_count(tmp_path):
    run = RunFolder(tmp_path)
    run.write_summary(Summary(status=Status.RUNNING, steps=7))
    code = (
        "import os, signal, sys\n"
        "from minigpt.runs.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).claim():\n"
        "    print('claimed', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "claimed\n"
        assert run.is_claimed
        assert run.read_summary().status is Status.RUNNING
        owner.kill()
    assert not run.is_claimed
    assert run.read_summary().status is Status.KILLED
    with run.claim():
        assert run.read_summary().status is Status.RUNNING


def test_nothing_is_left_of_a_start_that_wrote_nothing(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.claim():
        assert run.is_empty
    run.remove_if_empty()
    assert not run.path.exists()
    kept = RunFolder(tmp_path / "kept")
    kept.write_config(CONFIG)
    kept.remove_if_empty()
    assert kept.has_run


def test_an_empty_configuration_is_not_a_run(tmp_path):
    run = RunFolder(tmp_path)
    run.config.touch()
    assert not run.has_run
    with pytest.raises(UserError, match="config.yaml is not the configuration of a minigpt run"):
        run.read_config()


@pytest.mark.parametrize("content", ["a: [1", "[1, 2]", "hydra: {job: {name: other}}\n", "\x00"])
def test_a_configuration_that_is_not_ours_is_refused(tmp_path, content):
    run = RunFolder(tmp_path)
    run.config.write_text(content)
    with pytest.raises(UserError, match="config.yaml (is not the config|cannot be read)"):
        run.read_config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read (JSONDecodeError)"),
        ("[" * 100_000, "cannot be read (ValueError)"),
        ('{"status": "finished", "steps": 1e999}', "steps: Input should be a finite number"),
        ("[]", "its content: "),
        ('{"status": "well"}', "status: Input should be 'running'"),
        ('{"status": "finished", "steps": "many"}', "steps: Input should be a valid integer"),
        ('{"status": "finished", "epochs": [{"epoch": 1}]}', "epochs.0.step: Field required"),
    ],
)
def test_a_damaged_summary_names_its_wrong_key(tmp_path, content, message):
    run = RunFolder(tmp_path)
    run.summary.write_text(content)
    with pytest.raises(UserError) as error:
        run.read_summary()
    assert message in str(error.value)
    assert "summary.json" in str(error.value)


def test_runs_are_found_and_other_programs_files_left_out(tmp_path):
    for name in ("a", "b/c"):
        RunFolder(tmp_path / name).write_config(CONFIG)
    (tmp_path / "a/logger").mkdir()
    RunFolder(tmp_path / "a/logger").write_config(CONFIG)  # inside a run: a logger's copy
    (tmp_path / "other/.hydra").mkdir(parents=True)
    (tmp_path / "other/.hydra/config.yaml").write_text("db: {user: me}\n")
    found = {run.path.relative_to(tmp_path).as_posix() for run in find_run_folders(tmp_path)}
    assert found == {"a", "b/c"}


def test_a_path_stands_for_the_run_that_it_lies_in(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    assert run_of(run.path) is run_of(run.best) is None  # no configuration: an imported model
    run.config.write_text("model: {}")
    assert run_of(run.path).path == run_of(run.best).path == run.path
    assert run_of(run.path / "elsewhere" / "best.ckpt") is None
    assert run_of(tmp_path / "best.ckpt") is None


def test_a_folder_with_only_a_lock_and_a_half_written_file_is_empty(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.claim():
        (run.path / ".config.yaml.partial").write_text("mod")
    assert (run.has_run, run.is_empty) == (False, True)
    (run.path / "notes.txt").touch()
    assert (run.is_empty, run.is_only_run) == (False, False)
    (run.path / "notes.txt").unlink()
    run.remove_if_empty()
    assert not run.path.exists()
