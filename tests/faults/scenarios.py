"""Commands and writers that leave the same bytes each time."""

import json
import zipfile

from tests.faults.run_scenarios import train_words
from tests.faults.scenario import Scenario, corpus_words, made, write_corpus
from tests.written_runs import write_run


class Preparation(Scenario):
    name = "minigpt prepare"
    reads = True

    def takes(self, point):
        """Of the many files of the text a few stand for all."""
        return "/corpus/" not in point.path or point.place < 20

    def prepare(self, before, warm):
        write_corpus(before / "corpus")

    def words(self, folder):
        return ["minigpt", "prepare", *corpus_words(folder)]

    def check(self, path):
        json.loads(path.read_text())
        assert path.name.startswith("part-")

    def progress(self, folder):
        """The shards of finished parts, by the time they were written."""
        shards = [
            shard
            for record in folder.glob("tokens/*/part-*.json")
            for shard in record.parent.glob(f"*-{record.stem[5:]}.bin")
        ]
        return {shard: shard.stat().st_mtime_ns for shard in shards}

    def lost(self, folder, seen):
        for shard, written in seen.items():
            if shard.stat().st_mtime_ns != written:
                return f"{shard.name} was finished and is made again"
        return None


class PreparationByWorkers(Preparation):
    name = "minigpt prepare engine=local"
    has_threads = True
    reads = False

    def takes(self, point):
        """Its workers take a second, so each call of the writer fails with one error."""
        return point.in_turn and point.call != "read"

    def words(self, folder):
        return [*super().words(folder), "engine=local", "workers=2"]


class Tokenizer(Scenario):
    name = "minigpt tokenizer"
    has_threads = True

    def prepare(self, before, warm):
        write_corpus(before / "corpus")

    def words(self, folder):
        data = [word for word in corpus_words(folder) if "tokenizer" not in word]
        return ["minigpt", "tokenizer", *data, "--vocab-size", "270", "--out", folder / "own.json"]

    def again(self, folder):
        """A file that is there is refused, in one line, and was compared already."""
        return self.words(folder)[: -2 if (folder / "own.json").exists() else None]


class Writer(Scenario):
    """A function of writers.py, over files that an earlier call left."""

    def __init__(self, name, *arguments, earlier=None):
        self.name = name
        self.arguments = arguments
        self.earlier = earlier

    def words(self, folder):
        return [self.name, folder, *self.arguments]

    def prepare(self, before, warm):
        if self.earlier is not None:
            made(warm, before, self.name, warm.folder, *self.earlier)
        self.old = self.content(before)


class Checkpoint(Writer):
    def part(self, path):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        return super().part(path)


class Metrics(Writer):
    def prepare(self, before, warm):
        from minigpt.runs.metrics import MetricsWriter

        writer = MetricsWriter(before / "metrics.csv")
        for step in range(1, 8):
            writer.append(step, {"train/loss": 1.0, "another": 2.0})
        writer.close()
        self.old = self.content(before)

    def part(self, path):
        from minigpt.runs.metrics import read_metrics

        return read_metrics(path)

    def check(self, path):
        """Rows may be missing, and the last one may be cut short; no other is wrong."""
        from minigpt.runs.metrics import read_metrics

        rows = {row["step"]: row for row in read_metrics(path)}
        for step, row in rows.items():
            loss = {1.0, 1 / step} if step > 4 else {1.0}
            assert row["train/loss"] in loss, row
        assert list(rows) == list(range(1, len(rows) + 1))


class Report(Scenario):
    name = "minigpt compare"

    def prepare(self, before, warm):
        write_run(before / "runs" / "0", 5.0772, name="baseline")
        write_run(before / "runs" / "1", 5.0670, name="lower_lr", optimizer__lr=5e-4)
        self.old = self.content(before)

    def words(self, folder):
        return ["minigpt", "compare", folder / "runs"]


class Export(Scenario):
    def __init__(self, format):
        self.name = f"minigpt export --format {format}"
        self.format = format

    def prepare(self, before, warm):
        write_corpus(before / "corpus")
        tokenizer = [] if self.format == "onnx" else ["data.tokenizer=bpe-270"]
        made(warm, before, "train.py", *train_words(warm.folder), "model.head_bias=false",
             *tokenizer, "trainer.max_steps=1", "~logger.tensorboard")  # fmt: skip
        made(warm, before, *self.words(warm.folder))
        self.old = self.content(before)
        card = before / "export" / "README.md"
        card.write_text("an older export")
        self.old["export/README.md"] = card.read_bytes()

    def words(self, folder):
        return ["minigpt", "export", folder / "run", folder / "export", "--which", "last",
                "--format", self.format, "--force"]  # fmt: skip
