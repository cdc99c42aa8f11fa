"""Train a GPT from conf/train.yaml: build -> fit -> test -> summary."""

import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from minigpt.commands.sweep import run_job
from minigpt.config import CONF, load_run, one_line_errors, plain, save_run, share_cores
from minigpt.errors import UserError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(cfg: DictConfig) -> float | None:
    share_cores()
    folder = Path(HydraConfig.get().runtime.output_dir)
    resume = cfg.resume is not None
    # Within the job too, since Hydra would add lines of its own to what passes through it.
    with one_line_errors():
        try:
            if resume and HydraConfig.get().mode == RunMode.MULTIRUN:
                raise UserError("resume continues one run; leave out -m")
            if resume:
                cfg = load_run(cfg.resume, list(HydraConfig.get().overrides.task))
            cfg.run_dir = str(folder)
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                return run_job(cfg, folder, train)
            return train(cfg, folder, resume)
        finally:
            # What stopped the run before it began leaves none of our folders behind.
            for path in (folder, folder.parent):
                ours = path == folder or path.parent == Path("outputs").resolve()
                if ours and path.is_dir() and not any(path.iterdir()):
                    path.rmdir()


def train(cfg: DictConfig, folder: Path, resume: bool) -> float | None:
    """Runs one job in a run folder; returns the best validation loss, which a sweeper minimises."""
    # Only now: --help and a mistyped key must not wait for torch.
    from minigpt.reports.run_report import display_path, print_report
    from minigpt.runs.checkpoints import check_resumable, find_checkpoint, read_checkpoint
    from minigpt.training.build import build_run
    from minigpt.training.callbacks.hparams import TensorBoardHparams
    from minigpt.training.callbacks.interruption import Interrupted
    from minigpt.training.callbacks.run_summary import RunSummary
    from minigpt.training.memory import reset_peak_memory

    first_process = "LOCAL_RANK" not in os.environ  # the others join a folder that it has made
    if first_process and not resume and (folder / "config.yaml").exists():
        raise UserError(f"{folder} already holds a run; continue it with resume={folder}")
    run = build_run(cfg)
    resume_from = find_checkpoint(folder) if resume else None
    if resume_from:
        check_resumable(resume_from, dict(run.lit.hparams), run.trainer.max_epochs)
    if first_process:
        save_run(cfg, folder)
    reset_peak_memory()
    overrides = list(HydraConfig.get().overrides.task)
    summary = RunSummary(str(folder), shlex.join(["python", *sys.argv]), overrides)
    run.trainer.callbacks[:0] = [summary, TensorBoardHparams(plain(cfg))]
    try:
        run.trainer.fit(run.lit, run.data, ckpt_path=resume_from, weights_only=True)
    except Interrupted:
        again = f"python train.py resume={display_path(folder)}"
        print(f"stopped; continue with: {again}", file=sys.stderr)
        raise
    best = folder / "checkpoints" / "best.ckpt"
    if best.exists():  # not in a run that ended before its first validation
        # Not test(ckpt_path=...), which would set the callbacks back to that epoch as well.
        run.lit.load_state_dict(read_checkpoint(best)["state_dict"])
    if len(run.data.blocks["test"]):
        run.trainer.test(run.lit, run.data, verbose=False)
    summary.write(run.trainer, "finished")
    if run.trainer.is_global_zero:
        print_report(folder)
    return summary.best["val/loss"] if summary.best else None


if __name__ == "__main__":
    with one_line_errors():
        main()
