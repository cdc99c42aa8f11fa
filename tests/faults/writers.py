"""One writer at a time, as a run uses it: what the warm process calls beside whole commands."""

import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path

import torch
from omegaconf import OmegaConf

from minigpt.commands.sweep_job import record_failure
from minigpt.errors import UserError
from minigpt.runs.metrics import MetricsWriter
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Epoch, Status, Summary
from minigpt.training.checkpoint_io import DurableCheckpointIO

CONFIG = {"model": {}, "data": {}, "optimizer": {"lr": 1e-3}, "trainer": {}, "callbacks": None,
          "logger": None}  # fmt: skip


def checkpoint(folder, value):
    """Saves a checkpoint of a few thousand numbers over an older one."""
    content = {
        "hyper_parameters": {"model": {}, "tokenizer": {}, "data": {"text": "abc"}},
        "state_dict": {"weight": torch.full((4096,), float(value))},
    }
    DurableCheckpointIO().save_checkpoint(content, RunFolder(folder).last)


def metrics(folder):
    """Logs five steps from step 5 on, as a run does that goes on from there."""
    writer = MetricsWriter(RunFolder(folder).metrics, resume_step=5)
    try:
        for step in range(5, 10):
            writer.append(step, {"train/loss": 1 / step, "another": float(step)})
    finally:
        writer.close()


def summary(folder, steps):
    """Writes config.yaml and summary.json."""
    run = RunFolder(folder)
    with run.claim():
        run.write_config(CONFIG)
        epoch = Epoch(epoch=1, step=3, train_loss=2.5, train_perplexity=12.18, seconds=0.5)
        run.write_summary(Summary(status=Status.FINISHED, steps=int(steps), epochs=[epoch]))


def failure(folder):
    """Records that a job of a sweep failed."""
    run = RunFolder(Path(folder))
    with run.claim():
        record_failure(OmegaConf.create(CONFIG), run, UserError("the text is gone"))


def train_and_remove(*words):
    """Trains, and removes the run's folder before the second step."""

    def remove(lit):
        if lit.global_step == 1:
            shutil.rmtree(lit.trainer.default_root_dir)

    _train_with(remove, words)


def train_and_kill_worker(*words):
    """Trains, and kills a process that reads batches before the second step."""

    def kill(lit):
        if lit.global_step == 1:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5  # seconds, in place of 5
    _train_with(kill, words)


def _train_with(before_step, words):
    from minigpt.commands.train import main
    from minigpt.training.lit_gpt import LitGPT

    training_step = LitGPT.training_step

    def step(lit, batch, number):
        before_step(lit)
        return training_step(lit, batch, number)

    LitGPT.training_step = step
    sys.argv = ["train.py", *words]
    main()
