"""Kills a run and a sweep every 20 to 90 seconds until they end: python -m tests.faults.soak.

Beside each an undisturbed one trains, and in the end both have the same bits. Writes
docs/results/soak.md.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.faults.harness import difference
from tests.faults.run_scenarios import Sweep, Training

PAGE = REPOSITORY / "docs" / "results" / "soak.md"
SECONDS = (20, 90)  # between a start and its kill
SEEDS = (1, 2, 3)  # of the sweep's jobs
CALIBRATION = (50, 250)  # steps


def long_run(folder, steps):
    """The overrides of a run that takes minutes: a small network on Python's standard library."""
    return [
        "model=mini", "data=stdlib", "data.max_tokens=2000000", f"data.root={folder}/tokens",
        f"trainer.max_steps={steps}", "trainer.max_epochs=-1", "trainer.val_check_interval=200",
        "trainer.limit_val_batches=5", "trainer.limit_test_batches=5",
        "trainer.log_every_n_steps=20", "callbacks.last.minutes=0.1", "trainer.accelerator=cpu",
        "~logger.tensorboard",
    ]  # fmt: skip


def without_side(part):
    """What has to be the same of a file, wherever its run lies: config.yaml names its folder."""
    return part.replace(b"/killed/", b"/undisturbed/") if isinstance(part, bytes) else part


class Long:
    """A scenario of so many steps for each run, in a folder that config.yaml names."""

    def __init__(self, name, steps):
        super().__init__(name)
        self.steps = steps

    def part(self, path):
        return without_side(super().part(path))


class LongTraining(Long, Training):
    def words(self, folder):
        return ["train.py", *long_run(folder, self.steps), f"hydra.run.dir={folder}/run"]


class LongSweep(Long, Sweep):
    def words(self, folder):
        seeds = ",".join(map(str, SEEDS))
        words = long_run(folder, self.steps)
        return ["train.py", "-m", *words, f"seed={seeds}", f"hydra.sweep.dir={folder}/sweep"]


@dataclass
class Soaked:
    """How a command ended that was killed again and again."""

    name: str
    steps: int
    minutes: float
    kills: int
    problem: str | None  # None: it ended with the bits of the undisturbed one


def start(words, folder):
    """Start what is typed, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, REPOSITORY / words[0], *words[1:]],
        cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def undisturbed(scenario, folder):
    """Run a scenario to its end; returns what it leaves."""
    process = start(scenario.words(folder), folder)
    _, error = process.communicate()
    assert process.returncode == 0, error
    return scenario.content(folder)


def killed(scenario, folder, rng):
    """Kill a scenario again and again, as long as it needs; returns the number of kills."""
    words, kills = scenario.words(folder), 0
    while True:
        process = start(words, folder)
        try:
            _, error = process.communicate(timeout=rng.uniform(*SECONDS))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            words = scenario.again(folder)
            continue
        assert process.returncode == 0, error
        return kills


def soak(scenario, folder, seed=1):
    """Run a scenario undisturbed and killed at the same time, and compare them."""
    started = time.perf_counter()
    folders = [folder / scenario.name / side for side in ("undisturbed", "killed")]
    for side in folders:
        side.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(undisturbed, scenario, folders[0])
        kills = killed(scenario, folders[1], random.Random(seed))
        minutes = (time.perf_counter() - started) / 60
        found, expected = scenario.content(folders[1]), whole.result()
    problem = None if found == expected else difference(found, expected)
    return Soaked(scenario.name, scenario.steps, minutes, kills, problem)


def steps_in(minutes, folder):
    """Steps of the long run in so many minutes on this machine as it is now."""
    seconds = []
    for steps in CALIBRATION:
        started = time.perf_counter()
        undisturbed(LongTraining("a run", steps), folder / str(steps))
        seconds.append(time.perf_counter() - started)
    per_step = (seconds[1] - seconds[0]) / (CALIBRATION[1] - CALIBRATION[0])
    return int(60 * minutes / per_step)


def soak_all(minutes, folder):
    """Soak a run and a sweep at the same time, of so many minutes where nothing disturbs them."""
    for steps in CALIBRATION:
        (folder / str(steps)).mkdir()
    steps = steps_in(minutes, folder)
    scenarios = [LongTraining("a run", steps), LongSweep("a sweep", steps // len(SEEDS))]
    with ThreadPoolExecutor() as pool:
        return [*pool.map(lambda scenario: soak(scenario, folder), scenarios)]


def main():
    """Soak, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of training, undisturbed")
    parser.add_argument("--stdout", action="store_true", help="print the page")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = text(soak_all(args.minutes, Path(folder)))
    print(page) if args.stdout else PAGE.write_text(page, "utf-8")


def text(soaked):
    """The page."""
    jobs, (least, most) = len(SEEDS), SECONDS
    rows = "".join(
        f"| {each.name} | {each.steps:,} | {each.minutes:.0f} | {each.kills} | "
        f"{'yes' if each.problem is None else each.problem} |\n"
        for each in soaked
    )
    return f"""# Killed again and again

*Written by `python -m tests.faults.soak`; `make soak` asserts the same.*

A run, and a sweep of {jobs} jobs, each killed with SIGKILL every {least} to {most} seconds,
at random. A supervisor starts them again: the run with `resume=` as soon as it has a checkpoint,
the sweep with the command that started it. Beside each the same command ran undisturbed. *Same
bits*: of weights, the optimizer's state, metrics, summary, evaluation and reports, of times only
that they are there.

| what | steps of each run | minutes | kills | same bits |
|---|---:|---:|---:|---|
{rows}
The network is `model=mini` on two million tokens of Python's standard library, with a checkpoint
every six seconds, at every validation (200 steps) and at every epoch's end. All four trained on the
same two cores.
"""


if __name__ == "__main__":
    main()
