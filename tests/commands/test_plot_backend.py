"""A notebook's choice of plotting backend has no effect on the commands."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "modules",
    [
        "minigpt.commands.train, minigpt.training.build",  # Lightning imports matplotlib as well
        "minigpt.commands.main",
        "minigpt.commands.sweep",
    ],
)
def test_a_backend_that_is_not_installed_has_no_effect(modules):
    code = f"import {modules}, minigpt.reports.plots"
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
