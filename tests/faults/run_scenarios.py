"""Whole runs and sweeps, which go on after a fault."""

import json

from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import RunFolder
from tests.conftest import TINY_MODEL
from tests.faults.scenario import Scenario, corpus_words, write_corpus

SAME = ("status", "steps", "tokens_seen", "test", "best", "evaluation", "comes_back", "data")


def train_words(folder):
    return [
        *corpus_words(folder), *TINY_MODEL, "data.batch_size=32", "trainer.max_epochs=2",
        "trainer.limit_train_batches=3", "trainer.log_every_n_steps=1", "trainer.accelerator=cpu",
        f"hydra.run.dir={folder}/run",
    ]  # fmt: skip


class Training(Scenario):
    """A whole run, from its text to its evaluation; after a fault it is resumed where it can be."""

    reads = True

    def __init__(self, name, *more, only=""):
        self.name = name
        self.more = more
        self.only = only  # of the files' names

    def takes(self, point):
        """Its preparation of text is failed on its own; here stores are only opened.

        So are checkpoints: of each of their many writes one error is enough here.
        """
        if "/tokens" in point.path and point.call not in ("read", "mmap"):
            return False
        many = self.only or (point.call == "write" and ".ckpt" in point.path)
        is_new = point.in_turn or not many
        return is_new and "/corpus" not in point.path and self.only in point.path

    def prepare(self, before, warm):
        write_corpus(before / "corpus")

    def words(self, folder):
        return ["train.py", *train_words(folder), *self.more]

    def again(self, folder):
        run = RunFolder(folder / "run")
        if run.last.exists() or run.best.exists():
            return ["train.py", f"resume={run.path}"]
        return self.words(folder)

    def content(self, folder):
        return {name: part for name, part in super().content(folder).items() if part is not None}

    def part(self, path):
        if path.suffix == ".ckpt":
            content = read_checkpoint(path)
            tensors = [*content["state_dict"].values()]
            for state in content["optimizer_states"]:
                tensors += [part for states in state["state"].values() for part in states.values()]
            return [tensor.numpy().tobytes() for tensor in tensors]
        if path.name == "metrics.csv":
            return [
                {key: row[key] for key in row.keys() - {"tokens_per_second"}}
                for row in read_metrics(path)
            ]
        if path.name == "summary.json":
            summary = json.loads(path.read_text())
            epochs = [{**epoch, "seconds": 0} for epoch in summary["epochs"]]
            return epochs, *(summary[key] for key in SAME)
        return None if "tfevents" in path.name else path.read_bytes()

    def check(self, path):
        """A run that is not at its end has other figures, all of them whole."""
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            read_metrics(path)
        else:
            assert path.suffix == ".ckpt", "it is neither the old file nor the new one"

    def tells(self, ended):
        return "the run is finished, but" in ended.err

    def progress(self, folder):
        run = RunFolder(folder / "run")
        return run.last.exists() or run.best.exists()

    def lost(self, folder, seen):
        summary = json.loads((folder / "run" / "summary.json").read_text())
        return "it began anew" if seen and not summary["resumed_by"] else None


class Sweep(Training):
    """Two jobs and their report; the same command goes on."""

    codes = (0, 1, 2)

    def takes(self, point):
        """What a job does is failed on its own; here its records are, and the report, in turn."""
        if not point.in_turn:
            return False
        is_record = point.path.endswith((".yaml", ".json", ".yaml.partial", ".json.partial"))
        is_report = point.path.count("/") == 2
        return point.path.startswith("/sweep") and (is_record or is_report)

    def words(self, folder):
        words = [word for word in train_words(folder) if not word.startswith("hydra.run")]
        return ["train.py", "-m", *words, *self.more, f"hydra.sweep.dir={folder}/sweep"]

    def again(self, folder):
        return self.words(folder)

    def part(self, path):
        if path.name.startswith(("report.", "runs.csv", "curves")):  # they tell the time
            return path.stat().st_size > 0
        # Hydra writes multirun.yaml, and nothing reads it.
        return None if path.name == "multirun.yaml" else super().part(path)

    def progress(self, folder):
        """The jobs that are to be resumed."""
        runs = [RunFolder(path.parent.parent) for path in folder.glob("sweep/*/checkpoints/*.ckpt")]
        return [run for run in runs if not is_finished(run)]

    def lost(self, folder, seen):
        for run in seen:
            if not json.loads(run.summary.read_text())["resumed_by"]:
                return f"job {run.path.name} began anew"
        return None


def is_finished(run):
    return json.loads(run.summary.read_text())["status"] == "finished"
