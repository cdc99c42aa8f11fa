"""Fails everything at every point and writes docs/results/faults.md: python -m tests.faults.page.

It takes the better part of an hour. `--only NAME` takes the scenarios whose names hold a word, and
prints their rows.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.faults.all_scenarios import LONG, WRITERS
from tests.faults.harness import every_point
from tests.faults.shim import CALLS
from tests.faults.warm_process import Warm

PAGE = REPOSITORY / "docs" / "results" / "faults.md"

HEAD = """# Failed at every point

*Written by `python -m tests.faults.page`; `make soak` asserts the same, `make test` a part of it.*

A library that is loaded before all others ([faults.c](../../tests/faults/faults.c)) counts the
calls of a process on the files below a folder, and lets the n-th call of a kind fail, for every n
and every error: `ENOSPC` from then on, `EIO`, `EACCES`, `ENOMEM`, half a write, SIGKILL before the
call, SIGKILL after half a write. Each call of a sweep's records, of TensorBoard's files and of a
checkpoint inside a run fails with one error, the next call with another. Calls that open to read
(`read`) are failed in the preparation and the training.

Each point is one process that really fails, and a next start. A point is survived if the process is
killed, or ends with code 2 and one line that names a file and the reason, or ends as if nothing had
been; if no file under its final name is half written; and if the next start goes on, throws away
nothing that was finished, and ends with the same bytes as an undisturbed one (of weights, optimizer
state, metrics, summary, stores and reports; of times only that they are there).

"""

TAIL = """
The first four are one writer alone: a checkpoint, `metrics.csv`, `config.yaml` with `summary.json`,
and the record of a job that failed. *killed*, *one line*, *no matter*: how the
command ended that was failed. *faults*: points that were not survived. *s*: seconds on a core that
others used as well. One is known that is not survived as it should be: Hydra writes a sweep's
`multirun.yaml`, which nothing reads, and where that fails the line names no file.

Beside single calls ([test_disk.py](../../tests/faults/test_disk.py)), a run was put on a file
system that is full at three sizes and then made larger, on one that became read-only, under a
limit on the size of files (`ulimit -f`) and of memory (`ulimit -v`). Its folder was removed, a
process of its loader killed, its output led to `/dev/full`. Each ends in one line with code 2, or
goes on where only the log is lost.

Not tried: a power cut, for which the calls of fsync stand; network file systems; errors that only
`close` tells.
"""


def main():
    """Fail all, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    rows, faults = [], []
    for scenario in [*WRITERS, *LONG]:
        if args.only in scenario.name:
            rows.append(row(scenario, args.repeats, faults))
            print(rows[-1], flush=True)
            for fault in faults:
                print(fault[:2000], flush=True)
            faults.clear()
    if not args.only:
        PAGE.write_text(HEAD + table(rows) + TAIL, "utf-8")


def row(scenario, repeats, faults):
    """A line of the table: repeats, points by call, how they ended, seconds."""
    started = time.perf_counter()
    tried, ended, failed = {}, {}, 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            warm = Warm(Path(folder))
            tally = every_point(scenario, warm, Path(folder))
            warm.close()
        failed += len(tally.faults)
        faults += tally.faults
        tried, ended = dict(tally.tried), dict(tally.ended)
    cells = [f"`{scenario.name}`", sum(tried.values())]
    cells += [tried.get(call, "") for call in CALLS]
    cells += [ended.get(how, 0) for how in ("killed", "refused", "went on")]
    return [*cells, failed, repeats, f"{time.perf_counter() - started:.0f}"]


def table(rows):
    """The rows, their sum, and what the columns are."""
    head = ["what", "points", *CALLS, "killed", "one line", "no matter", "faults", "repeats", "s"]
    total = ["all", *(sum(int(r[i] or 0) for r in rows) for i in range(1, len(head) - 2)), "", ""]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows, total]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


if __name__ == "__main__":
    main()
