"""A notebook's setting for matplotlib does not reach our commands."""

import os
import subprocess
import sys

from tests.conftest import REPOSITORY

NOTEBOOK = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONPATH": str(REPOSITORY),
}


def test_the_backend_that_a_notebook_sets_changes_nothing(tiny, tmp_path):
    sweep = ["-m", *tiny, "trainer.max_epochs=1", "seed=1,2", "hydra.sweep.dir=sweep"]
    for arguments in (
        [str(REPOSITORY / "train.py"), *tiny, "trainer.max_epochs=1", "hydra.run.dir=run"],
        [str(REPOSITORY / "train.py"), *sweep],
        ["-m", "minigpt.commands.main", "compare", "sweep", "run", "--out", "both"],
    ):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env={**os.environ, **NOTEBOOK},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert (tmp_path / "sweep" / "report.html").stat().st_size > 0
    assert (tmp_path / "both" / "report.html").stat().st_size > 0
