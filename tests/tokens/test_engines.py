"""Workers make the store that one process makes, and none of them fails in silence."""

import contextlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.errors import UserError
from minigpt.tokens import ranges, survey, writer
from minigpt.tokens.engines import EngineConfig, QueuedError
from minigpt.tokens.prepare import prepare
from minigpt.tokens.ranges import divide
from tests.conftest import REPOSITORY

SHARES = {"val_fraction": 0.2, "test_fraction": 0.2}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE_BYTES", 6_000)
    monkeypatch.setattr(ranges, "LONG_TOKENS", 100)
    return write_texts(tmp_path / "texts", 12)


def write_texts(folder: Path, files: int) -> list[str]:
    """Files of lines, with duplicates between files, empty ones and a long one."""
    folder.mkdir()
    rng = random.Random(1)
    for number in range(files):
        lines = [f"line {rng.randrange(400)} of a text " * rng.randrange(1, 30) for _ in range(9)]
        lines += ["", "the same everywhere", f"{number} is long. " * 400 * (number == 7)]
        rows = "".join(json.dumps({"text": line}) + "\n" for line in lines)
        (folder / f"{number:02}.jsonl").write_text(rows)
    return [f"{folder}/*.jsonl"]


@pytest.mark.parametrize("engine", ["local", "datatrove_local", "ray"])
def test_workers_make_the_bytes_of_one_process(texts, data, tmp_path, engine):
    if engine != "local":
        pytest.importorskip(engine.partition("_")[0])
    options = {"files": texts, **SHARES, "max_tokens": 4_000, "document_tokens": 900}
    options |= {"canaries": 1} if engine == "local" else {}
    whole = prepare(data(**options))
    divided = prepare(data(**options, root=str(tmp_path / "w")), engine=EngineConfig(engine, 2))
    assert divided.made
    assert contents(divided.store.folder) == contents(whole.store.folder)
    assert divided.store.manifest.duplicates > 5
    left = {path.name for path in (tmp_path / "w").iterdir()} - {"digests.json"}
    assert left == {divided.store.folder.name}


def test_the_ranges_do_not_depend_on_the_number_of_workers():
    assert divide([40, 40, 40, 90, 1]) == [[0, 5]]
    sizes = [ranges.RANGE_BYTES // 2] * 5
    assert divide(sizes) == [[0, 2], [2, 4], [4, 5]]
    assert divide([None]) == [[0, 1]]  # a source that cannot be divided, of unknown size
    assert divide([]) == []


PREPARE = """
import sys
from minigpt.commands import main
from minigpt.tokens import ranges, writer
if __name__ == "__main__":
    ranges.RANGE_BYTES = 1_000
    writer.PART_TOKENS = 30_000
    main.main(["prepare", *sys.argv[1:], "engine=local", "workers=4"])
"""


def workers_of(pid: int) -> list[int]:
    found = []
    for thread in Path("/proc").glob(f"{pid}/task/*/children"):
        with contextlib.suppress(OSError):  # one has ended meanwhile
            for child in thread.read_text().split():
                if b"range_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


def test_kills_of_workers_or_of_the_whole_leave_the_same_bytes(data, tmp_path, monkeypatch):
    texts = write_texts(tmp_path / "texts", 30)
    monkeypatch.setattr(writer, "PART_TOKENS", 30_000)
    whole = prepare(data(files=texts, **SHARES)).store
    script = tmp_path / "prepare.py"
    script.write_text(PREPARE)
    words = ["data=files", f"data.files={texts}", "data.val_fraction=0.2", "data.test_fraction=0.2",
             f"data.root={tmp_path}/killed"]  # fmt: skip
    rng = random.Random(2)
    hidden = tmp_path / "killed" / f".{whole.folder.name}.ranges"
    codes = []
    for of_the_whole in (False, True, False, True):
        started = subprocess.Popen(
            [sys.executable, str(script), *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        finished = len(list(hidden.glob("0*.json")))
        workers: list[int] = []
        while started.poll() is None and not workers:
            workers = workers_of(started.pid)
        if of_the_whole:  # the whole, once a worker has finished a range; they end with the next
            while started.poll() is None and len(list(hidden.glob("0*.json"))) == finished:
                workers = workers_of(started.pid)
            started.kill()
            while any(Path(f"/proc/{worker}").exists() for worker in workers):
                os.sched_yield()
        elif workers:  # none if earlier starts left nothing to do
            os.kill(rng.choice(workers), signal.SIGKILL)
        _, err = started.communicate(timeout=60)
        codes.append(started.returncode)
        if started.returncode == 2:
            assert err.startswith("error: a worker died in range ")
            assert err.count("\n") == 1
    assert codes[0] == 2
    assert {*codes} <= {0, 2, -signal.SIGKILL}
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.stderr == ""
    assert contents(tmp_path / "killed" / whole.folder.name) == contents(whole.folder)


def test_a_worker_that_fails_is_named_with_its_error(texts, data, tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "FEW_DOCUMENTS", 5)  # else this process reads all of it ahead
    bad = tmp_path / "texts" / "05.jsonl"
    bad.write_text(bad.read_text() + "{not json\n")
    with pytest.raises(UserError) as raised:
        prepare(data(files=texts, **SHARES), engine=EngineConfig("local", 2))
    message = str(raised.value)
    assert message.startswith(f"the worker of range 2 failed: {bad}:13: not a JSON object; ")
    assert message.endswith("; run the same command again to go on from the finished ranges")
    assert "\n" not in message


SBATCH = """#!{python}
import sys
from pathlib import Path
with Path({log!r}).open("a") as log:
    print(*sys.argv[1:], file=log)
script = Path(sys.argv[-1])
if "launch_pickled_pipeline" in script.read_text():
    Path({log!r}).with_name("script.sh").write_text(script.read_text())
print("Submitted batch job 77")
"""


def test_slurm_gets_a_task_for_each_range_and_the_second_start_makes_the_store(
    texts, data, tmp_path, monkeypatch
):
    pytest.importorskip("datatrove")
    tools = tmp_path / "tools"
    tools.mkdir()
    log = tmp_path / "log"
    for name, content in (
        ("sbatch", SBATCH.format(python=sys.executable, log=str(log))),
        ("squeue", "#!/bin/sh\ncat " + str(tmp_path / "queued") + "\n"),
        ("scontrol", "#!/bin/sh\necho localhost\n"),
        ("srun", '#!/bin/sh\nwhile [ "$1" != launch_pickled_pipeline ]; do shift; done\n"$@"\n'),
    ):
        (tools / name).write_text(content)
        (tools / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    engine = EngineConfig("datatrove_slurm", 2, "cpu", "01:00:00")
    options = {"files": texts, **SHARES, "root": str(tmp_path / "slurm")}
    with pytest.raises(QueuedError, match="SLURM job 77 has 5 ranges to make"):
        prepare(data(**options), engine=engine)
    (tmp_path / "queued").write_text("77\n")
    with pytest.raises(QueuedError, match="SLURM job 77 still has 5 ranges"):
        prepare(data(**options), engine=engine)
    (tmp_path / "queued").write_text("")
    script = (tmp_path / "script.sh").read_text()
    assert "#SBATCH --array=0-4%2" in script
    assert "#SBATCH --partition=cpu" in script
    assert "#SBATCH --time=01:00:00" in script
    for task in range(5):
        subprocess.run(
            ["bash", str(tmp_path / "script.sh")], check=True, capture_output=True,
            env={**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost",
                 "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])},
        )  # fmt: skip
    divided = prepare(data(**options), engine=engine).store
    assert contents(divided.folder) == contents(prepare(data(files=texts, **SHARES)).store.folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["engine=spark"], "engine=spark is not one of local, datatrove_local, datatrove_slurm, r"),
        (["engine=datatrove_slurm"], "engine=datatrove_slurm needs the partition of its jobs"),
        (["workers=2"], "workers= belongs to an engine; name it, as in engine=local"),
        (["engine=local", "workers=none"], "workers must be a whole number, got none"),
        (["engine=local", "workers=0"], "workers must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_an_engine_that_cannot_be_is_refused_in_one_line(type_minigpt, words, message):
    typed = type_minigpt("prepare", *words)
    assert typed.code == 2
    assert typed.err.startswith(f"error: {message}")
    assert typed.err.count("\n") == 1


def test_an_engine_whose_package_is_missing_names_the_extra(texts, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "datatrove.executor", None)
    with pytest.raises(UserError, match=r"needs the package datatrove: pip install 'minigpt\[prep"):
        prepare(data(files=texts, **SHARES), engine=EngineConfig("datatrove_local"))
