"""The copy of a run at a URL: every state of it is whole, and the run goes on from it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.mirror import LATEST, RunMirror, fetch_run
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.object_store import RemoteFolder
from tests.s3 import bucket
from tests.test_several_processes import losses, only

__all__ = ["bucket"]


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "outputs" / "name" / "stamp")
    run.checkpoints.mkdir(parents=True)
    run.config.write_text("model: {}")
    run.last.write_bytes(b"first")
    return run


def test_a_run_goes_on_from_its_copy_in_a_bucket_to_the_same_bits(
    tiny, type_train, bucket, tmp_path
):
    same = [*tiny, "model.dropout=0.2", "scheduler=none", "trainer.max_epochs=2"]
    assert type_train(*same, "name=whole").code == 0
    typed = type_train(*same, "name=parts", f"mirror={bucket}/runs", "trainer.max_steps=23")
    assert (typed.code, typed.err) == (0, "")
    parts = only(tmp_path / "outputs" / "parts")
    url = f"{bucket}/runs/parts/{parts.name}"
    assert f"copy     {url}" in typed.out
    shutil.rmtree(parts)  # the machine is gone
    typed = type_train(f"resume={url}", "trainer.max_steps=-1")
    assert (typed.code, typed.err) == (0, "")
    whole = only(tmp_path / "outputs" / "whole")
    assert losses(parts) == losses(whole)
    ours, theirs = (
        read_checkpoint(RunFolder(folder).last)["state_dict"] for folder in (parts, whole)
    )
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    # The copy has followed, and this machine knows that it has its newest state.
    assert fetch_run(url, tmp_path / "outputs").path == tmp_path / "outputs" / "parts" / parts.name
    shutil.rmtree(parts)
    fetched = fetch_run(url, tmp_path / "outputs")
    assert fetched.read_summary().steps == 38


def test_a_run_folder_does_not_decide_where_it_is_copied(tiny, type_train, tmp_path):
    there = f"file://{tmp_path}/there"
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", f"mirror={there}"]
    assert type_train(*tiny, *short, "hydra.run.dir=run").code == 0
    shutil.rmtree(tmp_path / "there")
    typed = type_train("resume=run", "trainer.max_epochs=2")
    assert (typed.code, typed.err) == (
        2,
        f"error: {tmp_path}/run/config.yaml: mirror={there} would copy the run there; if it is "
        f"yours, say so again with 'mirror={there}', else with mirror=null\n",
    )
    assert not (tmp_path / "there").exists()
    assert type_train("resume=run", "trainer.max_epochs=2", "mirror=null").code == 0
    assert not (tmp_path / "there").exists()
    assert type_train("resume=run", "trainer.max_epochs=3", f"mirror={there}").code == 0
    assert list((tmp_path / "there").glob("*/run/latest.json"))


def test_a_url_that_cannot_be_written_to_is_told_before_the_run(tiny, type_train, bucket, tmp_path):
    for url, message in (
        (f"{bucket}-nowhere/runs", "is not there; check the bucket and the path"),
        ("gopher://there/runs", "Protocol not known: gopher"),
    ):
        typed = type_train(*tiny, f"mirror={url}")
        assert (typed.code, typed.err.count("\n")) == (2, 1), typed
        assert typed.err.startswith(f"error: {url}/")
        assert message in typed.err
        assert list((tmp_path / "outputs").rglob("*")) == []


def test_a_copy_that_is_stopped_leaves_the_state_before(run, tmp_path, monkeypatch, capsys):
    base = f"file://{tmp_path}/there"
    RunMirror(run, base).update()
    run.last.write_bytes(b"second")

    def stopped(self, name, content):
        raise UserError("the network is gone")

    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "write", stopped)
        mirror = RunMirror(run, base)
        mirror.update()
    assert capsys.readouterr().err == "the run's copy is not up to date: the network is gone\n"
    fetched = fetch_run(f"{base}/name/stamp", tmp_path / "other")
    assert fetched.last.read_bytes() == b"first"
    mirror.update()
    assert capsys.readouterr().err == ""
    shutil.rmtree(tmp_path / "other")
    fetched = fetch_run(f"{base}/name/stamp", tmp_path / "other")
    assert fetched.last.read_bytes() == b"second"
    assert fetched.config.read_text() == "model: {}"
    # What no state names any more is deleted.
    assert len(list((tmp_path / "there/name/stamp/objects").iterdir())) == 2


def test_a_folder_of_another_state_is_not_overwritten(run, tmp_path):
    base = f"file://{tmp_path}/there"
    RunMirror(run, base).update()
    url = f"{base}/name/stamp"
    fetched = fetch_run(url, tmp_path / "other")
    run.last.write_bytes(b"second")
    RunMirror(run, base).update()
    with pytest.raises(UserError, match="is there already and is another state of the run; go on"):
        fetch_run(url, tmp_path / "other")
    assert fetched.last.read_bytes() == b"first"


def test_a_fetch_that_is_stopped_leaves_no_run(run, tmp_path, monkeypatch):
    base = f"file://{tmp_path}/there"
    RunMirror(run, base).update()
    original, calls = RemoteFolder.copy_to, []

    def copy_to(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(RemoteFolder, "copy_to", copy_to)
    with pytest.raises(KeyboardInterrupt):
        fetch_run(f"{base}/name/stamp", tmp_path / "other")
    assert not (tmp_path / "other/name/stamp").exists()
    assert fetch_run(f"{base}/name/stamp", tmp_path / "other").last.read_bytes() == b"first"


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_copy_names_no_file_outside_of_the_folder(run, tmp_path, name):
    base = f"file://{tmp_path}/there"
    RunMirror(run, base).update()
    latest = tmp_path / "there/name/stamp" / LATEST
    content = json.loads(latest.read_text())
    content["files"][name] = content["files"]["config.yaml"]
    latest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="latest.json of the run's copy is damaged"):
        fetch_run(f"{base}/name/stamp", tmp_path / "other")
    assert not list(Path(tmp_path / "other").glob("**/*outside*"))


def test_what_is_no_url_or_no_copy_is_one_line(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "mirror=runs")
    assert (typed.code, typed.err) == (
        2, "error: mirror=runs is not a URL; name one such as s3://bucket/runs\n",
    )  # fmt: skip
    typed = type_train(f"resume=file://{tmp_path}/nothing/here")
    assert typed.code == 2
    assert typed.err.startswith(f"error: file://{tmp_path}/nothing/here/latest.json is not there")
