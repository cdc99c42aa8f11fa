"""The warm process from without: runs a command in a fork of it, and says how that ended."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.faults.shim import build

FOLDER = "on-disk"  # that commands run in; its name stands in their errors
SECONDS = 60  # after which a command hangs


@dataclass
class Ended:
    """How a command ended."""

    code: int | None  # negative for a signal, None for a hang
    out: str
    err: str
    hits: int
    trace: list[str]


class Warm:
    """The warm process, and a folder that each command works in."""

    def __init__(self, folder, *, compiled=True):
        self.folder = folder / FOLDER
        self._files = {name: str(folder / name) for name in ("out", "err", "report")}
        library = build(folder) if compiled else None
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm", library or ""],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment | ({"LD_PRELOAD": str(library)} if library else {}),
        )  # fmt: skip
        self.calls = self._answer()["calls"]

    def _answer(self):
        return json.loads(self._process.stdout.readline())

    def run(
        self,
        words,
        fault=(None, 0, 0, False),
        *,
        forked=True,
        limits=None,
        streams=None,
        seconds=SECONDS,
    ):
        """Runs a command in the folder; calls below the folder are counted, and one may fail.

        limits: of resources, by name. streams: where output goes, in place of a file.
        """
        streams = streams or {}
        order = {
            "words": [str(word) for word in words],
            "fault": [str(self.folder), *fault],
            "folder": str(self.folder),
            "forked": forked,
            "limits": limits or {},
            "seconds": seconds,
            **self._files,
            **streams,
        }
        print(json.dumps(order), file=self._process.stdin, flush=True)
        code = self._answer()["code"]
        out, err = (
            "" if name in streams else Path(self._files[name]).read_text("utf-8", "replace")
            for name in ("out", "err")
        )
        report = Path(self._files["report"])
        hits, trace = json.loads(report.read_text()) if report.exists() else (1, [])
        return Ended(code, out, err, hits, trace)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
