"""Whole runs, as a user types them."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from minigpt.training.lit_gpt import LitGPT
from tests.conftest import REPOSITORY, run_folders

EXACT = ["loss=dense", "trainer.precision=32-true"]  # the same on every processor
DROPOUT = ["model.dropout=0.2", "model.embd_dropout=0.2"]


def rows(folder):
    return read_metrics(RunFolder(folder).metrics)


def losses(folder):
    return [(row["step"], row["train/loss"]) for row in rows(folder) if "train/loss" in row]


def weights(folder, which="last"):
    return read_checkpoint(folder / "checkpoints" / f"{which}.ckpt")["state_dict"]


def same_weights(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_run_leaves_a_whole_record(tiny, type_train, tmp_path):
    typed = type_train(*tiny)
    assert (typed.code, typed.err) == (0, "")
    (folder,) = run_folders(tmp_path)
    assert folder.parent == tmp_path / "outputs" / "files-1x16"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}

    found = summary(folder)
    assert found["status"] == "finished"
    assert found["parameters"] == sum(value.numel() for value in weights(folder).values())
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2]
    assert found["steps"] == 2 * found["batches_per_epoch"]
    assert found["best"]["val_loss"] == min(epoch["val_loss"] for epoch in found["epochs"])
    for epoch in found["epochs"]:
        assert epoch["train_perplexity"] == pytest.approx(math.exp(epoch["train_loss"]))
    assert found["tokens_seen"] == 2 * (found["data"]["tokens"]["train"] - 1)
    assert found["test"]["loss"] > 0
    for key in ("tokens_per_second", "wall_seconds", "peak_memory_bytes"):
        assert found[key] > 0
    assert found["versions"]["torch"] == torch.__version__
    assert found["command"].startswith("python train.py data=files")
    assert found["tokenizer"]["name"] == "char"
    assert len(found["data"]["fingerprint"]) == len(found["tokenizer"]["fingerprint"]) == 64
    assert "held-out" in typed.out
    assert f"tensorboard --logdir outputs/{folder.parent.name}" in typed.out


def test_the_epoch_loss_is_the_mean_over_tokens(tiny, type_train, tmp_path):
    # A learning rate of almost nothing: the model stays as it was, so one pass is the mean.
    type_train(*tiny, *EXACT, "optimizer.lr=1e-12", "trainer.max_epochs=1", "model.dropout=0")
    (folder,) = run_folders(tmp_path)
    found = summary(folder)["epochs"][0]["train_loss"]
    per_batch = [loss for _, loss in losses(folder)]
    # 103 or so blocks: the last batch has fewer tokens, so the mean over batches is another.
    from minigpt.runs.run_config import resumed_config
    from minigpt.training.build import build_run

    run = build_run(resumed_config(RunFolder(folder), []))
    run.lit.eval()
    nats = tokens = 0.0
    for batch in run.data.train_dataloader():
        count = int((batch[1] != -100).sum())
        nats += run.lit.loss(batch).item() * count
        tokens += count
    assert found == pytest.approx(nats / tokens, abs=1e-5)
    assert found != pytest.approx(sum(per_batch) / len(per_batch), abs=1e-7)


def test_a_short_run_follows_its_recorded_curve(tiny, type_train, tmp_path):
    type_train(*tiny, *DROPOUT, *EXACT, "optimizer.lr=1e-2")
    (folder,) = run_folders(tmp_path)
    found = [epoch["train_loss"] for epoch in summary(folder)["epochs"]]
    assert found == pytest.approx(RECORDED, rel=1e-3)


RECORDED = [2.67511, 1.76718]  # with torch 2.13


def test_every_loss_path_follows_the_same_curve(tiny, type_train, tmp_path):
    for method in ("dense", "chunked", "float32", "bfloat16"):
        type_train(*tiny, f"loss={method}", f"name={method}", "optimizer.lr=1e-2")
    curves = [
        [epoch["train_loss"] for epoch in summary(folder)["epochs"]]
        for folder in run_folders(tmp_path)
    ]
    assert len(curves) == 4
    for curve in curves:
        assert curve == pytest.approx(curves[0], rel=0.01)


def test_one_batch_can_be_learned_by_heart(tiny, type_train, tmp_path):
    type_train(
        *tiny,
        "model.n_embd=64",
        "model.dropout=0",
        "data.batch_size=8",
        "data.shuffle=false",
        "trainer.limit_train_batches=1",
        "trainer.max_epochs=150",
        "trainer.val_check_interval=1.0",
        "+trainer.check_val_every_n_epoch=150",
        "optimizer.lr=1e-2",
        "optimizer.weight_decay=0",
        "scheduler=none",
        "~callbacks.last",
    )
    (folder,) = run_folders(tmp_path)
    # What is left is the first character of each block, which has nothing before it to go by.
    assert summary(folder)["epochs"][-1]["train_loss"] < 0.5
    assert summary(folder)["epochs"][0]["train_loss"] > 3


def test_a_job_of_a_multirun_equals_the_same_job_alone(tiny, type_train, tmp_path):
    assert type_train(*tiny, *DROPOUT, "name=alone", "seed=2").code == 0
    assert type_train("-m", *tiny, *DROPOUT, "name=sweep", "seed=1,2").code == 0
    (alone,) = (tmp_path / "outputs" / "alone").iterdir()
    first, second = sorted((tmp_path / "outputs" / "sweeps").glob("*/[0-9]*"))
    assert losses(second) == losses(alone) != losses(first)
    assert same_weights(weights(second), weights(alone))


def test_accumulated_batches_are_one_step(tiny, type_train, tmp_path):
    type_train(*tiny, "trainer.accumulate_grad_batches=4", "trainer.max_epochs=1")
    (folder,) = run_folders(tmp_path)
    found = summary(folder)
    assert found["steps"] == math.ceil(found["batches_per_epoch"] / 4)


def test_a_loss_that_is_no_number_stops_before_the_step(tiny, type_train, tmp_path, monkeypatch):
    loss = LitGPT.loss

    def breaking(self, batch, *smoothing):
        broken = self.training and self.global_step == 3
        return loss(self, batch, *smoothing) * (float("nan") if broken else 1)

    monkeypatch.setattr(LitGPT, "loss", breaking)
    typed = type_train(*tiny)
    assert typed.code == 2
    assert typed.err.startswith("error: the loss is nan at step 3 (epoch 1), so training stopped")
    assert typed.err.count("\n") == 1
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["status"] == "diverged"
    assert "the loss is nan" in summary(folder)["reason"]
    assert summary(folder)["steps"] == 3


def test_where_reading_a_loss_waits_it_is_read_when_logged_and_before_anything_is_saved(
    tiny, type_train, tmp_path, monkeypatch
):
    loss = LitGPT.loss

    def breaking(self, batch, *smoothing):
        broken = self.training and self.global_step >= 3
        return loss(self, batch, *smoothing) * (float("nan") if broken else 1)

    monkeypatch.setattr(LitGPT, "loss", breaking)
    monkeypatch.setattr("minigpt.training.callbacks.finite_watch.scalar_read_syncs", lambda _: True)
    monkeypatch.setattr("minigpt.training.lit_gpt.scalar_read_syncs", lambda _: True)
    typed = type_train(*tiny, "trainer.log_every_n_steps=5", "name=logged")
    assert typed.code == 2
    assert typed.err.startswith("error: the loss is nan at step 5 (epoch 1), so training stopped")
    typed = type_train(*tiny, "trainer.log_every_n_steps=1000", "name=saved")
    assert typed.code == 2
    assert (
        "the loss since the last log is nan at step 19 (epoch 1), so nothing was validated"
        in typed.err
    )
    typed = type_train(*tiny, "trainer.log_every_n_steps=1000", "trainer.limit_val_batches=0")
    assert (
        "the loss since the last log is nan at step 19 (epoch 1), so nothing was saved" in typed.err
    )
    assert not list((tmp_path / "outputs").rglob("*.ckpt"))


def test_the_reference_trains_as_the_fast_way_does(tiny, type_train, tmp_path):
    for name in ("default", "reference"):
        typed = type_train(*tiny, f"trainer={name}", "trainer.max_epochs=2", f"name={name}",
                           "trainer.accelerator=cpu", "model.dropout=0.2")  # fmt: skip
        assert typed.code == 0, typed.err
    fast, plain = (next((tmp_path / "outputs" / n).iterdir()) for n in ("default", "reference"))
    config = OmegaConf.load(plain / "config.yaml")
    assert config["loss"] == "dense"
    assert config["optimizer"]["fused"] is config["trainer"]["keep_freed_memory"] is False
    assert config["trainer"]["precision"] == "32-true"
    assert summary(plain)["loss"] == "dense"
    for ours, reference in zip(summary(fast)["epochs"], summary(plain)["epochs"], strict=True):
        assert ours["train_loss"] == pytest.approx(reference["train_loss"], rel=0.005)


def test_smoothing_is_of_the_training_loss_alone(tiny, type_train, tmp_path):
    for smoothing in (0.0, 0.2):
        type_train(*tiny, f"label_smoothing={smoothing}", f"name=s{smoothing}",
                   "trainer.max_epochs=1", "optimizer.lr=1e-9")  # fmt: skip
    plain, smooth = (summary(next((tmp_path / "outputs" / f"s{s}").iterdir())) for s in (0.0, 0.2))
    assert smooth["best"]["val_loss"] == pytest.approx(plain["best"]["val_loss"], abs=1e-6)
    assert smooth["epochs"][-1]["train_loss"] != plain["epochs"][-1]["train_loss"]


@pytest.mark.parametrize("value", ["1.0", "-0.1", "much"])
def test_a_smoothing_out_of_range_is_refused(tiny, type_train, value):
    typed = type_train(*tiny, f"label_smoothing={value}")
    assert typed.code == 2
    assert "label_smoothing must lie in [0, 1), got" in typed.err


def test_tensorboard_reads_scalars_samples_and_hparams(tiny, type_train, tmp_path):
    type_train(*tiny, "name=board")
    (folder,) = run_folders(tmp_path)
    events = EventAccumulator(str(folder)).Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars >= {
        "train/loss", "train/perplexity", "train/loss_epoch", "val/loss", "val/perplexity",
        "lr", "grad_norm", "tokens_per_second", "hp/val_loss",
    }  # fmt: skip
    assert events.Scalars("hp/val_loss")[-1].value == pytest.approx(
        summary(folder)["best"]["val_loss"], rel=1e-5
    )
    assert "sample/text_summary" in events.Tags()["tensors"]
    assert [e.step for e in events.Scalars("val/loss")] == [
        epoch["step"] for epoch in summary(folder)["epochs"]
    ]
    hparams = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    for key in (b"optimizer.lr", b"model.n_embd", b"data.batch_size", b"seed"):
        assert key in hparams
    assert b"callbacks" not in hparams


def test_learning_rate_and_perplexity_in_the_table_are_those_of_the_step(
    tiny, type_train, tmp_path
):
    type_train(*tiny, "scheduler=warmup_cosine", "scheduler.warmup_steps=4", "optimizer.lr=1e-3")
    (folder,) = run_folders(tmp_path)
    found = [row for row in rows(folder) if "lr" in row]
    assert [float(row["lr"]) for row in found[:4]] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])
    assert float(found[-1]["lr"]) == pytest.approx(1e-4)
    for row in found:
        loss = float(row["train/loss"])
        assert float(row["train/perplexity"]) == pytest.approx(math.exp(loss))
        assert float(row["grad_norm"]) > 0


def test_a_store_alone_trains_as_its_text_did(tiny, type_train, tmp_path):
    type_train(*tiny, "name=text")
    (store,) = (path.parent for path in (tmp_path / "tokens").glob("*/manifest.json"))
    given = [arg for arg in tiny if not arg.startswith(("data=", "data.files", "data.root"))]
    typed = type_train(*given, "data=store", f"data.files=[{store}]", "name=store")
    assert typed.code == 0, typed.err
    text, alone = (next((tmp_path / "outputs" / name).iterdir()) for name in ("text", "store"))
    assert losses(alone) == losses(text) != []
    assert not (tmp_path / "outputs" / "tokens").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("[]", "data.files=[]: source store needs the folder of one token store"),
        ("[a,b]", "data.files=['a', 'b']: source store needs the folder of one token store"),
        ("[nowhere]", "nowhere/manifest.json is missing or broken"),
    ],
)
def test_a_store_that_is_none_is_refused(tiny, type_train, files, message):
    typed = type_train(*tiny, "data=store", f"data.files={files}")
    assert typed.code == 2
    assert message in typed.err


def test_early_stopping_is_a_group_and_off_by_default(tiny, type_train, tmp_path):
    long = [*tiny, "trainer.max_epochs=12", "optimizer.lr=0.03", "scheduler=none"]
    type_train(*long, "callbacks=early_stopping", "callbacks.early_stopping.patience=1",
               "callbacks.samples.new_tokens=4", "callbacks.samples.prompt_tokens=2")  # fmt: skip
    (folder,) = run_folders(tmp_path)
    epochs = [epoch["val_loss"] for epoch in summary(folder)["epochs"]]
    assert len(epochs) < 12
    assert epochs[-1] > min(epochs)


def test_a_sweep_cannot_be_a_resume(tiny, type_train):
    typed = type_train("-m", "resume=somewhere", "seed=1,2")
    assert (typed.code, typed.err) == (
        2,
        "error: resume continues one run and takes key=value only; leave out -m\n",
    )


def test_a_callback_can_be_left_out(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1", "~callbacks.best").code == 0
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["status"] == "finished"


MODERN = [
    "model.positions=rotary", "model.norm=rms", "model.activation=swiglu", "model.qk_norm=true",
    "model.zero_init=true", "model.logit_softcap=15", "model.bigram_embeddings=64",
    "model.embedding_shortcuts=true",
]  # fmt: skip


def test_a_run_with_every_modern_part_is_checked_trained_and_generated_from(
    tiny, type_train, type_minigpt, tmp_path
):
    checked = json.loads(type_minigpt("check", *tiny, *MODERN, "--json").out)
    assert checked["parameters_by_part"]["bigram embedding"] == 64 * 16
    assert type_train(*tiny, *MODERN).code == 0
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["parameters"] == checked["parameters"]
    first, *_, last = [epoch["train_loss"] for epoch in summary(folder)["epochs"]]
    assert last < first
    typed = type_minigpt("generate", str(folder), "--prompt", "the", "--greedy")
    assert (typed.code, typed.err) == (0, "")


def test_a_softcap_and_smoothed_targets_are_refused_by_key(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "model.logit_softcap=15", "label_smoothing=0.1")
    assert (typed.code, typed.err) == (
        2,
        "error: label_smoothing=0.1 does not go with model.logit_softcap; set label_smoothing=0 or "
        "model.logit_softcap=null\n",
    )
    assert run_folders(tmp_path) == []


def test_compiled_blocks_train_as_eager_ones_do(tiny, type_train, tmp_path):
    # Batches of one size, each of which would be compiled anew.
    arguments = [*tiny, *MODERN, "model.dropout=0", "trainer.precision=32-true",
                 "~callbacks.alignment_guard", "~callbacks.samples",
                 "trainer.limit_train_batches=4", "trainer.limit_val_batches=0",
                 "trainer.limit_test_batches=0"]  # fmt: skip
    assert type_train(*arguments, "name=false").code == 0
    # In a process of its own: the compiler cannot look through the shapes' checker.
    done = subprocess.run(
        [sys.executable, REPOSITORY / "train.py", *arguments, "trainer.compile=true", "name=true"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    false, true = run_folders(tmp_path)
    assert weights(true).keys() == weights(false).keys()
    assert summary(true)["epochs"][-1]["train_loss"] == pytest.approx(
        summary(false)["epochs"][-1]["train_loss"], rel=1e-4
    )


def test_a_folder_that_holds_a_run_is_not_written_over(tiny, type_train, tmp_path):
    first = type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=here")
    assert first.code == 0
    before = (tmp_path / "here" / "summary.json").read_text()
    typed = type_train(*tiny, "hydra.run.dir=here")
    assert typed.code == 2
    assert "already holds a run; continue it with: python train.py resume=here" in typed.err
    assert (tmp_path / "here" / "summary.json").read_text() == before


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again(
    tiny, type_train, tmp_path
):
    words = [*tiny, "trainer.max_epochs=1", "hydra.run.dir=here"]
    assert type_train(*words).code == 0
    run = RunFolder(tmp_path / "here")
    whole = weights(run.path)
    shutil.rmtree(run.checkpoints)
    run.write_summary(run.read_summary().model_copy(update={"status": Status.RUNNING}))
    notes = run.path / "notes.txt"
    notes.touch()
    for words_now in ([*words, "seed=2"], words):  # another run; a folder with more than a run
        typed = type_train(*words_now)
        assert typed.code == 2
        assert "here already holds a run, without a checkpoint; choose another folder" in typed.err
    notes.unlink()
    typed = type_train(*words)
    assert (typed.code, typed.err) == (
        0, "here holds a run that was stopped before its first checkpoint; it begins again\n"
    )  # fmt: skip
    assert same_weights(weights(run.path), whole)


def test_the_summary_names_the_commit_that_the_run_started_with(
    tiny, type_train, tmp_path, monkeypatch
):
    commits = iter(["the first", "a later one", "a later one"])
    monkeypatch.setattr("minigpt.version.code_commit", lambda: next(commits))
    assert type_train(*tiny, "trainer.max_epochs=1").code == 0
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["code_commit"] == "the first"
    assert next(commits) == "a later one"  # nobody asked again while it trained
    assert type_train(f"resume={folder}", "trainer.max_epochs=2").code == 0
    assert summary(folder)["code_commit"] == "the first"
